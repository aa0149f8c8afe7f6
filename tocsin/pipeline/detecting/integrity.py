"""Compares the scores and findings in the store with the run records, which hold their number and their digest.

Whoever can write to the store's files can delete or edit a finding, but must then also forge the run record of its window.
The newest windows are compared at every check, and older ones in turn, so that a check has a bounded cost.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from tocsin.clock import EPOCH, format_time
from tocsin.contract.findings import DONE, Json, Score, Subject
from tocsin.contract.frames import NEWEST_LAST
from tocsin.contract.query import Condition
from tocsin.contract.streams import ASPECT, EARLY, FENCE, FOUND, INGESTED, TIME
from tocsin.pipeline.detecting.digests import found_digest, judged_digest
from tocsin.pipeline.detecting.records import newest_findings
from tocsin.store.protocol import Store

_DETECTOR, _START, _END = "tocsin.detector.id", "tocsin.window.start", "tocsin.window.end"
_TYPE, _SUBJECT = "tocsin.subject.type", "tocsin.subject.id"
_WINDOW = [_DETECTOR, _START, _END]
_VERDICT = [_TYPE, _SUBJECT, "tocsin.score", "tocsin.threshold", "event.reason"]
_SCORE = [*_WINDOW, *_VERDICT, ASPECT]
#: Rows of scores and findings that a check reads: of the newest windows, and of a part of the older windows.
LIMIT = 20_000
_TURN = timedelta(minutes=5)
_SHOWN = 20  # windows in the evidence
_MARGIN = timedelta(days=1)  # rows near the end of their retention may be deleted during the check
#: A window of a detector: its id, start and end.
Key = tuple[str, datetime, datetime]


@dataclass(slots=True)
class _Differences:
    """The windows in which one kind of row differs from the run records: what is wrong, in one sentence each."""

    kind: str
    windows: int = 0
    found: list[str] = field(default_factory=list)

    def add(self, key: Key, what: str) -> None:
        self.found.append(f"{what} of {key[0]} in the window of {format_time(key[1])}")

    def score(self) -> Score:
        subject = Subject("store", self.kind)
        if not self.found:
            return Score(
                subject, 0.0, f"the {self.kind}s of {self.windows:,} windows are as they were recorded"
            )
        more = f"; {len(self.found) - 1:,} more windows differ" if self.found[1:] else ""
        shown: list[Json] = list(self.found[:_SHOWN])
        evidence: dict[str, Json] = {"windows": len(self.found), "differences": shown}
        return Score(subject, 2.0, f"{self.found[0]}{more}", evidence)


def records(
    store: Store, now: datetime, retention: timedelta, pending: set[tuple[str, datetime]], health: str
) -> list[Score]:
    """The scores of the stored findings and scores, for `tocsin health`.

    Args:
        store: the store.
        now: the current time.
        retention: the shortest retention of the streams `run`, `score` and `finding`.
        pending: detector and start of the windows that are pending: their rows may be incomplete.
        health: the id of the health check, whose many records are compared separately.

    Returns:
        One score for the findings and one for the scores: 2 if they differ from the run records, else 0.

    Raises:
        StoreError: the store cannot be read.
    """
    since, turn = now - retention + _MARGIN, int(now.timestamp() // _TURN.total_seconds())
    findings, scores = _Differences("finding"), _Differences("score")
    for own in (Condition(_DETECTOR, "!=", health), Condition(_DETECTOR, "==", health)):
        runs = _newest(store, since, own)
        recorded = set(map(_key, runs.iter_rows(named=True)))
        for part, start, end in _parts(runs, since, turn):
            where = [own, Condition(TIME, ">=", start), *([Condition(TIME, "<=", end)] if end else [])]
            verdicts = _by_window(store.scan("score", columns=_SCORE, where=where).unique().collect())
            rows = _by_window(newest_findings(store, where))
            known = {key: run for run in part.iter_rows(named=True) if (key := _key(run))[:2] not in pending}
            for key, run in known.items():
                _compare_findings(findings, key, run, rows.get(key, []), verdicts.get(key, []))
                _compare_scores(scores, key, run, verdicts.get(key, []))
            for key in sorted(rows.keys() - recorded):
                number = sum(
                    not row[EARLY] for row in rows[key]
                )  # an early one stays if its window is skipped
                if number and key[:2] not in pending:
                    findings.add(key, f"no run record, but {number:,} findings")
            findings.windows += len(known)
            scores.windows += len(known)
    return [findings.score(), scores.score()]


def _newest(store: Store, since: datetime, own: Condition) -> pl.DataFrame:
    """The newest run record of each window that was evaluated, newest window first."""
    counts = ["tocsin.run.scores", "tocsin.run.findings", "tocsin.run.judged", FOUND]
    done = [own, Condition("event.action", "in", [outcome.value for outcome in DONE])]
    rows = store.scan("run", since, None, [*_WINDOW, *counts, FENCE, INGESTED], done).collect()
    newest = rows.sort(NEWEST_LAST).unique(_WINDOW, keep="last", maintain_order=True)
    return newest.sort(_END, _DETECTOR, _START, descending=True)


def _parts(
    runs: pl.DataFrame, since: datetime, turn: int
) -> Iterator[tuple[pl.DataFrame, datetime, datetime | None]]:
    """The newest windows with at most `LIMIT` rows, and one part of the others: each part has its turn.

    Each part comes with the times of its first and last row.
    """
    cost = (
        1 + pl.col("tocsin.run.scores").fill_null(0) + pl.col("tocsin.run.findings").fill_null(0)
    ).cum_sum()
    parts = runs.with_columns((cost // LIMIT).alias("part")).partition_by("part", include_key=False)
    if len(parts) < 2:
        yield runs, since, None
        return
    yield parts[0], parts[0][_END].to_list()[-1], None
    part = parts[1 + turn % (len(parts) - 1)]
    yield part, part[_END].to_list()[-1], part[_END].to_list()[0]


def _compare_findings(
    to: _Differences,
    key: Key,
    run: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    verdicts: Sequence[Mapping[str, Any]],
) -> None:
    count = run["tocsin.run.findings"] or 0
    if len(rows) >= count:  # records of earlier versions have no digest
        if run[FOUND] not in {None, found_digest(rows)}:
            to.add(key, f"{len(rows):,} findings differ from the {count:,} recorded")
        return
    left = {(row[_TYPE], row[_SUBJECT]) for row in rows}
    gone = {(v[_TYPE], v[_SUBJECT]) for v in verdicts if v["tocsin.score"] >= v["tocsin.threshold"]} - left
    named = f" ({', '.join(' '.join(subject) for subject in sorted(gone)[:3])})" if gone else ""
    to.add(key, f"{count - len(rows):,} of {count:,} findings{named} are missing,")


def _compare_scores(
    to: _Differences, key: Key, run: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
) -> None:
    """Compare the scores of a window. More rows than recorded are those of earlier evaluations of the window."""
    count = run["tocsin.run.scores"] or 0
    if len(rows) < count:
        to.add(key, f"{count - len(rows):,} of {count:,} scores are missing,")
    elif run[FOUND] is None or len(rows) > count:
        return
    elif judged_digest(tuple(row[name] for name in _VERDICT) for row in rows) != run["tocsin.run.judged"]:
        to.add(key, f"{count:,} scores differ from the recorded ones")


def _by_window(rows: pl.DataFrame) -> dict[Key, list[dict[str, Any]]]:
    found: dict[Key, list[dict[str, Any]]] = {}
    for row in rows.iter_rows(named=True):
        found.setdefault(_key(row), []).append(row)
    return found


def _key(row: Mapping[str, Any]) -> Key:
    return row[_DETECTOR], row[_START] or EPOCH, row[_END] or EPOCH
