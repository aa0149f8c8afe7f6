"""What a round of alerting delivered, as the commands print it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tocsin.contract.alerts import Action
from tocsin.words import count

if TYPE_CHECKING:
    from tocsin.worker.app import App
    from tocsin_alerting.tick_result import TickResult


def sent(app: App, alerts: TickResult | None) -> str:
    """How many notifications were sent, and to which receivers."""
    silent = _silent(app)
    numbers = {name: n for name, n in _notified(alerts).items() if name not in silent}
    receivers = f" to {', '.join(numbers)}" if numbers else ""
    return f"{count(sum(numbers.values()), 'notification')} sent{receivers}"


def warnings(app: App, alerts: TickResult | None) -> Iterator[str]:
    """Conditions that the user should correct or be aware of."""
    if alerts is None:
        yield "another worker does the alerting; this round sent no notification"
        return
    notified = _notified(alerts)
    if notified and not app.config.alerting.get("receivers"):
        yield (
            "no receiver is configured: notifications are printed on the console only; "
            "set `alerting.receivers` and `alerting.route` in tocsin.yaml"
        )
    for name in sorted(notified.keys() & _silent(app)):
        yield f"{count(notified[name], 'notification')} for receiver {name} not sent: its type is `nobody`"
    if alerts.failed + alerts.retried:
        yield (
            f"{count(alerts.failed, 'notification')} refused for good, "
            f"{count(alerts.retried, 'receiver')} to retry; for the reasons: tocsin events alert_history"
        )


def _notified(alerts: TickResult | None) -> dict[str, int]:
    """How many notifications each receiver accepted."""
    listed = alerts.notifications if alerts else ()
    return {receiver: number for receiver, outcome, number in listed if outcome == Action.NOTIFIED}


def _silent(app: App) -> set[str]:
    """The receivers that deliver nothing."""
    receivers = app.config.alerting.get("receivers") or {}
    return {name for name, given in receivers.items() if given.get("type") == "nobody"}
