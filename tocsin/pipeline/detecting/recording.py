"""Records attempts: the revisions of their findings, and what becomes of early findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tocsin.contract.findings import WITHDRAWN, Severity
from tocsin.contract.query import Condition
from tocsin.contract.streams import (
    EARLY,
    EVALUATED,
    FENCE,
    FIRST_FOUND,
    INGESTED,
    LAST_INGEST,
    NEWEST_EVENT,
    SILENT,
)
from tocsin.pipeline.detecting.digests import content, digest
from tocsin.pipeline.detecting.records import Run, finding_row, newest_findings, run_row, score_row, write
from tocsin.store.protocol import Store


def write_runs(store: Store, runs: Sequence[Run]) -> list[tuple[str, str]]:
    """Record attempts: scores and findings first, then the run records, so a recorded run has its findings.

    Scores of early evaluations are not recorded.

    Returns:
        The detector and the outcome of each early finding that began or ended: `found`, `confirmed` or `withdrawn`.
    """
    done = [run for run in runs if run.done]
    write(store, "score", [score_row(run, j) for run in done if not run.repeats for j in run.judged])
    revised = revisions(store, [run for run in runs if run.done or run.early])
    write(store, "finding", [row for row, _ in revised])
    write(store, "run", [run_row(run) for run in runs if not run.repeats])
    outcomes = ((row["tocsin.detector.id"], _early_outcome(row, before)) for row, before in revised)
    return [(detector, outcome) for detector, outcome in outcomes if outcome]


def _early_outcome(row: Mapping[str, Any], before: Mapping[str, Any] | None) -> str:
    """What a revision means for the early finding that it is or follows; empty: nothing."""
    open_before = before is not None and before["event.action"] != WITHDRAWN
    if row["event.action"] == WITHDRAWN:
        return WITHDRAWN if row[EARLY] else ""
    if row[EARLY]:
        return "" if open_before else "found"
    return "confirmed" if before is not None and open_before and before[EARLY] else ""


def revisions(store: Store, runs: Sequence[Run]) -> list[tuple[dict[str, Any], Mapping[str, Any] | None]]:
    """A row for each finding that is new, changed, or withdrawn, and the revision before it.

    An early run withdraws nothing, and changes a finding only if its score is higher. Only the full window withdraws
    an early finding, so that a score that rises and falls leads to one notification.
    """
    if not runs:
        return []
    windows = {(run.detector, run.start, run.end): run for run in runs}
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
    rows = [finding_row(run, finding) for run in runs for finding in run.findings]
    found = {row["tocsin.finding.id"] for row in rows}
    for id, row in known.items():
        key = (row["tocsin.detector.id"], row["tocsin.window.start"], row["tocsin.window.end"])
        if key in windows and not windows[key].early and id not in found and row["event.action"] != WITHDRAWN:
            run = windows[key]
            taken = {"event.action": WITHDRAWN, "tocsin.severity": Severity.INFO.value}
            rows.append({**row, **taken, FENCE: run.fence, SILENT: run.silent or None})
    revised: list[tuple[dict[str, Any], Mapping[str, Any] | None]] = []
    for row in rows:
        before = known.get(row["tocsin.finding.id"])
        if before is None or _revises(row, before):
            last = None if before is None else before["event.id"]
            first = {} if before is None else _first(before)
            id = digest(row["tocsin.finding.id"], content(row), last)
            revised.append(({**row, **first, "event.id": id}, before))
    return revised


def _first(before: Mapping[str, Any]) -> dict[str, Any]:
    """The times of a finding's first revision, from a later one. A withdrawn or silent finding is found anew."""
    if before["event.action"] == WITHDRAWN or before[SILENT]:
        return {}
    kept = {name: before[name] for name in (NEWEST_EVENT, LAST_INGEST, EVALUATED)}
    return {**kept, FIRST_FOUND: before[FIRST_FOUND] or before[INGESTED]}


def _revises(row: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    """Whether a finding's row is a new revision of the row before it."""
    if row["event.action"] == WITHDRAWN:
        return True
    if row[EARLY]:
        loud = before[SILENT] and not row[SILENT]
        return bool(
            before["event.action"] == WITHDRAWN or loud or row["tocsin.score"] > before["tocsin.score"]
        )
    return content(before) != content(row) or bool(before[EARLY] or (before[SILENT] and not row[SILENT]))
