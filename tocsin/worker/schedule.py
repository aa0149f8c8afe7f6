"""The scheduler of `tocsin run`. The only user of APScheduler, which only starts jobs.

The store determines what is due, so work missed while the process did not run is done at the next start.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from logging import ERROR, getLogger

from apscheduler.schedulers.background import BackgroundScheduler

from tocsin.clock import SystemClock
from tocsin.datasets.tables import FAULTS
from tocsin.errors import TocsinError
from tocsin.logs import logger

_FAULTS: tuple[type[BaseException], ...] = (TocsinError, *FAULTS)
_APART = timedelta(seconds=0.3)  # between the first starts, so that detection finds collected events
_SPARE = 8  # threads for jobs that a new configuration adds
_POLL = 1.0  # seconds between two checks of the clock
_STEP = 2.0  # seconds; a clock set back by more than this is detected
log = logger()


@dataclass(frozen=True, slots=True)
class Job:
    """A task that is run at intervals."""

    every: timedelta
    work: Callable[[], object]
    at_once: int = 1  # how many runs of it may be active at once


class Wakes:
    """Names of jobs that other jobs ask to start now. A job that is active is started once more when it has ended."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._active = Counter[str]()
        self._mutex = threading.Lock()
        self.event = threading.Event()

    def wake(self, name: str) -> None:
        """Ask for a start of a job."""
        with self._mutex:
            self._names.add(name)
        self.event.set()

    def taken(self, at_once: Mapping[str, int]) -> set[str]:
        """The names of jobs that may start now. The others are kept until a run of theirs ends.

        Args:
            at_once: how many runs of each job may be active.
        """
        with self._mutex:
            self.event.clear()
            names = {name for name in self._names if self._active[name] < at_once.get(name, 1)}
            self._names -= names
        return names

    @contextlib.contextmanager
    def running(self, name: str) -> Iterator[None]:
        """Count a run of a job as active."""
        with self._mutex:
            self._active[name] += 1
        try:
            yield
        finally:
            with self._mutex:
                self._active[name] -= 1
                again = name in self._names
            if again:
                self.event.set()


class Progress:
    """When each job last succeeded, by the monotonic clock."""

    def __init__(self, jobs: Mapping[str, Job]) -> None:
        self._done: dict[str, float] = {}
        self.expect(jobs)

    def expect(self, jobs: Mapping[str, Job]) -> None:
        """Set the jobs to watch."""
        self._every = {name: job.every.total_seconds() for name, job in jobs.items()}
        self._done = {name: self._done.get(name, time.monotonic()) for name in jobs}

    def done(self, name: str) -> None:
        """Record that a job succeeded."""
        if name in self._done:
            self._done[name] = time.monotonic()

    def stuck(self, patience: float = 120.0) -> list[str]:
        """Jobs that have not succeeded for three of their intervals plus `patience` seconds."""
        now = time.monotonic()
        return [n for n, at in self._done.copy().items() if now - at > 3 * self._every.get(n, 0) + patience]


def serve(
    jobs: Mapping[str, Job],
    reload: Callable[[], Mapping[str, Job] | None] = lambda: None,
    progress: Progress | None = None,
    ending: Callable[[], None] = lambda: None,
    wakes: Wakes | None = None,
) -> None:
    """Start the jobs one after the other, then repeat them at their intervals, until SIGINT or SIGTERM.

    Active jobs are finished before this function returns.

    Args:
        jobs: the jobs by name. A failure of a job is logged, and the job runs again at its next time.
        reload: called on SIGHUP; returns the jobs with their new intervals, or None for no change.
        progress: records which job succeeded.
        ending: called at SIGINT or SIGTERM, before the active jobs are waited for.
        wakes: names jobs that start before their next time.
    """
    wakes = wakes or Wakes()
    stop, hangup = threading.Event(), threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    signal.signal(signal.SIGHUP, lambda *_: hangup.set())
    getLogger("apscheduler").setLevel(ERROR)  # an overlapping run is not an error
    threads = sum(job.at_once for job in jobs.values()) + _SPARE
    scheduler = BackgroundScheduler(
        timezone="UTC", executors={"default": {"type": "threadpool", "max_workers": threads}}
    )
    for i, (name, job) in enumerate(jobs.items()):
        _add(scheduler, name, job, progress, wakes, i)
    scheduler.start()
    _wait(scheduler, stop, hangup, lambda: _replace_jobs(scheduler, reload(), progress, wakes), wakes)
    ending()
    scheduler.shutdown(wait=True)


def _add(
    scheduler: BackgroundScheduler,
    name: str,
    job: Job,
    progress: Progress | None,
    wakes: Wakes,
    place: int = 0,
) -> None:
    scheduler.add_job(
        _guarded(name, job.work, progress, wakes),
        "interval",
        seconds=max(job.every.total_seconds(), 1),
        id=name,
        coalesce=True,
        max_instances=job.at_once,
        misfire_grace_time=None,
        next_run_time=SystemClock().now() + place * _APART,
        replace_existing=True,
    )


def _replace_jobs(
    scheduler: BackgroundScheduler, jobs: Mapping[str, Job] | None, progress: Progress | None, wakes: Wakes
) -> None:
    """Replace the scheduled jobs."""
    if jobs is None:
        return
    for name, job in jobs.items():
        _add(scheduler, name, job, progress, wakes)
    for old in scheduler.get_jobs():
        if old.id not in jobs:
            scheduler.remove_job(old.id)


def _wait(
    scheduler: BackgroundScheduler,
    stop: threading.Event,
    hangup: threading.Event,
    reload: Callable[[], None],
    wakes: Wakes,
) -> None:
    """Wait until `stop` is set, and start the jobs that `wakes` names.

    If the wall clock, which APScheduler uses, is set back, start every job at once.
    """
    offset = time.time() - time.monotonic()
    while not stop.is_set():
        if wakes.event.wait(_POLL):
            _start_now(scheduler, wakes)
        if hangup.is_set():
            hangup.clear()
            reload()
        moved, offset = time.time() - time.monotonic() - offset, time.time() - time.monotonic()
        if moved < -_STEP:
            log.warning("the clock was set back; every job is started now", seconds=round(-moved, 1))
            for job in scheduler.get_jobs():
                job.modify(next_run_time=SystemClock().now())


def _start_now(scheduler: BackgroundScheduler, wakes: Wakes) -> None:
    jobs = scheduler.get_jobs()
    names = wakes.taken({job.id: job.max_instances for job in jobs})
    for job in jobs:
        if job.id in names:
            job.modify(next_run_time=SystemClock().now())


def _guarded(
    name: str, work: Callable[[], object], progress: Progress | None, wakes: Wakes
) -> Callable[[], None]:
    def run() -> None:
        try:
            with wakes.running(name):
                work()
        except _FAULTS as error:
            log.error("job failed", job=name, error=str(error))  # noqa: TRY400 — no traceback in the log
        else:
            if progress is not None:
                progress.done(name)

    return run
