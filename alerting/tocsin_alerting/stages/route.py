"""Sends each alert down the route tree to the routes that match it."""

from __future__ import annotations

from dataclasses import replace

from tocsin_alerting.context import Context, Routed

#: The playbook of an incident if neither a route nor the detector names an existing one.
FALLBACK = "unexplained-anomaly"


def route(routed: list[Routed], context: Context) -> list[Routed]:
    """Return every alert once per route that it reaches, with the playbook that applies to it."""
    reached = []
    for item in routed:
        found = item.route.match(item.alert.labels)
        named = (*(node.playbook for node in found), item.alert.playbook, FALLBACK)
        playbook = next((id for id in named if id in context.playbooks), FALLBACK)
        alert = replace(item.alert, playbook=playbook)
        reached += [Routed(alert, node) for node in found]
    return reached
