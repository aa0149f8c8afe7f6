"""Compares the alerts in the keyed state with their transitions in alert_history and with their findings.

Each change of an alert's state or severity and each acknowledgement is a transition. An alert that was changed or deleted
in another way therefore differs from its last transition.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
import polars as pl

from tocsin.clock import EPOCH, parse_time
from tocsin.contract.alerts import Action, Alert, fingerprint
from tocsin.contract.findings import WITHDRAWN, Json, Score, Severity, Subject
from tocsin.contract.frames import NEWEST_LAST
from tocsin.contract.query import Condition
from tocsin.contract.streams import ASPECT, FENCE, INGESTED, SILENT, TIME
from tocsin.store.protocol import Store

_PRINT, _STATE, _FINDING = "tocsin.alert.fingerprint", "tocsin.alert.state", "tocsin.finding.id"
_DETECTOR, _TYPE, _SUBJECT = "tocsin.detector.id", "tocsin.subject.type", "tocsin.subject.id"
_STARTED, _SEVERITY, _BY = "tocsin.alert.started", "tocsin.severity", "user.name"
_ACTIONS = [Action.FIRING, Action.SEVERITY_CHANGED, Action.RESOLVED, Action.ACKNOWLEDGED]
_LIMIT = 5_000  # alerts that a check compares: those that changed last
_FOUND = timedelta(days=30)  # findings of this time must have an alert
_MARGIN = timedelta(days=1)
_SHOWN = 20
_HISTORY = [
    TIME,
    INGESTED,
    "event.action",
    _PRINT,
    _STATE,
    _STARTED,
    _SEVERITY,
    _BY,
    _DETECTOR,
    _TYPE,
    _SUBJECT,
]
Row = Mapping[str, Any]


def alert_records(store: Store, now: datetime, retention: timedelta) -> Score:
    """The score of the stored alerts, for `tocsin health`: 2 if one of them differs from its transitions or is missing.

    Args:
        store: the store.
        now: the current time.
        retention: the shorter retention of the streams `alert_history` and `finding`.

    Raises:
        StoreError: the store cannot be read.
    """
    since = now - retention + _MARGIN
    alerts = [msgspec.convert(entry.value, Alert) for entry in store.entries("alert")]
    alerts = sorted(alerts, key=lambda alert: (alert.changed, alert.id), reverse=True)
    position = store.get("checkpoint", "alerting")
    read = parse_time(position.value["findings"]) - store.overlap if position else EPOCH
    actions = [Condition("event.action", "in", [action.value for action in _ACTIONS])]
    rows = store.scan("alert_history", since, None, _HISTORY, actions).sort(INGESTED, TIME).collect()
    history: dict[str, list[Row]] = defaultdict(list)
    for row in rows.iter_rows(named=True):
        history[row[_PRINT] or ""].append(row)
    found = [*_changed(alerts[:_LIMIT], Counter(a.fingerprint for a in alerts), history, since)]
    found += _without_finding(store, alerts[:_LIMIT], read, since)
    if position is not None:
        found += _deleted({alert.fingerprint for alert in alerts}, history)
        found += _never_raised(store, alerts, history, read, max(since, now - _FOUND))
    subject = Subject("store", "alert")
    if not found:
        return Score(subject, 0.0, f"{len(alerts):,} alerts are as their transitions say")
    more = f"; {len(found) - 1:,} more differences" if found[1:] else ""
    shown: list[Json] = list(found[:_SHOWN])
    evidence: dict[str, Json] = {"count": len(found), "differences": shown}
    return Score(subject, 2.0, f"{found[0]}{more}", evidence)


def _name(alert: Alert) -> str:
    return f"alert {alert.fingerprint} ({alert.detector}, {alert.subject.id})"


def _changed(
    alerts: Sequence[Alert], number: Mapping[str, int], history: Mapping[str, Sequence[Row]], since: datetime
) -> Iterator[str]:
    """Alerts whose state, severity or acknowledgement is not that of their last transition."""
    for alert in alerts:
        rows, several = history.get(alert.fingerprint, ()), number[alert.fingerprint] > 1
        known = {(row[_STATE], row[_SEVERITY]) for row in _last(rows, several=several)}
        if alert.unwritten:
            known = {(t.state, t.severity) for t in alert.unwritten} | known
        if not known:
            if alert.raised is not None and alert.raised >= since:
                yield f"{_name(alert)} has no transition in alert_history"
            continue
        older = several and alert.raised is not None and alert.raised < since
        # then the transitions that are left may all be those of a later alert with the same fingerprint
        if (alert.state.value, alert.severity.value) not in known and not older:
            state, severity = min(known)
            said = f"its last transition says {severity} and {state}"
            yield f"{_name(alert)} is {alert.severity} and {alert.state}, but {said}"
        ack = alert.acknowledged
        by = {row[_BY] for row in rows if row["event.action"] == Action.ACKNOWLEDGED} | {
            t.by for t in alert.unwritten
        }
        if ack is not None and ack.at >= since and ack.by not in by:
            yield f"{_name(alert)} is acknowledged by {ack.by}, but nobody acknowledged it with `tocsin ack`"


def _last(rows: Sequence[Row], *, several: bool) -> list[Row]:
    """The last transition of a fingerprint; if it has several alerts, of each start. Equal times are all the last."""
    if several:
        by_start: dict[Any, list[Row]] = defaultdict(list)
        for row in rows:
            by_start[row[_STARTED]].append(row)
        return [row for group in by_start.values() for row in _last(group, several=False)]
    return [row for row in rows if (row[INGESTED], row[TIME]) == (rows[-1][INGESTED], rows[-1][TIME])]


def _deleted(known: set[str], history: Mapping[str, Sequence[Row]]) -> Iterator[str]:
    """Fingerprints that fire by their last transition, but have no alert. Only resolved alerts are ever forgotten."""
    for key, rows in history.items():
        last = rows[-1]
        if key and key not in known and all(row[_STATE] == "firing" for row in _last(rows, several=False)):
            yield f"alert {key} ({last[_DETECTOR]}, {last[_SUBJECT]}) is missing, but was not resolved"


def _without_finding(store: Store, alerts: Sequence[Alert], read: datetime, since: datetime) -> Iterator[str]:
    """Alerts whose newest finding is missing, or is more severe than the alert."""
    ids = sorted({alert.finding for alert in alerts})
    if not ids:
        return
    columns = [_FINDING, _SEVERITY, "event.action", FENCE, INGESTED]
    rows = store.scan("finding", columns=columns, where=[Condition(_FINDING, "in", ids)]).collect()
    newest = {row[_FINDING]: row for row in rows.sort(NEWEST_LAST).iter_rows(named=True)}
    for alert in alerts:
        row = newest.get(alert.finding)
        if row is None:
            if alert.window_end >= since:
                yield f"{_name(alert)} has no finding: {alert.finding} is missing"
        elif row["event.action"] != WITHDRAWN and row[INGESTED] <= read:
            severity = Severity(row[_SEVERITY])
            if severity.rank > alert.severity.rank:
                yield f"{_name(alert)} is {alert.severity}, but its finding is {severity}"


def _never_raised(
    store: Store,
    alerts: Sequence[Alert],
    history: Mapping[str, Sequence[Row]],
    read: datetime,
    since: datetime,
) -> Iterator[str]:
    """Findings that alerting has read, but that have neither an alert nor a transition."""
    columns = ["event.action", _FINDING, _DETECTOR, _TYPE, _SUBJECT, ASPECT, SILENT, FENCE, INGESTED]
    rows = store.scan("finding", since, None, columns).collect().sort(NEWEST_LAST)
    heard = pl.col(SILENT).ne_missing(True).any().over(_FINDING)  # noqa: FBT003 — without silent backfills
    rows = rows.filter(heard).unique(_FINDING, keep="last", maintain_order=True)
    rows = rows.filter(pl.col("event.action") != WITHDRAWN, pl.col(INGESTED) <= read)
    known = {alert.fingerprint for alert in alerts} | history.keys()
    for detector, type_, id, aspect in (
        rows.select(_DETECTOR, _TYPE, _SUBJECT, ASPECT).unique().sort(pl.all()).iter_rows()
    ):
        key = fingerprint(store.namespace, detector, Subject(type_ or "", id or ""), aspect or "")
        if key not in known:
            yield f"alert {key} ({detector}, {id}) is missing, but its finding is there"
