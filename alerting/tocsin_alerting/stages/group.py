"""Puts alerts of one route with equal values of its `group_by` labels into one group."""

from __future__ import annotations

from dataclasses import replace

from tocsin_alerting.context import Context, Routed
from tocsin_alerting.groups import group_of


def group(routed: list[Routed], context: Context) -> list[Routed]:  # noqa: ARG001  # a stage's signature
    """Set the group id of every alert. An alert that reached the same group twice is in it once."""
    grouped: dict[tuple[str, str], Routed] = {}
    for item in routed:
        id, _, _ = group_of(item.alert, item.route)
        grouped.setdefault((item.alert.id, id), replace(item, group=id))
    return list(grouped.values())
