"""`tocsin run`: when what is done. The only user of APScheduler, which only starts things.

What is due is decided from the store, so a run that was missed, or a process that was away, is made up
for at the next start.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from logging import ERROR, getLogger

from apscheduler.schedulers.background import BackgroundScheduler

from tocsin.clock import SystemClock
from tocsin.datasets.tables import FAULTS
from tocsin.errors import TocsinError
from tocsin.logs import logger

_FAULTS: tuple[type[BaseException], ...] = (TocsinError, *FAULTS)
_APART = timedelta(seconds=0.3)  # between the first starts: what is collected can be judged at once
_SPARE = 8  # threads for jobs that a new configuration brings
_LOOK = 1.0  # seconds between two looks at the clock
_STEP = 2.0  # seconds by which a clock that is set back is noticed
log = logger()


@dataclass(frozen=True, slots=True)
class Job:
    """Something that is done again and again."""

    every: timedelta
    work: Callable[[], object]
    at_once: int = 1  # how many of it may be under way


class Progress:
    """When each job last came to a good end, by the monotonic clock."""

    def __init__(self, jobs: Mapping[str, Job]) -> None:
        self._done: dict[str, float] = {}
        self.expect(jobs)

    def expect(self, jobs: Mapping[str, Job]) -> None:
        """These are the jobs from now on."""
        self._every = {name: job.every.total_seconds() for name, job in jobs.items()}
        self._done = {name: self._done.get(name, time.monotonic()) for name in jobs}

    def done(self, name: str) -> None:
        """A job came to a good end."""
        if name in self._done:
            self._done[name] = time.monotonic()

    def stuck(self, patience: float = 120.0) -> list[str]:
        """Jobs that have not come to a good end for three of their intervals and some patience."""
        now = time.monotonic()
        return [n for n, at in self._done.copy().items() if now - at > 3 * self._every.get(n, 0) + patience]


def serve(
    jobs: Mapping[str, Job],
    reload: Callable[[], Mapping[str, Job] | None] = lambda: None,
    progress: Progress | None = None,
) -> None:
    """Run the jobs at once, one after the other, and then at their intervals, until SIGINT or SIGTERM.

    A job that is under way then ends first.

    Args:
        jobs: by name. What a job cannot do is logged, and it goes on at its next time.
        reload: is called on SIGHUP; gives the jobs with their new intervals, or None where nothing changes.
        progress: hears which job came to a good end.
    """
    stop, hangup = threading.Event(), threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    signal.signal(signal.SIGHUP, lambda *_: hangup.set())
    getLogger("apscheduler").setLevel(ERROR)  # that a job is still under way is no fault
    threads = sum(job.at_once for job in jobs.values()) + _SPARE
    scheduler = BackgroundScheduler(
        timezone="UTC", executors={"default": {"type": "threadpool", "max_workers": threads}}
    )
    for i, (name, job) in enumerate(jobs.items()):
        _add(scheduler, name, job, progress, i)
    scheduler.start()
    _wait(scheduler, stop, hangup, lambda: _renew(scheduler, reload(), progress))
    scheduler.shutdown(wait=True)


def _add(
    scheduler: BackgroundScheduler, name: str, job: Job, progress: Progress | None, place: int = 0
) -> None:
    scheduler.add_job(
        _guarded(name, job.work, progress),
        "interval",
        seconds=max(job.every.total_seconds(), 1),
        id=name,
        coalesce=True,
        max_instances=job.at_once,
        misfire_grace_time=None,
        next_run_time=SystemClock().now() + place * _APART,
        replace_existing=True,
    )


def _renew(scheduler: BackgroundScheduler, jobs: Mapping[str, Job] | None, progress: Progress | None) -> None:
    """Put new jobs in the place of the old ones."""
    if jobs is None:
        return
    for name, job in jobs.items():
        _add(scheduler, name, job, progress)
    for old in scheduler.get_jobs():
        if old.id not in jobs:
            scheduler.remove_job(old.id)


def _wait(
    scheduler: BackgroundScheduler,
    stop: threading.Event,
    hangup: threading.Event,
    reload: Callable[[], None],
) -> None:
    """Until told to stop. APScheduler's times are of the wall clock: where that is set back, they begin anew."""
    offset = time.time() - time.monotonic()
    while not stop.wait(_LOOK):
        if hangup.is_set():
            hangup.clear()
            reload()
        moved, offset = time.time() - time.monotonic() - offset, time.time() - time.monotonic()
        if moved < -_STEP:
            log.warning("the clock was set back; every job is done now", seconds=round(-moved, 1))
            for job in scheduler.get_jobs():
                job.modify(next_run_time=SystemClock().now())


def _guarded(name: str, work: Callable[[], object], progress: Progress | None) -> Callable[[], None]:
    def run() -> None:
        try:
            work()
        except _FAULTS as error:
            log.error("job failed", job=name, error=str(error))  # noqa: TRY400 — for people, not a trace
        else:
            if progress is not None:
                progress.done(name)

    return run
