"""Collapses a storm: of very many notifications to one receiver, the worst are sent, the others become one digest.

A person can read some dozens of messages. Whoever is watched can raise thousands of mild alerts to hide one severe
alert. So the worst notifications are sent alone, and the others become one notification that describes the
worst of its alerts and counts the rest by severity and detector. Every alert is stored and listed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import NamedTuple

from tocsin.contract.alerts import Alert, digest, worst
from tocsin.contract.findings import Severity
from tocsin_alerting.groups import Group
from tocsin_alerting.records import Table

#: In `WITHIN`, a receiver gets at most `ALONE` notifications of their own of one severity or a higher one. Milder
#: notifications do not count: no number of them collapses a worse one.
ALONE, WITHIN = 50, timedelta(minutes=5)


class News(NamedTuple):
    """A group with something to report: its alerts, firing and worst first, and why a notification is due."""

    group: Group
    alerts: Sequence[Alert]
    reason: str

    @property
    def severity(self) -> Severity:
        """The severity of its notification."""
        return worst(alert.severity for alert in self.alerts if alert.firing is self.alerts[0].firing)


def posted(due: Iterable[News], groups: Table[Group], now: datetime) -> list[Group]:
    """The groups with their notifications in the outbox, worst first, and for each receiver the rest in one digest.

    The digest comes before the groups that it reports. If the process dies between the two writes, a later digest
    reports those groups again: at-least-once.
    """
    ordered: dict[str, list[News]] = defaultdict(list)
    for news in sorted(due, key=lambda n: (-n.severity.rank, n.group.created, n.group.id)):
        ordered[news.group.receiver].append(news)
    alone, collapsed = [], []
    for receiver, queue in ordered.items():
        sent = _recent(receiver, groups.all(), now)
        few = [n for i, n in enumerate(queue) if i + _as_bad(sent, n.severity) < ALONE]
        alone += [n.group.notify(n.alerts, n.reason, now) for n in few]
        collapsed += _collapsed(receiver, queue[len(few) :], groups, now)
    return [*alone, *collapsed]


def _recent(receiver: str, groups: Iterable[Group], now: datetime) -> Counter[Severity]:
    """How many groups of a receiver were notified lately, by the worst severity that they reported."""
    since = now - WITHIN
    lately = (g for g in groups if g.receiver == receiver and g.told and g.notified and g.notified > since)
    return Counter(worst(told.severity for told in group.told.values()) for group in lately)


def _as_bad(sent: Counter[Severity], severity: Severity) -> int:
    return sum(count for other, count in sent.items() if other.rank >= severity.rank)


def _collapsed(receiver: str, queue: Sequence[News], groups: Table[Group], now: datetime) -> list[Group]:
    """One notification about the alerts of many groups, and the groups with these alerts reported."""
    if not queue:
        return []
    id = digest("storm", receiver)
    storm = groups.get(id) or Group(id, f'{{}}:{{storm="{receiver}"}}', receiver, {}, created=now)
    shown = {alert.id: alert for news in queue for alert in news.group.shown(news.alerts)}
    alerts = sorted(shown.values(), key=lambda a: (not a.firing, a.urgency, a.id))
    storm = storm.post(alerts, f"storm: {len(queue):,} notifications in one", now)
    described = {alert.id for alert in storm.outbox[-1].notification.alerts}
    told = [n.group.reported(n.group.shown(n.alerts), described, now) for n in queue]
    return [replace(storm, told={}), *told]
