"""New findings join the alert of their fingerprint; what is neither new nor firing goes no further."""

from __future__ import annotations

from collections import defaultdict

import msgspec

from tocsin.contract.alerts import Alert
from tocsin_alerting.context import Context, Routed
from tocsin_alerting.episodes import join
from tocsin_alerting.reading import Position, read


def deduplicate(routed: list[Routed], context: Context) -> list[Routed]:
    """Bring the recorded alerts up to date and pass on those that someone may have to hear of.

    Those are all that fire, and the resolved ones of which not everyone has been told.
    """
    alerts = [item.alert for item in routed]
    entry = context.store.get("checkpoint", "alerting")
    position = msgspec.convert(entry.value, Position) if entry else Position()
    changes = read(context.store, position, alerts)
    by_fingerprint: dict[str, list[Alert]] = defaultdict(list)
    for alert in alerts:
        by_fingerprint[alert.fingerprint].append(alert)
    for key, (since, episodes) in changes.episodes.items():
        for alert in join(by_fingerprint[key], episodes, since, context.store.namespace, context.now):
            context.alerts.save(alert)
    if changes.position != position:  # the alerts are kept: what they were made from need not be read again
        value = msgspec.to_builtins(changes.position)
        context.store.put("checkpoint", "alerting", value, entry.version if entry else None)
    root = context.settings.route
    return [Routed(alert, root) for alert in context.alerts.all() if alert.firing or not alert.settled]
