"""`tocsin detect`, `scores` and `findings`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from tocsin.cli.context import open_app
from tocsin.cli.output import (
    Exit,
    fail_on_option,
    from_option,
    in_order,
    json_option,
    progress,
    show,
    to_option,
)
from tocsin.clock import format_time
from tocsin.contract.findings import Severity

if TYPE_CHECKING:
    import polars as pl

    from tocsin.pipeline.detecting.records import Run

_FINDING = (
    "window.start",
    "detector",
    "subject.type",
    "subject.id",
    "severity",
    "score",
    "threshold",
    "reason",
)
_SCORE = ("window.start", "window.end", "subject.type", "subject.id", "score", "threshold", "reason")
_RUN = ("detector", "window.start", "window.end", "outcome", "rows", "scores", "findings", "reason")


@click.command()
@click.option("--detector", "detectors", multiple=True, help="Only this detector (may be repeated).")
@from_option
@to_option
@click.option("--page", is_flag=True, help="Let a backfill (--from, --to) raise alerts and page people.")
@fail_on_option
@json_option
@click.pass_context
def detect(
    ctx: click.Context,
    detectors: tuple[str, ...],
    start: datetime | None,
    end: datetime | None,
    page: bool,
    fail_on: str | None,
    as_json: bool,
) -> None:
    """Evaluate every window that is due; with --from or --to every window of that time again.

    What such a backfill finds is written down, and pages nobody unless --page says so.
    """
    in_order(start, end)
    backfill = start is not None or end is not None
    if page and not backfill:
        raise click.UsageError("--page goes with --from or --to: what is due pages people anyway")
    app = open_app(ctx)
    settings = [app.setting(d) for d in detectors] or app.settings
    with progress("detecting") as at:

        def tell(run: Run) -> None:
            at(f"{run.detector} {format_time(run.start)}")

        runs = (
            app.detect.run(settings, start, end, tell, silent=not page)
            if backfill
            else app.evaluate(settings, tell)
        )
    show(map(_run, runs), _RUN, as_json=as_json, empty="nothing is due")
    _fail(ctx, fail_on, (f.severity for run in runs for f in run.findings))
    if runs and all(run.outcome == "failed" for run in runs):
        ctx.exit(Exit.FAILED)


@click.command()
@click.option("--detector", required=True, help="The detector.")
@from_option
@to_option
@json_option
@click.pass_context
def scores(
    ctx: click.Context, detector: str, start: datetime | None, end: datetime | None, as_json: bool
) -> None:
    """Show every subject's score in every window, below the threshold too."""
    from tocsin.contract.frames import NEWEST_LAST
    from tocsin.contract.query import Condition

    in_order(start, end)
    app = open_app(ctx)
    rows = app.store.scan("score", where=[Condition("tocsin.detector.id", "==", detector)])
    frame = _in_time(rows.collect(), start, end).sort(NEWEST_LAST, maintain_order=True)
    key = ["tocsin.window.start", "tocsin.window.end", "tocsin.subject.type", "tocsin.subject.id"]
    newest = frame.unique(key, keep="last", maintain_order=True).sort(key)
    if newest.is_empty():
        app.setting(detector)  # an id that nobody knows is a mistake, not a quiet detector
    show(
        (
            {
                "detector": detector,
                "subject.type": row["tocsin.subject.type"],
                "subject.id": row["tocsin.subject.id"],
                "window.start": row["tocsin.window.start"],
                "window.end": row["tocsin.window.end"],
                "score": row["tocsin.score"],
                "threshold": row["tocsin.threshold"],
                "reason": row["event.reason"],
            }
            for row in newest.iter_rows(named=True)
        ),
        _SCORE,
        as_json=as_json,
        empty=f"detector {detector} has judged nothing{' in that time' if start or end else ' yet'}",
    )


@click.command()
@click.option("--detector", help="Only this detector.")
@click.option(
    "--severity", type=click.Choice([s.value for s in Severity]), help="Only this severity or worse."
)
@from_option
@to_option
@fail_on_option
@json_option
@click.pass_context
def findings(
    ctx: click.Context,
    detector: str | None,
    severity: str | None,
    start: datetime | None,
    end: datetime | None,
    fail_on: str | None,
    as_json: bool,
) -> None:
    """Show the findings, by window."""
    from tocsin.contract.query import Condition
    from tocsin.pipeline.detecting.records import newest_findings

    in_order(start, end)
    app = open_app(ctx)
    where = [Condition("tocsin.detector.id", "==", detector)] if detector else []
    found = newest_findings(app.store, where)
    if detector and found.is_empty():
        app.setting(detector)
    frame = _in_time(found, start, end)
    rows = [
        row
        for row in map(finding_row, frame.iter_rows(named=True))
        if severity is None or Severity(row["severity"]).rank >= Severity(severity).rank
    ]
    show(rows, _FINDING, as_json=as_json, empty="no findings")
    _fail(ctx, fail_on, (Severity(row["severity"]) for row in rows))


def finding_row(row: dict[str, Any]) -> dict[str, Any]:
    """A row of the finding stream in the words of `--json`."""
    return {
        "finding.id": row["tocsin.finding.id"],
        "detector": row["tocsin.detector.id"],
        "subject.type": row["tocsin.subject.type"],
        "subject.id": row["tocsin.subject.id"],
        "severity": row["tocsin.severity"],
        "score": row["tocsin.score"],
        "threshold": row["tocsin.threshold"],
        "window.start": row["tocsin.window.start"],
        "window.end": row["tocsin.window.end"],
        "techniques": row["threat.technique.id"],
        "reason": row["event.reason"],
        "evidence": json.loads(row["tocsin.evidence"] or "{}"),
        "playbook": row["tocsin.playbook.id"],
        "baseline": row["tocsin.baseline.digest"],
    }


def _run(run: Run) -> dict[str, Any]:
    return {
        "detector": run.detector,
        "window.start": run.start,
        "window.end": run.end,
        "outcome": run.outcome,
        "rows": run.rows,
        "scores": len(run.judged),
        "findings": len(run.findings),
        "reason": run.reason,
    }


def _in_time(frame: pl.DataFrame, start: datetime | None, end: datetime | None) -> pl.DataFrame:
    import polars as pl

    if start is not None:
        frame = frame.filter(pl.col("tocsin.window.end") > start)
    if end is not None:
        frame = frame.filter(pl.col("tocsin.window.start") < end)
    return frame


def _fail(
    ctx: click.Context, fail_on: str | None, severities: Iterable[Severity] | Iterator[Severity]
) -> None:
    if fail_on is not None and any(s.rank >= Severity(fail_on).rank for s in severities):
        ctx.exit(Exit.FOUND)


COMMANDS = (detect, scores, findings)
