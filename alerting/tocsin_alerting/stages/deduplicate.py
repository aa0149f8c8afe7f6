"""Assigns new findings to the alert of their fingerprint, and drops resolved alerts that are fully reported."""

from __future__ import annotations

from collections import defaultdict

import msgspec

from tocsin.contract.alerts import Alert
from tocsin_alerting.context import Context, Routed
from tocsin_alerting.episodes import join
from tocsin_alerting.reading import Position, read


def deduplicate(routed: list[Routed], context: Context) -> list[Routed]:
    """Update the recorded alerts and pass on those that may need a notification.

    These are all firing alerts, and the resolved ones that have not been reported to every group; worst first.
    """
    alerts = [item.alert for item in routed]
    entry = context.store.get("checkpoint", "alerting")
    position = msgspec.convert(entry.value, Position) if entry else Position()
    changes = read(context.store, position, alerts)
    by_fingerprint: dict[str, list[Alert]] = defaultdict(list)
    for alert in alerts:
        by_fingerprint[alert.fingerprint].append(alert)
    joined = [
        alert
        for key, (since, episodes) in changes.episodes.items()
        for alert in join(by_fingerprint[key], episodes, since, context.store.namespace, context.now)
    ]
    context.alerts.save_all(sorted(joined, key=_urgency))
    if changes.position != position:  # the alerts are stored, so their findings need not be read again
        value = msgspec.to_builtins(changes.position)
        context.store.put("checkpoint", "alerting", value, entry.version if entry else None)
    root = context.settings.route
    open_ = [alert for alert in context.alerts.all() if alert.firing or not alert.settled]
    return [Routed(alert, root) for alert in sorted(open_, key=_urgency)]


def _urgency(alert: Alert) -> tuple[tuple[int, bool], bool, str]:
    return alert.urgency, not alert.firing, alert.id
