"""One attempt to deliver a notification, and what follows from it: done, retry with backoff, or undelivered for good.

At-least-once. A notification is removed from the outbox after its receiver accepted it. If the process dies between
the two, the notification is sent again with the same key. The notifications of a group are sent in order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from tocsin.clock import format_length
from tocsin.contract.alerts import Action, Notification, Transition
from tocsin.contract.plugin import Receiver
from tocsin.errors import DeliveryError
from tocsin_alerting.groups import Group, Posting

#: The wait after the first failure; it doubles with each failure up to the longest.
FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=30), timedelta(hours=1)
#: A notification is marked as failed when its next retry would be due this long after its creation, or later.
OLDEST = timedelta(hours=24)


def attempt(
    notification: Notification, receivers: Mapping[str, Receiver[Any]], now: datetime
) -> DeliveryError | None:
    """Send a notification. Returns why that failed, or None if the receiver accepted it."""
    notification = replace(notification, sent=now)
    receiver = receivers.get(notification.receiver)
    if receiver is None:
        return DeliveryError(f"receiver {notification.receiver!r} is no longer configured", retry=False)
    try:
        receiver.send(notification)
    except DeliveryError as error:
        return error
    except Exception as error:  # noqa: BLE001  # the fence around a plug-in's call
        return DeliveryError(f"{type(error).__name__}: {error}", retry=True)
    return None


def settle(posting: Posting, error: DeliveryError | None, now: datetime, group: Group) -> Group:
    """The group after an attempt at one of its notifications."""
    due = retry_at(posting, error, now)
    if due is not None and error is not None:
        return group.retried(posting.notification.key, due, error.reason)
    return group.without(posting.notification.key, _transitions(posting, error, now))


def retry_at(posting: Posting, error: DeliveryError | None, now: datetime) -> datetime | None:
    """When to retry, or None if the notification was delivered or has failed permanently."""
    if error is None or not error.retry:
        return None
    due = now + backoff(posting.notification.key, posting.attempts, error.after)
    return due if due < posting.notification.created + OLDEST else None


def backoff(key: str, attempts: int, after: float | None = None) -> timedelta:
    """How long to wait after a failed attempt: 30 s, 1 min, 2 min … 1 h, less up to half of that.

    The reduction is derived from the key and the attempt: retries are spread over time, and tests can predict them.
    If a receiver requests a longer wait (`after`, in seconds), that wait is used, up to the longest.
    """
    wait = min(FIRST_WAIT * (1 << min(attempts, 10)), LONGEST_WAIT)
    random = hashlib.sha256(f"{key} {attempts}".encode()).digest()[0] / 255
    asked = timedelta(seconds=min(after or 0.0, LONGEST_WAIT.total_seconds()))
    return max(wait * (1 - random / 2), asked)


def _transitions(posting: Posting, error: DeliveryError | None, now: datetime) -> list[Transition]:
    if error is None:
        return transitions(posting.notification, Action.NOTIFIED, posting.notification.reason, now)
    return transitions(posting.notification, Action.NOTIFICATION_FAILED, why_failed(posting, error), now)


def why_failed(posting: Posting, error: DeliveryError) -> str:
    """The reason of a notification that is not tried again."""
    reason = f"{posting.notification.reason}: {error.reason}"
    if error.retry:
        reason += f"; given up after {posting.attempts + 1} attempts in {format_length(OLDEST)}"
    return reason


def transitions(notification: Notification, action: Action, reason: str, now: datetime) -> list[Transition]:
    """A transition for each alert that a notification describes. The reason says how many more it counts."""
    more = sum(item.count for item in notification.more)
    if more:
        reason += f"; with {more:,} more alerts, counted"
    facts = {"receiver": notification.receiver, "notification": notification.key, "reason": reason}
    return [alert.transition(action, now, **facts) for alert in notification.alerts]
