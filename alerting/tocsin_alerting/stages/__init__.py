"""The stages that alerts pass, in order. Each stage is one function from routed alerts to routed alerts.

Stages share no state except the records that they write. Each stage is idempotent, so after a crash between two stages
the tick can be run again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tocsin_alerting.context import Context, Routed, Stage
from tocsin_alerting.stages.deduplicate import deduplicate
from tocsin_alerting.stages.group import group
from tocsin_alerting.stages.notify import drop_idle, notify
from tocsin_alerting.stages.open_incident import open_incident
from tocsin_alerting.stages.route import route

STAGES: tuple[Stage, ...] = (deduplicate, route, open_incident, group, notify)

#: Of very many alerts, at most this many of the worst pass the stages before the others.
_URGENT = 500


def run(routed: list[Routed], context: Context, urgent: Callable[[], None]) -> None:
    """Pass alerts through all stages. In a storm the worst pass them first, then `urgent` is called, then all pass."""
    routed = _through(STAGES[:2], routed, context)
    first = _first(routed, context)
    if first:
        _through(STAGES[2:], first, context)
        urgent()
    drop_idle(_through(STAGES[2:], routed, context), context)


def _through(stages: Iterable[Stage], routed: list[Routed], context: Context) -> list[Routed]:
    for stage in stages:
        routed = stage(routed, context)
    return routed


def _first(routed: list[Routed], context: Context) -> list[Routed]:
    """The groups with the worst alerts, if these are few among very many. A group is always passed whole."""
    ranks = [item.alert.severity.rank for item in routed]  # worst first
    if len(routed) <= _URGENT or ranks[0] == ranks[-1]:
        return []
    worst = next((i for i in range(_URGENT, 0, -1) if ranks[i] != ranks[i - 1]), 0)
    grouped = group(routed, context)
    urgent = {item.group for item in group(routed[:worst], context)}
    chosen = [item for item in grouped if item.group in urgent]
    return chosen if len(chosen) < len(grouped) else []
