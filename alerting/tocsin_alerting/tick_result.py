"""What a tick of the alert path did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from tocsin.contract.alerts import Action, Transition
from tocsin_alerting.measured import Measured


@dataclass(frozen=True, slots=True)
class TickResult:
    """What a tick did: the numbers of alerts that began to fire (`firing`) or were resolved, of notifications that were
    delivered (`notified`) or failed permanently (`failed`), and of receivers with a retryable failure (`retried`).
    """

    firing: int = 0
    resolved: int = 0
    notified: int = 0
    failed: int = 0
    retried: int = 0
    notifications: tuple[tuple[str, str, int], ...] = ()  # receiver, outcome, number of notifications
    measured: tuple[
        Measured, ...
    ] = ()  # of the alerts whose first notification or acknowledgement this tick recorded


def result(transitions: Iterable[Transition], retried: int, measured: Iterable[Measured]) -> TickResult:
    """The result of a tick from the transitions that it wrote."""
    transitions = tuple(transitions)
    counts = Counter(transition.action for transition in transitions)
    sent = {(t.action, t.notification, t.receiver) for t in transitions if t.notification}
    outcomes = Counter(action for action, _, _ in sent)
    by_receiver = Counter((receiver, action.value) for action, _, receiver in sent)
    return TickResult(
        firing=counts[Action.FIRING],
        resolved=counts[Action.RESOLVED],
        notified=outcomes[Action.NOTIFIED],
        failed=outcomes[Action.NOTIFICATION_FAILED],
        retried=retried,
        notifications=tuple(
            (receiver, outcome, count) for (receiver, outcome), count in sorted(by_receiver.items())
        ),
        measured=tuple(measured),
    )
