"""`tocsin detect`, `scores` and `findings`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from tocsin.cli.context import open_app
from tocsin.cli.delivery import sent, warnings
from tocsin.cli.output import (
    Exit,
    fail_on_option,
    from_option,
    in_order,
    json_option,
    print_text,
    progress,
    show,
    to_option,
)
from tocsin.cli.tables import Column, with_early
from tocsin.clock import format_time
from tocsin.contract.findings import Outcome, Severity
from tocsin.words import count

if TYPE_CHECKING:
    import polars as pl

    from tocsin.pipeline.detecting.records import Run
    from tocsin.worker.app import App

_SUBJECT = Column("subject.type subject.id", "subject")
_VERDICT = (
    Column("window.start", "window", time=True),
    Column("score", right=True),
    Column("threshold", right=True),
    Column("reason", sentence=True),
)
_FINDING = (Column("severity"), _SUBJECT, Column("detector"), *_VERDICT)
_SCORE = (_SUBJECT, *_VERDICT)
_RUN = (
    Column("outcome"),
    Column("detector"),
    Column("window.start", "window", time=True),
    Column("rows", right=True),
    Column("scores", right=True),
    Column("findings", right=True),
    Column("reason", sentence=True),
)


@click.command()
@click.option("--detector", "detectors", multiple=True, help="Only this detector (may be repeated).")
@from_option
@to_option
@click.option(
    "--page", is_flag=True, help="With --from or --to: raise alerts and send notifications for the findings."
)
@click.option("-v", "--verbose", is_flag=True, help="List every window, including windows without a finding.")
@fail_on_option
@json_option
@click.pass_context
def detect(
    ctx: click.Context,
    detectors: tuple[str, ...],
    start: datetime | None,
    end: datetime | None,
    page: bool,
    verbose: bool,
    fail_on: str | None,
    as_json: bool,
) -> None:
    """Evaluate every window that is due, or with --from or --to every window of that time (a backfill).

    A backfill evaluates every window that contains events, even if the window was evaluated before. Its findings are
    stored. They raise no alert and send no notification, unless --page is set. A window that has not ended is
    evaluated early.
    """
    in_order(start, end)
    backfill = start is not None or end is not None
    if page and not backfill:
        raise click.UsageError(
            "--page requires --from or --to; the findings of windows that are due always raise alerts"
        )
    app = open_app(ctx)
    settings = [app.setting(d) for d in detectors] or app.settings
    with progress("detecting") as at:

        def evaluated(run: Run) -> None:
            at.detail(f"{run.detector} {format_time(run.start)}")

        runs = (
            app.detect.run(settings, start, end, evaluated, silent=not page)
            if backfill
            else app.evaluate(settings, evaluated)
        )
    if as_json or not runs:
        show(map(_run, runs), _RUN, as_json=as_json, empty="no window is due")
    else:
        _report(runs, verbose=verbose)
    if page:
        _page(app)
    _fail(ctx, fail_on, (f.severity for run in runs for f in run.findings))
    ended = [run for run in runs if not run.early]
    if ended and all(run.outcome == "failed" for run in ended):
        ctx.exit(Exit.FAILED)


def _page(app: App) -> None:
    """Raise and deliver the alerts of a backfill. Each alert is reported as firing first, even if it is resolved already."""
    alerts = app.alert(last=True)
    print_text(sent(app, alerts), err=True)
    for line in warnings(app, alerts):
        print_text(line, err=True)


def _report(runs: Sequence[Run], *, verbose: bool) -> None:
    """Print the windows (all windows, or those that failed), the findings, and a summary."""
    ended = [run for run in runs if not run.early]
    listed = ended if verbose else [run for run in runs if run.outcome in {Outcome.FAILED, Outcome.GAP}]
    found = sorted(
        (f for run in runs for f in run.findings), key=lambda f: (-f.severity.rank, bool(f.aspect))
    )
    rows, findings = [*map(_run, listed)], [f.to_dict() for f in found]
    for shown, columns in ((rows, _RUN), (findings, with_early(_FINDING, findings))):
        if shown:
            show(shown, columns, as_json=False, empty="")
            print_text("")
    print_text("\n".join(summary(runs)))


def summary(runs: Sequence[Run]) -> Iterator[str]:
    """How many windows were evaluated, skipped and failed, the findings by severity, and why windows were skipped."""
    outcomes = Counter(run.outcome for run in runs)
    done, detectors = sum(run.done for run in runs), len({run.detector for run in runs})
    yield (
        f"{count(done, 'window')} evaluated, {outcomes[Outcome.SKIPPED]:,} skipped, "
        f"{outcomes[Outcome.FAILED]:,} failed, by {count(detectors, 'detector')}"
    )
    if outcomes[Outcome.EARLY]:
        yield f"{count(outcomes[Outcome.EARLY], 'early evaluation')} of windows that have not ended"
    yield f"findings: {by_severity(f.severity for run in runs for f in run.findings) or 'none'}"
    for outcome in (Outcome.SKIPPED, Outcome.FAILED):
        missed = [run for run in runs if run.outcome is outcome]
        for detector, number in sorted(Counter(run.detector for run in missed).items()):
            reasons = [*dict.fromkeys(run.reason for run in missed if run.detector == detector)]
            others = (
                f" ({count(len(reasons) - 1, 'other reason')}: tocsin runs --outcome {outcome})"
                if len(reasons) > 1
                else ""
            )
            last = reasons[-1].removeprefix(f"detector {detector}: ")
            yield f"{outcome}: {count(number, 'window')} of {detector}: {last}{others}"


def by_severity(severities: Iterable[Severity]) -> str:
    """`1 critical, 2 low`; empty for none."""
    counts = Counter(severities)
    return ", ".join(f"{counts[s]:,} {s.value}" for s in reversed(Severity) if counts[s])


@click.command()
@click.option("--detector", required=True, help="Id of the detector.")
@from_option
@to_option
@json_option
@click.pass_context
def scores(
    ctx: click.Context, detector: str, start: datetime | None, end: datetime | None, as_json: bool
) -> None:
    """Show the score of every subject in every window, including scores below the threshold."""
    from tocsin.contract.frames import NEWEST_LAST
    from tocsin.contract.query import Condition

    in_order(start, end)
    app = open_app(ctx)
    rows = app.store.scan("score", where=[Condition("tocsin.detector.id", "==", detector)])
    frame = _in_time(rows.collect(), start, end).sort(NEWEST_LAST, maintain_order=True)
    key = ["tocsin.window.start", "tocsin.window.end", "tocsin.subject.type", "tocsin.subject.id"]
    newest = frame.unique(key, keep="last", maintain_order=True).sort(key)
    if newest.is_empty():
        app.setting(detector)  # an unknown id is an error, not an empty list
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
        empty=f"detector {detector} has no scores{' in that time' if start or end else ' yet'}",
    )


@click.command()
@click.option("--detector", help="Only this detector.")
@click.option(
    "--severity",
    type=click.Choice([s.value for s in Severity]),
    help="Only findings of this severity or a higher one.",
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
    """Show the findings, sorted by the time of their windows."""
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
    show(rows, with_early(_FINDING, rows), as_json=as_json, empty="no findings")
    _fail(ctx, fail_on, (Severity(row["severity"]) for row in rows))


def finding_row(row: dict[str, Any]) -> dict[str, Any]:
    """A row of the finding stream with the keys of `--json`."""
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
        "aspect": row["tocsin.aspect"],
        "early": row["tocsin.run.early"] or False,
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


def _fail(ctx: click.Context, fail_on: str | None, severities: Iterable[Severity]) -> None:
    if fail_on is not None and any(s.rank >= Severity(fail_on).rank for s in severities):
        ctx.exit(Exit.FOUND)


COMMANDS = (detect, scores, findings)
