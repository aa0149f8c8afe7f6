"""The rows that detection writes: scores, revisions of findings, and a record of each attempt.

Every id is derived from the content, so writing the same row again has no effect.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec
import polars as pl

from tocsin.contract.evaluation import Judgement
from tocsin.contract.findings import DONE, WITHDRAWN, Finding, Outcome
from tocsin.contract.frames import NEWEST_LAST, conform
from tocsin.contract.query import Condition
from tocsin.contract.streams import (
    ASPECT,
    EARLY,
    EVALUATED,
    FENCE,
    FOUND,
    ID,
    INGESTED,
    LAST_INGEST,
    NEWEST_EVENT,
    SILENT,
    STREAMS,
    TIME,
    UNMAPPED,
)
from tocsin.pipeline.detecting.digests import digest, found_digest, judged_digest
from tocsin.store.protocol import Store

TRACEBACK = "error.stack_trace"  # ECS's name, in a run's `tocsin.unmapped`


@dataclass(frozen=True, slots=True)
class Run:
    """One attempt of one detector on one window."""

    detector: str
    start: datetime
    end: datetime
    outcome: Outcome
    reason: str = ""
    rows: int = 0
    judged: tuple[Judgement, ...] = ()
    baseline: str = ""
    seconds: float = 0.0
    attempt: int = 1
    fault: str = ""  # of a failed run: raised, output, baseline, store, hang, memory, crash or import
    traceback: str = ""  # of a plug-in that raised
    searched: datetime | None = None  # the oldest event time read, including history and baseline
    fence: int = 0  # fencing token of the claim
    silent: bool = False  # a backfill that sends no notifications
    after: str = ""  # the record that it supersedes, if the window was requested by its time
    repeats: bool = False  # the newest record has the same content
    evaluated: datetime | None = None  # when the evaluation ended

    @property
    def done(self) -> bool:
        """Whether the run evaluated its window, so that its scores and findings are valid."""
        return self.outcome in DONE

    @property
    def early(self) -> bool:
        """Whether the run evaluated a window that had not ended."""
        return self.outcome is Outcome.EARLY

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The findings among the judgements."""
        return tuple(j.finding for j in self.judged if j.finding is not None)


_SHORT = (INGESTED, FENCE, "event.action", "tocsin.finding.id", "tocsin.detector.id", "tocsin.window.start",
          "tocsin.window.end", "tocsin.subject.type", "tocsin.subject.id", "tocsin.severity", ASPECT,
          NEWEST_EVENT)  # fmt: skip


def newest_findings(
    store: Store, where: Sequence[Condition] = (), *, withdrawn: bool = False, short: bool = False
) -> pl.DataFrame:
    """The newest revision of every finding, by window; without withdrawn findings unless `withdrawn` is set.

    `short` reads only the columns for detector, window, subject, severity and newest event: for counting many findings.
    """
    rows = store.scan("finding", columns=_SHORT if short else None, where=where).collect().sort(NEWEST_LAST)
    newest = rows.unique("tocsin.finding.id", keep="last", maintain_order=True)
    if not withdrawn:
        newest = newest.filter(pl.col("event.action").ne_missing(WITHDRAWN))
    return newest.sort("tocsin.window.end", "tocsin.detector.id", "tocsin.subject.id")


def _key(run: Run) -> dict[str, Any]:
    return {
        TIME: (run.early and run.evaluated) or run.end,
        "tocsin.detector.id": run.detector,
        "tocsin.window.start": run.start,
        "tocsin.window.end": run.end,
    }


class Before(NamedTuple):
    """The outcome of the newest evaluation of a window, and the number of events it read."""

    outcome: Outcome
    rows: int


def evaluated_before(
    store: Store, detector: str, starts: Sequence[datetime], length: timedelta
) -> dict[datetime, Before]:
    """Which of a detector's windows of a length were evaluated before."""
    if not starts:
        return {}
    columns = ["event.action", "tocsin.run.rows"]
    done = [Condition("event.action", "in", [o.value for o in DONE])]
    found = newest_runs(store, detector, min(starts), max(starts) + length, length, columns, done)
    return {start: Before(Outcome(action), count or 0) for start, action, count in found.iter_rows()}


def newest_runs(
    store: Store,
    detector: str,
    start: datetime,
    end: datetime,
    length: timedelta | None,
    columns: Sequence[str],
    where: Sequence[Condition] = (),
) -> pl.DataFrame:
    """The newest record of each window of a length (None: of any) that begins in `[start, end)`, without early ones.

    Returns:
        The start of each window, and these columns.
    """
    first, last = "tocsin.window.start", "tocsin.window.end"
    own = [
        Condition("tocsin.detector.id", "==", detector),
        Condition(first, ">=", start),
        Condition(first, "<", end),
    ]
    own.append(Condition("event.action", "!=", Outcome.EARLY.value))
    wanted = [*dict.fromkeys([first, last, *columns, FENCE, INGESTED])]
    rows = store.scan("run", columns=wanted, where=[*own, *where]).collect().sort(NEWEST_LAST)
    if length is not None:
        rows = rows.filter(pl.col(last) - pl.col(first) == length)
    return rows.unique([first, last], keep="last", maintain_order=True).select(first, *columns)


def write(store: Store, stream: str, rows: list[dict[str, Any]]) -> None:
    """Append rows of one of Tocsin's own streams."""
    if rows:
        frame = conform(pl.DataFrame(rows, infer_schema_length=None), stream)
        constants = [pl.lit(v, dtype=frame.schema[k]).alias(k) for k, v in STREAMS[stream].constants.items()]
        store.append(stream, frame.with_columns(constants))


def score_row(run: Run, judged: Judgement) -> dict[str, Any]:
    """A row of the score stream."""
    score = judged.score
    row = {
        **_key(run),
        "tocsin.subject.type": score.subject.type,
        "tocsin.subject.id": score.subject.id,
        "tocsin.score": float(score.value),
        "tocsin.threshold": judged.threshold,
        "event.reason": score.reason,
        "tocsin.baseline.digest": run.baseline,
    }
    more = [score.aspect] if score.aspect else []
    row["event.id"] = digest(*row.values(), *more, *_own(run))
    return {**row, ASPECT: score.aspect or None, FENCE: run.fence}


def finding_row(run: Run, finding: Finding) -> dict[str, Any]:
    """A row of the finding stream."""
    return {
        **_key(run),
        "event.action": "found",
        "tocsin.finding.id": finding.id,
        "tocsin.subject.type": finding.subject.type,
        "tocsin.subject.id": finding.subject.id,
        "tocsin.severity": finding.severity.value,
        "tocsin.score": float(finding.score),
        "tocsin.threshold": finding.threshold,
        "event.reason": finding.reason,
        "tocsin.evidence": msgspec.json.encode(finding.evidence, order="sorted").decode(),
        "tocsin.playbook.id": finding.playbook,
        "tocsin.detector.family": finding.family,
        "tocsin.baseline.digest": finding.baseline,
        "threat.technique.id": list(finding.techniques),
        ASPECT: finding.aspect or None,
        FENCE: run.fence,
        SILENT: run.silent or None,
        EARLY: run.early or None,
        NEWEST_EVENT: finding.times.newest_event,
        LAST_INGEST: finding.times.ingested,
        EVALUATED: run.evaluated,
    }


def run_row(run: Run) -> dict[str, Any]:
    """A row of the run stream."""
    row = {
        **_key(run),
        "event.action": run.outcome.value,
        "event.outcome": "failure" if run.outcome in {Outcome.FAILED, Outcome.GAP} else "success",
        "event.reason": run.reason or None,
        "error.type": run.fault or None,
        "tocsin.run.rows": run.rows,
        "tocsin.run.scores": len(run.judged),
        "tocsin.run.findings": len(run.findings),
        "tocsin.run.judged": judged_digest(
            (*j.score.subject, float(j.score.value), float(j.threshold), j.score.reason) for j in run.judged
        ),
        "tocsin.run.attempt": run.attempt,
        "tocsin.baseline.digest": run.baseline or None,
    }
    found = found_digest(finding_row(run, finding) for finding in run.findings)
    more = [found] if run.findings else []  # without findings, the id is the same as in earlier versions
    row["event.id"] = digest(*row.values(), *more, *(["silent"] if run.silent else []), *_own(run))
    row |= {FOUND: found if run.done else None, "event.duration": int(run.seconds * 1e9)}
    row |= {"tocsin.run.searched": run.searched, FENCE: run.fence}
    unmapped = msgspec.json.encode({TRACEBACK: run.traceback}).decode() if run.traceback else None
    return {**row, SILENT: run.silent or None, UNMAPPED: unmapped}


def _own(run: Run) -> list[str]:
    """Part of a row's id: distinguishes it from an older row with the same content that was superseded since."""
    return [run.after] if run.after else []


_COMPARED = ("event.action", "event.reason", "error.type", "tocsin.run.rows", "tocsin.run.scores", "tocsin.run.findings",
         "tocsin.run.judged", "tocsin.baseline.digest")  # fmt: skip


def in_force(
    store: Store, detector: str, starts: Sequence[datetime], length: timedelta
) -> dict[datetime, dict[str, Any]]:
    """The newest record of each of these windows, for `supersede`."""
    found = newest_runs(store, detector, min(starts), max(starts) + length, length, [*_COMPARED, FOUND, ID])
    return {row["tocsin.window.start"]: row for row in found.iter_rows(named=True)}


def supersede(run: Run, newest: Mapping[str, Any] | None) -> Run:
    """Mark the run as a repetition of the newest record of its window, or as superseding that record."""
    if newest is None:
        return run
    row = run_row(run)
    same_findings = newest[FOUND] in {None, row[FOUND]}  # earlier versions did not record this digest
    if same_findings and all(row[name] == newest[name] for name in _COMPARED):
        return replace(run, repeats=True)
    return replace(run, after=newest["event.id"])
