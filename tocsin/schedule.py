"""`tocsin run`: when what is done. The only user of APScheduler, which only starts things.

What is due is decided from the store, so a run that was missed, or a process that was away, is made up
for at the next start; jobs of one kind never overlap.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Mapping
from datetime import timedelta

from apscheduler.schedulers.background import BackgroundScheduler

from tocsin.errors import TocsinError
from tocsin.tables import FAULTS

_FAULTS: tuple[type[BaseException], ...] = (TocsinError, *FAULTS)
log = logging.getLogger("tocsin")


def serve(jobs: Mapping[str, tuple[timedelta, Callable[[], object]]]) -> None:
    """Run each job at once and then at its interval, until SIGINT or SIGTERM; a job under way ends first.

    Args:
        jobs: by name, the interval and the function. What a job cannot do is logged, and it
            goes on at its next time.
    """
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    scheduler = BackgroundScheduler(timezone="UTC")
    for name, (interval, job) in jobs.items():
        scheduler.add_job(
            _guarded(name, job),
            "interval",
            seconds=max(interval.total_seconds(), 1),
            id=name,
            coalesce=True,
            max_instances=1,
            misfire_grace_time=None,
        )
    for name, (_, job) in jobs.items():
        _guarded(name, job)()
        if stop.is_set():
            return
    scheduler.start()
    stop.wait()
    scheduler.shutdown(wait=True)


def _guarded(name: str, job: Callable[[], object]) -> Callable[[], None]:
    def run() -> None:
        try:
            job()
        except _FAULTS as error:
            log.error("%s: %s", name, error)  # noqa: TRY400 — the message is for people, not a trace

    return run
