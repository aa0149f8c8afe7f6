"""How fast Tocsin was: when a person was paged about an attack, and the decisive event, which is found offline."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import polars as pl

from tocsin.contract.alerts import Action, AlertState
from tocsin.contract.findings import Severity, Subject
from tocsin.contract.query import Condition
from tocsin.contract.streams import ASPECT, INGESTED, TIME
from tocsin.contract.windows import Baseline, Window
from tocsin.pipeline.detecting.evaluate import one_thread
from tocsin.pipeline.detecting.records import newest_findings, newest_runs
from tocsin.pipeline.detecting.source import StoreSource
from tocsin.store.protocol import Store
from tocsin.testing.decisive import decisive_event
from tocsin.worker.app import App

_DETECTOR, _TYPE, _SUBJECT = "tocsin.detector.id", "tocsin.subject.type", "tocsin.subject.id"
_BASELINE = "tocsin.baseline.digest"
_START, _END, _SEVERITY = "tocsin.window.start", "tocsin.window.end", "tocsin.severity"
#: The severities about which a person is paged.
PAGING = [severity.value for severity in Severity if severity.rank >= Severity.HIGH.rank]


class Decisive(NamedTuple):
    """The decisive event of an attack."""

    detector: str
    at: datetime
    collected: datetime


def page(store: Store, since: datetime, until: datetime, subjects: Sequence[Subject]) -> datetime | None:
    """When the first notification of a firing alert of `high` or above about the subjects was delivered."""
    where = [
        Condition("event.action", "==", Action.NOTIFIED.value),
        Condition("tocsin.alert.state", "==", AlertState.FIRING.value),
        Condition(_SEVERITY, "in", PAGING),
    ]
    rows = store.scan("alert_history", since, until, [TIME, _TYPE, _SUBJECT], where).collect()
    return min((row[TIME] for row in rows.iter_rows(named=True) if _about(row, subjects)), default=None)


def decisive(
    app: App, since: datetime, until: datetime, subjects: Sequence[Subject], least: Severity = Severity.HIGH
) -> Decisive | None:
    """The first event from `since` to `until` up to which a final evaluation would have found the subjects at `least`.

    The detectors and windows are those whose final evaluation has a finding of this severity.
    """
    rows = newest_findings(app.store, [Condition(_END, ">", since), Condition(_START, "<", until)])
    rows = rows.filter(pl.col(ASPECT).is_null())
    found: Decisive | None = None
    for row in rows.iter_rows(named=True):
        if not _about(row, subjects) or Severity(row[_SEVERITY]).rank < least.rank:
            continue
        detector = app.setting(row[_DETECTOR]).detector
        window = Window(row[_START], row[_END], StoreSource(app.store))
        used = final_baselines(app, detector.id, window)
        if detector.requires.baseline is not None and not used:
            continue
        subject, before = Subject(row[_TYPE], row[_SUBJECT]), found.at if found else None
        with one_thread():
            at = decisive_event(detector, window, subject, least, used, since=since, before=before)
        if at is not None:
            found = Decisive(detector.id, at, _collected(app.store, detector.requires.streams, at))
    return found


def final_baselines(app: App, detector: str, window: Window) -> list[Baseline]:
    """The baselines that the final evaluation of a window used."""
    runs = newest_runs(app.store, detector, window.start, window.end, None, [_BASELINE])
    used = {digest for digests in runs[_BASELINE].drop_nulls() for digest in digests.split(",")}
    return [app.detect.baselines.load(v) for v in app.detect.baselines.versions(detector) if v.digest in used]


def _about(row: dict[str, object], subjects: Sequence[Subject]) -> bool:
    return (row[_TYPE], row[_SUBJECT]) in subjects


def _collected(store: Store, streams: Sequence[str], at: datetime) -> datetime:
    """When the events at a time were ingested."""
    rows = [store.scan(stream, None, None, [INGESTED], [Condition(TIME, "==", at)]) for stream in streams]
    ingested: datetime = pl.concat(rows).select(pl.col(INGESTED).min()).collect().item()
    return ingested
