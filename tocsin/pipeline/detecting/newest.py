"""The newest event of each subject with a finding: the times that the time to detect is measured from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import polars as pl

from tocsin.contract.evaluation import Judgement
from tocsin.contract.findings import Subject
from tocsin.contract.plugin import Detector
from tocsin.contract.query import Condition, Measure
from tocsin.contract.streams import INGESTED, STREAMS, TIME
from tocsin.contract.times import Times
from tocsin.contract.windows import Window
from tocsin.store.protocol import Store

#: The columns that hold the ids of subjects, by type of subject.
_COLUMNS = {"principal": "user.id", "model": "tocsin.model.name", "dataset": "tocsin.dataset.name"}
_NEWEST = (Measure("event", "max", TIME), Measure("ingested", "max", INGESTED))
_MOST = 1_000  # subjects of one type that are looked up; of more, each gets the window's newest event


def timed(
    store: Store,
    detector: Detector[Any],
    window: Window,
    judged: Iterable[Judgement],
    where: Sequence[Condition] = (),
) -> tuple[Judgement, ...]:
    """The judgements; each finding with its subject's newest event in the window, and that event's ingest time.

    If no event has the subject's id in the column of its type, it is the newest event of the window.

    Args:
        store: the store that the window was read from.
        detector: the detector.
        window: the window.
        judged: its judgements.
        where: which events count; of an early evaluation, those since the last one.
    """
    known = tuple(judged)
    ids: dict[str, set[str]] = defaultdict(set)
    for judgement in known:
        if judgement.finding is not None:
            ids[judgement.score.subject.type].add(judgement.score.subject.id)
    times: dict[Subject, Times] = {}
    for kind, among in ids.items():
        column = _COLUMNS.get(kind, "" if detector.early is None else detector.early.by)
        if column and len(among) <= _MOST:
            found = _newest(store, detector, window, column, [*where, Condition(column, "in", sorted(among))])
            times |= {Subject(kind, id): at for id, at in found.items()}
    left = any(Subject(kind, id) not in times for kind, among in ids.items() for id in among)
    other = _newest(store, detector, window, "", where).get("", Times()) if left else Times()
    return tuple(
        replace(j, finding=j.finding and replace(j.finding, times=times.get(j.score.subject, other)))
        for j in known
    )


def _newest(
    store: Store, detector: Detector[Any], window: Window, column: str, where: Sequence[Condition]
) -> Mapping[str, Times]:
    """The newest event and ingest time in the detector's streams, by value of a column. Without one, by the key ""."""
    by = [column] if column else []
    parts = [
        store.summarize(stream, window.start, window.end, by, _NEWEST, where)
        for stream in detector.requires.streams
        if not column or column in STREAMS[stream].by_name
    ]
    if not parts:
        return {}
    key = pl.col(column) if column else pl.lit("")
    newest = pl.concat(parts).group_by(key.alias("key")).agg(pl.col("event", "ingested").max())
    return {id: Times(_utc(event), _utc(ingested)) for id, event, ingested in newest.iter_rows()}


def _utc(at: datetime | None) -> datetime | None:
    return None if at is None else at.astimezone(UTC)  # the zone of Polars' times may not be in an answer
