"""Reads the results of detection since the last tick: new findings, and windows evaluated without one.

The run stream is read before the finding stream. A run is recorded after its findings, so the findings of every run
read here are visible. An alert is therefore never resolved because some findings were not visible yet.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import polars as pl

from tocsin.clock import EPOCH
from tocsin.contract.alerts import Alert, fingerprint
from tocsin.contract.findings import DONE, WITHDRAWN, Family, Finding, Severity, Subject
from tocsin.contract.frames import NEWEST_LAST
from tocsin.contract.query import Condition
from tocsin.contract.streams import (
    ASPECT,
    EARLY,
    EVALUATED,
    FIRST_FOUND,
    ID,
    INGESTED,
    LAST_INGEST,
    NEWEST_EVENT,
    SILENT,
)
from tocsin.contract.times import Times
from tocsin.store.protocol import Store
from tocsin_alerting.episodes import Episode, Verdict, episodes

_DETECTOR, _START, _END = "tocsin.detector.id", "tocsin.window.start", "tocsin.window.end"
_TYPE, _SUBJECT, _FINDING = "tocsin.subject.type", "tocsin.subject.id", "tocsin.finding.id"
_EVALUATED = Condition("event.action", "in", [outcome.value for outcome in DONE])
_NOT_SILENT = pl.col(SILENT).ne_missing(True)  # noqa: FBT003 — excludes backfills that send no notifications


@dataclass(frozen=True, slots=True)
class Position:
    """How far the two streams have been read: the newest ingest time in each."""

    runs: datetime = EPOCH
    findings: datetime = EPOCH


@dataclass(frozen=True, slots=True)
class Changes:
    """The fingerprints with new results: for each, a start time and the episodes since then."""

    episodes: Mapping[str, tuple[datetime, list[Episode]]]
    position: Position


def read(store: Store, position: Position, alerts: Sequence[Alert]) -> Changes:
    """Read all results since a position, and rows before the position that may have become visible since.

    Reading a row twice does no harm: alerts depend on the content of the windows, not on how often they are read.
    """
    newest = position
    if not store.overlap:  # rows become visible in the order of their ingest times
        newest = Position(store.newest("run"), store.newest("finding"))
        if newest == position:
            return Changes({}, position)
    new = (_EVALUATED, Condition(INGESTED, ">", position.runs - store.overlap))
    runs = store.scan("run", columns=[_DETECTOR, SILENT, INGESTED], where=new).filter(_NOT_SILENT).collect()
    columns = [_DETECTOR, _TYPE, _SUBJECT, ASPECT, _START, INGESTED]
    where = [Condition(INGESTED, ">", position.findings - store.overlap)]
    findings = store.scan("finding", columns=columns, where=where).collect()
    since = _since(store.namespace, set(runs[_DETECTOR]), findings, alerts)
    reached = Position(_newest(runs, newest.runs), _newest(findings, newest.findings))
    return Changes(_evaluated(store, since) if since else {}, reached)


def _since(
    namespace: str, detectors: set[str], findings: pl.DataFrame, alerts: Iterable[Alert]
) -> dict[str, tuple[str, datetime]]:
    """For each fingerprint with new results: its detector, and the earliest window start to read."""
    since: dict[str, tuple[str, datetime]] = {}
    known: dict[str, list[Alert]] = defaultdict(list)
    for alert in alerts:
        known[alert.fingerprint].append(alert)
        if alert.firing and alert.detector in detectors:
            since[alert.fingerprint] = (alert.detector, alert.window_start)
    for row in findings.iter_rows(named=True):
        detector, start = row[_DETECTOR], row[_START]
        key = fingerprint(namespace, detector, _subject(row), row[ASPECT] or "")
        starts = [a.started for a in known[key] if a.started <= start < (a.resolved or a.window_end)]
        starts += [a.window_start for a in known[key] if a.firing]
        if key in since:
            starts.append(since[key][1])
        since[key] = (detector, min([start, *starts]))
    return since


def _evaluated(
    store: Store, since: Mapping[str, tuple[str, datetime]]
) -> dict[str, tuple[datetime, list[Episode]]]:
    detectors = sorted({detector for detector, _ in since.values()})
    start = min(start for _, start in since.values())
    where = (Condition(_DETECTOR, "in", detectors), Condition(_START, ">=", start))
    runs = store.scan("run", columns=[_DETECTOR, _START, _END, SILENT], where=(*where, _EVALUATED))
    windows = _windows(runs.filter(_NOT_SILENT).select(_DETECTOR, _START, _END))
    found: dict[str, list[Verdict]] = defaultdict(list)
    for row in _revisions(store, where):
        key = fingerprint(store.namespace, row[_DETECTOR], _subject(row), row[ASPECT] or "")
        if key in since and row[_START] >= since[key][1]:
            found[key].append(Verdict(row[_START], row[_END], _finding(row)))
    return {
        key: (start, episodes(_verdicts(windows.get(detector, []), start, found[key])))
        for key, (detector, start) in since.items()
    }


def _windows(runs: pl.LazyFrame) -> dict[str, list[tuple[datetime, datetime]]]:
    windows: dict[str, list[tuple[datetime, datetime]]] = defaultdict(list)
    for detector, start, end in runs.unique().sort(_START, _END).collect().iter_rows():
        windows[detector].append((start, end))
    return windows


def _revisions(store: Store, where: Sequence[Condition]) -> Iterable[dict[str, Any]]:
    """The newest revision of every finding of which at least one revision is not silent."""
    rows = store.scan("finding", where=where).sort(*NEWEST_LAST, ID)
    rows = rows.filter(_NOT_SILENT.any().over(_FINDING))
    return rows.unique(_FINDING, keep="last", maintain_order=True).collect().iter_rows(named=True)


def _verdicts(
    windows: Sequence[tuple[datetime, datetime]], since: datetime, found: Iterable[Verdict]
) -> Iterable[Verdict]:
    quiet = {(start, end): Verdict(start, end) for start, end in windows[bisect_left(windows, (since,)) :]}
    return (quiet | {(verdict.start, verdict.end): verdict for verdict in found}).values()


def _subject(row: Mapping[str, Any]) -> Subject:
    return Subject(row[_TYPE] or "", row[_SUBJECT] or "")


def _finding(row: Mapping[str, Any]) -> Finding | None:
    """The finding in a row of the finding stream; None if late data, or the full window, withdrew it."""
    if row["event.action"] == WITHDRAWN:
        return None
    return Finding(
        id=row[_FINDING],
        detector=row[_DETECTOR],
        subject=_subject(row),
        severity=Severity(row["tocsin.severity"]),
        score=row["tocsin.score"] or 0.0,
        threshold=row["tocsin.threshold"] or 0.0,
        window_start=row[_START],
        window_end=row[_END],
        techniques=tuple(row["threat.technique.id"] or ()),
        reason=row["event.reason"] or "",
        evidence=msgspec.json.decode(row["tocsin.evidence"] or "{}"),
        playbook=row["tocsin.playbook.id"] or "",
        baseline=row["tocsin.baseline.digest"] or "",
        family=row["tocsin.detector.family"] or Family.OTHER.value,
        aspect=row[ASPECT] or "",
        early=bool(row[EARLY]),
        times=Times(row[NEWEST_EVENT], row[LAST_INGEST], row[EVALUATED], row[FIRST_FOUND] or row[INGESTED]),
    )


def _newest(rows: pl.DataFrame, before: datetime) -> datetime:
    newest = rows[INGESTED].max()
    return max(newest, before) if isinstance(newest, datetime) else before
