"""Alerts rebuilt from alert_history, including those that the alert state no longer holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import polars as pl

from tocsin.contract.alerts import Action
from tocsin.contract.findings import Severity, Subject
from tocsin.contract.query import Condition
from tocsin.contract.streams import ID, INGESTED, NEWEST_EVENT, TIME
from tocsin.contract.times import Times
from tocsin.report.counts import Period
from tocsin.store.protocol import Store

_PRINT, _FINDING, _INCIDENT = "tocsin.alert.fingerprint", "tocsin.finding.id", "tocsin.incident.id"
_DETECTOR, _SEVERITY, _STARTED = "tocsin.detector.id", "tocsin.severity", "tocsin.alert.started"
_START, _END = "tocsin.window.start", "tocsin.window.end"
_COLUMNS = [TIME, ID, INGESTED, "event.action", "event.reason", "user.name", "tocsin.receiver", _PRINT, _FINDING,
            _INCIDENT, _DETECTOR, _SEVERITY, _STARTED, "tocsin.subject.type", "tocsin.subject.id"]  # fmt: skip
_STATE_CHANGES = (Action.FIRING, Action.SEVERITY_CHANGED, Action.ACKNOWLEDGED, Action.INCIDENT_OPENED,
         Action.INCIDENT_JOINED, Action.RESOLVED, Action.NOTIFIED)  # fmt: skip
#: The order of the actions that one tick records with the same time.
_SEQUENCE = (Action.FIRING, Action.SEVERITY_CHANGED, Action.INCIDENT_OPENED, Action.INCIDENT_JOINED, Action.RESOLVED,
           Action.NOTIFIED, Action.NOTIFICATION_FAILED)  # fmt: skip
_ORDER = pl.col("event.action").replace_strict(
    {action.value: place for place, action in enumerate(_SEQUENCE)},
    default=len(_SEQUENCE),
    return_dtype=pl.Int64,
)


@dataclass(frozen=True, slots=True)
class RaisedAlert:
    """One alert, from the moment it was raised.

    `finding` is the one with the worst severity. `started` and `ended` span the windows of its findings; if those
    are past their retention, both are the time at which the alert was raised.
    """

    fingerprint: str
    detector: str
    subject: Subject
    severity: Severity
    raised: datetime
    finding: str
    first: str  # the finding that raised it; the newest if several were found at once
    started: datetime
    ended: datetime
    acknowledged: datetime | None = None
    by: str = ""
    resolved: datetime | None = None
    incident: str = ""
    newest_event: datetime | None = (
        None  # of its subject, that the evaluation with the first finding had read
    )
    notified: datetime | None = None  # first delivery

    @property
    def times(self) -> Times:
        """The times that the time to detect and the time to acknowledge are computed from."""
        return Times(self.newest_event, notified=self.notified, acknowledged=self.acknowledged)


def alerts(store: Store, period: Period, findings: pl.DataFrame) -> list[RaisedAlert]:
    """The alerts of a period, newest first: raised in it, or open when it began.

    `findings` are all up to the end of the period, including withdrawn ones.
    """
    bound = None if period.open else period.end
    where = [
        Condition("event.action", "in", [a.value for a in _STATE_CHANGES]),
        Condition(_PRINT, "not_null"),
    ]
    rows = store.scan("alert_history", None, bound, _COLUMNS, where).collect()
    windows = findings.select(_FINDING, pl.col(_START).alias("window"))
    # All rows of one tick have the same time: they are ordered by window, then by the sequence of actions.
    rows = rows.join(windows, on=_FINDING, how="left").sort(_PRINT, TIME, "window", _ORDER, ID)
    about = {
        key: list(own.select(_START, _END, NEWEST_EVENT).iter_rows())
        for key, own in findings.group_by(_DETECTOR, "tocsin.subject.type", "tocsin.subject.id")
    }
    first = dict(windows.iter_rows())
    found = [
        alert
        for _, own in rows.group_by(_PRINT, maintain_order=True)
        for alert in _dated(list(_episodes(own.iter_rows(named=True))), first, about)
    ]
    held = (a for a in found if a.resolved is None or a.resolved >= period.start)
    return sorted(held, key=lambda a: (a.raised, a.started, a.fingerprint), reverse=True)


def raised_later(store: Store, period: Period, findings: pl.DataFrame) -> set[str]:
    """Fingerprints of the alerts that these findings of a period raised after its end. A window that ends with the
    period is evaluated later.
    """
    if period.open:
        return set()
    where = [Condition("event.action", "==", Action.FIRING.value)]
    later = store.scan("alert_history", period.end, None, [_PRINT, _FINDING, _STARTED], where)
    known = findings[_FINDING].unique().to_list()
    began = pl.col(_STARTED) < period.end
    return set(later.filter(began.fill_null(value=False) | pl.col(_FINDING).is_in(known)).collect()[_PRINT])


def _episodes(rows: Iterable[Mapping[str, Any]]) -> Iterator[RaisedAlert]:
    """The alerts of one fingerprint, from its transitions in order."""
    alert: RaisedAlert | None = None
    for row in rows:
        time, action = row[TIME], row["event.action"]
        if action == Action.FIRING:
            if alert is not None and alert.resolved is None:  # no row says that it was resolved
                alert = _worse(alert, row)
                continue
            if alert is not None:
                yield alert
            subject = Subject(row["tocsin.subject.type"] or "", row["tocsin.subject.id"] or "")
            finding = row[_FINDING] or ""
            alert = RaisedAlert(row[_PRINT], row[_DETECTOR] or "", subject, Severity(row[_SEVERITY]), time,
                         finding, finding, row[_STARTED] or time, time)  # fmt: skip
        elif alert is not None:
            alert = _changed(alert, action, row)
    if alert is not None:
        yield alert


def _changed(alert: RaisedAlert, action: str, row: Mapping[str, Any]) -> RaisedAlert:
    match action:
        case Action.SEVERITY_CHANGED:  # also to a lower severity, if late data withdrew findings
            return replace(alert, severity=Severity(row[_SEVERITY]), finding=row[_FINDING] or alert.finding)
        case Action.ACKNOWLEDGED if alert.acknowledged is None:
            return replace(alert, acknowledged=row[TIME], by=row["user.name"] or "")
        case Action.INCIDENT_OPENED | Action.INCIDENT_JOINED:
            return replace(alert, incident=row[_INCIDENT] or "")
        case Action.RESOLVED:
            return replace(alert, resolved=row[TIME])
        case Action.NOTIFIED if alert.notified is None:
            return replace(alert, notified=row[TIME])
    return alert


def _worse(alert: RaisedAlert, row: Mapping[str, Any]) -> RaisedAlert:
    severity = Severity(row[_SEVERITY])
    if severity.rank <= alert.severity.rank:
        return alert
    return replace(alert, severity=severity, finding=row[_FINDING] or alert.finding)


def _dated(
    alerts: Sequence[RaisedAlert],
    first: Mapping[str, datetime],
    about: Mapping[Any, Sequence[tuple[datetime, datetime, datetime | None]]],
) -> Iterator[RaisedAlert]:
    """The alerts of one fingerprint with the windows of their stored findings."""
    # Rows of older versions have no start: the alert then starts with the finding that raised it, if that is stored.
    starts = [first.get(a.first, a.raised) if a.started == a.raised else a.started for a in alerts]
    for alert, start, following in zip(alerts, starts, [*starts[1:], None], strict=True):
        windows = about.get((alert.detector, *alert.subject), ())
        ends = [e for s, e, _ in windows if s >= start and (following is None or s < following)]
        newest = next((at for s, _, at in windows if s == start and at is not None), None)
        yield replace(alert, started=start, ended=max(ends, default=alert.raised), newest_event=newest)


def of_incident(store: Store, incident: str, opened: datetime, prints: Sequence[str]) -> pl.DataFrame:
    """The rows of alert_history about an incident and, since it was opened, about its alerts; oldest first."""
    parts = [store.scan("alert_history", None, None, _COLUMNS, [Condition(_INCIDENT, "==", incident)])]
    if prints:
        where = [Condition(_PRINT, "in", sorted(prints))]
        parts.append(store.scan("alert_history", opened, None, _COLUMNS, where))
    return _in_order(pl.concat(part.collect() for part in parts))


def of_alert(store: Store, alert: RaisedAlert) -> pl.DataFrame:
    """The rows of alert_history about one alert, oldest first."""
    where = [Condition(_PRINT, "==", alert.fingerprint)]
    rows = store.scan("alert_history", alert.raised, None, _COLUMNS, where).collect()
    return _in_order(rows if alert.resolved is None else rows.filter(pl.col(TIME) <= alert.resolved))


def _in_order(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.unique(ID, maintain_order=True).sort(TIME, _ORDER, ID)
