"""What detection writes down: scores, revisions of findings, and a record of each attempt.

Every id follows from the content, so that writing the same again adds nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import polars as pl

from tocsin.evaluation import Judgement
from tocsin.findings import WITHDRAWN, Finding, Severity
from tocsin.query import Condition
from tocsin.store.protocol import Store
from tocsin.streams import INGESTED, TIME


@dataclass(frozen=True, slots=True)
class Run:
    """One attempt of one detector on one window."""

    detector: str
    start: datetime
    end: datetime
    outcome: str  # evaluated, skipped or failed
    reason: str = ""
    rows: int = 0
    judged: tuple[Judgement, ...] = ()
    baseline: str = ""
    seconds: float = 0.0
    attempt: int = 1

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The findings among what was judged."""
        return tuple(j.finding for j in self.judged if j.finding is not None)


def revisions(store: Store, runs: Sequence[Run]) -> list[dict[str, Any]]:
    """A row for each finding that is new or changed, and for each that late data took back."""
    if not runs:
        return []
    windows = {(run.detector, run.start, run.end) for run in runs}
    known = {
        row["tocsin.finding.id"]: row
        for row in newest_findings(
            store,
            [
                Condition("tocsin.detector.id", "in", sorted({run.detector for run in runs})),
                Condition("tocsin.window.start", ">=", min(run.start for run in runs)),
                Condition("tocsin.window.end", "<=", max(run.end for run in runs)),
            ],
            withdrawn=True,
        ).to_dicts()
    }
    rows = [_finding_row(run, finding) for run in runs for finding in run.findings]
    found = {row["tocsin.finding.id"] for row in rows}
    for id, row in known.items():
        key = (row["tocsin.detector.id"], row["tocsin.window.start"], row["tocsin.window.end"])
        if key in windows and id not in found and row["event.action"] != WITHDRAWN:
            rows.append({**row, "event.action": WITHDRAWN, "tocsin.severity": Severity.INFO.value})
    revised = []
    for row in rows:
        before = known.get(row["tocsin.finding.id"])
        if before is None or _content(before) != _content(row):
            last = None if before is None else before["event.id"]
            revised.append({**row, "event.id": _digest(row["tocsin.finding.id"], _content(row), last)})
    return revised


def newest_findings(
    store: Store, where: Sequence[Condition] = (), *, withdrawn: bool = False
) -> pl.DataFrame:
    """The newest revision of every finding, by window; without those that late data took back."""
    rows = store.scan("finding", where=where).collect().sort(INGESTED, maintain_order=True)
    newest = rows.unique("tocsin.finding.id", keep="last", maintain_order=True)
    if not withdrawn:
        newest = newest.filter(pl.col("event.action").ne_missing(WITHDRAWN))
    return newest.sort("tocsin.window.end", "tocsin.detector.id", "tocsin.subject.id")


def _key(run: Run) -> dict[str, Any]:
    return {
        TIME: run.end,
        "tocsin.detector.id": run.detector,
        "tocsin.window.start": run.start,
        "tocsin.window.end": run.end,
    }


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
    row["event.id"] = _digest(*row.values())
    return row


def _finding_row(run: Run, finding: Finding) -> dict[str, Any]:
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
        "tocsin.baseline.digest": finding.baseline,
        "threat.technique.id": list(finding.techniques),
    }


def run_row(run: Run) -> dict[str, Any]:
    """A row of the run stream."""
    row = {
        **_key(run),
        "event.action": run.outcome,
        "event.outcome": "failure" if run.outcome == "failed" else "success",
        "event.reason": run.reason or None,
        "tocsin.run.rows": run.rows,
        "tocsin.run.scores": len(run.judged),
        "tocsin.run.findings": len(run.findings),
        "tocsin.run.attempt": run.attempt,
        "tocsin.baseline.digest": run.baseline or None,
    }
    row["event.id"] = _digest(*row.values())
    return {**row, "event.duration": int(run.seconds * 1e9)}


_CONTENT = (
    "event.action",
    "tocsin.severity",
    "tocsin.score",
    "tocsin.threshold",
    "event.reason",
    "tocsin.evidence",
)


def _content(row: dict[str, Any]) -> list[Any]:
    return [row[name] for name in _CONTENT]


def _digest(*parts: Any) -> str:
    return hashlib.sha256(msgspec.json.encode(parts, enc_hook=str)).hexdigest()[:32]
