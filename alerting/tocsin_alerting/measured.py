"""Completes the times of alerts: the first delivered notification, and the first acknowledgement."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import NamedTuple

from tocsin.contract.alerts import Action, Alert, Transition
from tocsin_alerting.context import Context
from tocsin_alerting.records import Table


class Measured(NamedTuple):
    """What a tick measured of one alert, in seconds; None: not in this tick.

    `to_detect` is the time from the newest event to the first notification, `to_acknowledge` from there to the first
    acknowledgement (`tocsin.contract.times.Times`).
    """

    family: str
    to_detect: float | None
    to_acknowledge: float | None


def complete(context: Context) -> list[Measured]:
    """Complete the times of the recorded alerts. What is complete is not measured again."""
    told: dict[str, datetime] = {}
    for transition in (t for group in context.groups.all() for t in group.unwritten):
        if transition.action is Action.NOTIFIED:
            told[transition.alert] = min(transition.at, told.get(transition.alert, transition.at))
    before = {a.id: a for a in context.alerts.all() if _completed(told, a) != a}
    context.alerts.amend_all(before, partial(_completed, told))
    after = (context.alerts.get(id) for id in before)
    found = [_measured(before[alert.id], alert) for alert in after if alert is not None]
    return [m for m in found if m.to_detect is not None or m.to_acknowledge is not None]


def note(alerts: Table[Alert], transitions: Iterable[Transition]) -> None:
    """Complete the times of the alerts of a delivered notification, outside of a tick."""
    for transition in transitions:
        if alerts.reload(transition.alert) is not None:
            alerts.amend(transition.alert, partial(_completed, {transition.alert: transition.at}))


def _completed(told: dict[str, datetime], alert: Alert) -> Alert:
    times, at = alert.times, told.get(alert.id)
    if times.notified is None and at is not None and (alert.raised is None or at >= alert.raised):
        times = replace(times, notified=at)
    if times.acknowledged is None and alert.acknowledged is not None:
        times = replace(times, acknowledged=alert.acknowledged.at)
    return alert if times is alert.times else replace(alert, times=times)


def _measured(before: Alert, after: Alert) -> Measured:
    detect = None if before.times.to_detect is not None else after.times.to_detect
    acknowledge = None if before.times.to_acknowledge is not None else after.times.to_acknowledge
    seconds = (None if length is None else length.total_seconds() for length in (detect, acknowledge))
    return Measured(after.family, *seconds)
