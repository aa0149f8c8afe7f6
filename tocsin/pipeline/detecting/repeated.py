"""Evaluating a window again on request: a run that repeats the newest record of its window, or supersedes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from tocsin.contract.streams import FOUND, ID
from tocsin.pipeline.detecting.records import Run, newest_runs, run_row
from tocsin.store.protocol import Store

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
