"""Puts a notification in the outbox of every group that has a change to report or a repeat that is due."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from itertools import islice

from tocsin.contract.alerts import Alert
from tocsin_alerting.context import DROPPED, Context, Routed
from tocsin_alerting.groups import Group, group_of
from tocsin_alerting.storms import News, posted


def notify(routed: list[Routed], context: Context) -> list[Routed]:
    """Create at most one notification per group, with all of its alerts, and return the alerts unchanged.

    At-least-once: the write that puts a notification in the outbox also stores the reported states. In a storm the
    notifications of many groups are collapsed into one (`tocsin_alerting.storms`).
    """
    members: dict[str, list[Routed]] = defaultdict(list)
    for item in routed:
        members[item.group].append(item)
    quiet, due = [], []
    for id, items in members.items():
        before = context.groups.get(id)
        group = before or _new(items[0], context)
        alerts = sorted((i.alert for i in items), key=_order)
        reason = group.reason(alerts, items[0].route, context.now, last=context.last)
        if reason:
            due.append(News(group, alerts, reason))
        elif before is None:
            quiet.append(group)
    context.groups.save_all([*posted(due, context.groups, context.now), *quiet])
    _mark_settled(routed, context)
    return routed


def drop_idle(routed: list[Routed], context: Context) -> None:
    """Delete groups without alerts that have nothing left to deliver or to write to alert_history."""
    members = {item.group for item in routed}
    gone = (g for g in context.groups.all() if g.id not in members)
    for idle in islice((g for g in gone if not g.outbox and not g.unwritten), DROPPED):
        context.groups.drop(idle.id)


def _new(item: Routed, context: Context) -> Group:
    id, key, labels = group_of(item.alert, item.route)
    return Group(id, key, item.route.receiver, labels, created=context.now)


def _order(alert: Alert) -> tuple[bool, tuple[int, bool], str]:
    return not alert.firing, alert.urgency, alert.id


def _mark_settled(routed: list[Routed], context: Context) -> None:
    """Mark resolved alerts that were reported to all their groups as settled: they are not processed again."""
    groups = {group.id: group for group in context.groups.all()}
    waiting = {item.alert.id for item in routed if groups[item.group].unreported(item.alert)}
    resolved = {item.alert.id for item in routed if not item.alert.firing}
    context.alerts.amend_all(resolved - waiting, lambda alert: replace(alert, settled=not alert.firing))
