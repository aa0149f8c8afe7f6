"""Notifications that were not delivered and are not tried again: kept, named by health, and sent once more later.

A receiver that answers "no" for good has mostly a wrong address or token. When it accepts a notification again, each
of its undelivered notifications is sent once more, under its old key.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from tocsin.clock import format_time
from tocsin.contract.alerts import Action, Alert, Notification
from tocsin.contract.findings import Json, Score, Subject
from tocsin.errors import DeliveryError
from tocsin.store.protocol import Store
from tocsin_alerting.context import KEEP
from tocsin_alerting.delivery import transitions
from tocsin_alerting.groups import Group, Posting
from tocsin_alerting.history import append
from tocsin_alerting.measured import note
from tocsin_alerting.records import Table
from tocsin_alerting.wording import plain

_KIND = "undelivered"
#: How long health names a notification that was not delivered.
NAMED = timedelta(days=1)
#: A notification that waits this long makes its receiver unhealthy.
LATE = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Undelivered:
    """A notification that its receiver refused for good, or that was given up. `last`: it is not sent once more."""

    id: str
    notification: Notification
    reason: str
    at: datetime
    last: bool = False


def keep(store: Store, notification: Notification, reason: str, now: datetime) -> None:
    """Store a notification that is not tried again. A crash may repeat this: the key is the notification's."""
    table = Table(store, _KIND, Undelivered, empty=True)
    if table.reload(notification.key) is None:
        table.save(Undelivered(notification.key, notification, reason, now))


def of(store: Store, receiver: str) -> list[Undelivered]:
    """The notifications that are to be sent to a receiver once more, worst first."""
    mine = [r for r in Table(store, _KIND, Undelivered).all() if r.notification.receiver == receiver]
    waiting = [record for record in mine if not record.last]
    return sorted(waiting, key=lambda r: (-r.notification.severity.rank, r.at, r.id))


def settle(store: Store, record: Undelivered, error: DeliveryError | None, now: datetime) -> None:
    """Record the outcome of sending a notification once more: delivered, or refused again and then left alone."""
    table = Table(store, _KIND, Undelivered, empty=True)
    if table.reload(record.id) is None:
        return
    if error is None:
        reason = f"{record.notification.reason}, sent once more"
        delivered = transitions(record.notification, Action.NOTIFIED, reason, now)
        note(Table(store, "alert", Alert, empty=True), delivered)
        append(store, delivered)
        table.drop(record.id)
    elif not error.retry:
        table.save(replace(record, last=True))


def forget(store: Store, now: datetime) -> None:
    """Delete what was not delivered long ago."""
    table = Table(store, _KIND, Undelivered)
    for record in table.all():
        if record.at < now - KEEP:
            table.drop(record.id)


def health(store: Store, receivers: Iterable[str], now: datetime) -> list[Score]:
    """A score for every receiver: at least 1 if it refused a notification within a day, or if one waits for long."""
    refused: dict[str, list[Undelivered]] = defaultdict(list)
    for record in Table(store, _KIND, Undelivered).all():
        if record.at > now - NAMED:
            refused[record.notification.receiver].append(record)
    waiting: dict[str, list[Posting]] = defaultdict(list)
    for group in Table(store, "group", Group).all():
        late = [posting for posting in group.outbox if posting.notification.created <= now - LATE]
        if late:
            waiting[group.receiver] += late
    names = sorted({*receivers, *refused, *waiting})
    return [_score(name, refused.get(name, []), waiting.get(name, [])) for name in names]


def _score(name: str, refused: list[Undelivered], waiting: list[Posting]) -> Score:
    subject = Subject("receiver", name)
    evidence: dict[str, Json] = {"undelivered": len(refused), "waiting": len(waiting)}
    if refused:
        newest = max(refused, key=lambda record: record.at)
        reason = f"did not take {len(refused)} notifications in 1d; last: {plain(newest.reason, 120)}"
        return Score(subject, 2.0, reason, evidence)
    if waiting:
        oldest = min(waiting, key=lambda posting: posting.notification.created)
        since = format_time(oldest.notification.created)
        why = f"; last attempt: {plain(oldest.reason, 100)}" if oldest.reason else ""
        return Score(subject, 1.0, f"{len(waiting)} notifications wait since {since}{why}", evidence)
    return Score(subject, 0.0, "takes its notifications", evidence)
