"""Delivers the outboxes: one lane for each receiver, so that no receiver waits for another one.

A lane is a thread that delivers one notification at a time, worst first. It exists while its receiver has something to
deliver, so there are at most as many lanes as receivers. A tick offers work and waits a moment. A lane that needs longer
goes on, and the next tick replaces its remaining work: a critical alert waits for one delivery at most.

The threads do not keep the process alive: a worker that stops does not wait for a slow receiver. What was not
delivered stays in the outbox.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from tocsin.clock import Clock
from tocsin.contract.alerts import Notification
from tocsin.contract.plugin import Receiver
from tocsin.errors import DeliveryError, StoreError
from tocsin.logs import logger
from tocsin.store.protocol import Store
from tocsin_alerting import undelivered
from tocsin_alerting.delivery import attempt, retry_at, settle, why_failed
from tocsin_alerting.groups import Group, Posting
from tocsin_alerting.records import Table

#: Seconds that a tick waits for the lanes; the last tick of a process waits longer.
PATIENCE, LAST = 5.0, 300.0
#: Seconds that a stopping worker waits for deliveries that have begun.
_FAREWELL = 1.0
#: Holds a lease by its name: yields a check that raises when the lease is lost, or None if another worker has it.
Hold = Callable[[str], AbstractContextManager[Callable[[], None] | None]]
log = logger()


Settle = Callable[[DeliveryError | None, datetime], object]


@dataclass(slots=True)
class _Lane:
    """The remaining work of one receiver, as group ids, worst last; and the thread that does it.

    `later` are groups whose retry is not due yet. They are tried once the receiver has accepted something.
    """

    receiver: str
    work: list[str] = field(default_factory=list)
    later: list[str] = field(default_factory=list)
    thread: threading.Thread | None = None
    held: ExitStack = field(default_factory=ExitStack)
    writing: threading.Lock = field(default_factory=threading.Lock)  # held while the store is written


def unhindered(name: str) -> AbstractContextManager[Callable[[], None] | None]:  # noqa: ARG001
    """The hold of a process that shares its store with no other worker."""
    return nullcontext(lambda: None)


class Lanes:
    """The lanes of one process."""

    def __init__(
        self, store: Store, clock: Clock, receivers: Mapping[str, Receiver[Any]], hold: Hold = unhindered
    ) -> None:
        self._store, self._clock, self._receivers, self._hold = store, clock, receivers, hold
        self._lanes: dict[str, _Lane] = {}
        self._changed = threading.Condition()
        self._stopped = False
        self._touched: set[str] = set()
        self._down: set[str] = set()
        self._fault: BaseException | None = None

    def offer(self, groups: Iterable[Group]) -> None:
        """Replace the remaining work of each lane by what is due now."""
        now = self._clock.now()
        due: dict[str, list[str]] = defaultdict(list)
        later: dict[str, list[str]] = defaultdict(list)
        for group in sorted((g for g in groups if g.outbox), key=_urgency, reverse=True):
            chosen = due if group.outbox[0].due <= now else later
            chosen[group.receiver].append(group.id)
        with self._changed:
            for receiver, waiting in due.items():
                lane = self._lanes.setdefault(receiver, _Lane(receiver))
                lane.work, lane.later = waiting, later[receiver]
                if lane.thread is None and not self._stopped:
                    name = f"deliver {receiver}"
                    lane.thread = threading.Thread(target=self._run, args=(lane,), name=name, daemon=True)
                    lane.thread.start()

    def wait(self, seconds: float) -> tuple[set[str], set[str]]:
        """Wait until the lanes are idle or closed, at most for some seconds.

        Returns:
            The ids of the groups that changed, and the receivers with a retryable failure, since the last call.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._idle(), seconds)
            fault, self._fault = self._fault, None
            touched, self._touched = self._touched, set()
            down, self._down = self._down, set()
        if fault is not None:
            raise fault
        return touched, down

    def close(self) -> None:
        """Stop delivering. A delivery that has begun and does not end within a moment stays in the outbox."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
            self._changed.wait_for(self._idle, _FAREWELL)
            lanes = list(self._lanes.values())
        for lane in lanes:
            with lane.writing:  # after this no lane writes to the store
                lane.held.close()

    def _idle(self) -> bool:
        return all(lane.thread is None for lane in self._lanes.values())

    def _run(self, lane: _Lane) -> None:
        try:
            while not self._ended(lane):
                self._work(lane)
        except StoreError as error:
            reason = str(error)
            log.warning("delivery stopped; the next tick tries again", receiver=lane.receiver, reason=reason)
            self._give_up(lane)
        except BaseException as error:  # noqa: BLE001 — `wait` raises it in the thread of the tick
            self._fault = error
            self._give_up(lane)

    def _ended(self, lane: _Lane) -> bool:
        """Whether no work is left. A tick may offer work while the last delivery ends."""
        with self._changed:
            if lane.work and not self._stopped:
                return False
            lane.thread = None
            self._changed.notify_all()
            return True

    def _give_up(self, lane: _Lane) -> None:
        with self._changed:
            lane.work.clear()
        self._ended(lane)

    def _work(self, lane: _Lane) -> None:
        """Deliver until no work is left, a delivery fails, or another worker delivers to this receiver."""
        try:
            with lane.writing:
                guard = (
                    None
                    if self._stopped
                    else lane.held.enter_context(self._hold(f"receiver {lane.receiver}"))
                )
            if guard is None or not self._deliver(lane, guard):
                with self._changed:
                    lane.work.clear()
        finally:
            with lane.writing:
                lane.held.close()

    def _deliver(self, lane: _Lane, guard: Callable[[], None]) -> bool:
        """Do the work of a lane. False: its receiver is not reachable now."""
        groups, accepted = Table(self._store, "group", Group, empty=True), False
        while id := self._next(lane, accepted=accepted):
            group = groups.reload(id)  # another process may have delivered the notification
            for posting in group.outbox if group else ():
                if posting.due > self._clock.now() and not accepted:
                    break
                guard()
                error = self._try(lane, posting.notification, partial(self._settle, groups, id, posting))
                if error is not None and error.retry:
                    return False
                accepted |= error is None
        for record in undelivered.of(self._store, lane.receiver) if accepted else ():
            guard()
            error = self._try(lane, record.notification, partial(undelivered.settle, self._store, record))
            if error is not None and error.retry:
                return False
        return True

    def _next(self, lane: _Lane, *, accepted: bool) -> str | None:
        """The next group. A receiver that accepts again gets what was to be retried later as well."""
        with self._changed:
            if not lane.work and accepted:
                lane.work, lane.later = lane.later, []
            return lane.work.pop() if lane.work and not self._stopped else None

    def _try(self, lane: _Lane, notification: Notification, settle: Settle) -> DeliveryError | None:
        """One attempt, recorded with `settle` unless the process stops."""
        error = attempt(notification, self._receivers, self._clock.now())
        with lane.writing:
            if self._stopped:
                return DeliveryError("the worker stops", retry=True)
            settle(error, self._clock.now())
        if error is not None and error.retry:
            with self._changed:
                self._down.add(lane.receiver)
        return error

    def _settle(
        self, groups: Table[Group], id: str, posting: Posting, error: DeliveryError | None, now: datetime
    ) -> None:
        """Record the outcome in the group; first store what is not tried again, so that a crash does not lose it."""
        if error is not None and retry_at(posting, error, now) is None:
            undelivered.keep(self._store, posting.notification, why_failed(posting, error), now)
        groups.amend(id, partial(settle, posting, error, now))
        with self._changed:
            self._touched.add(id)


def _urgency(group: Group) -> tuple[int, float, str]:
    """Worst last when reversed: by severity, then the notification that has waited longest."""
    worst = max(posting.notification.severity.rank for posting in group.outbox)
    return -worst, group.outbox[0].notification.created.timestamp(), group.id
