"""`tocsin runs`, `coverage` and `health`: what was looked at, what was not, and whether Tocsin itself is well."""

from __future__ import annotations

from datetime import datetime, timedelta

import click

from tocsin.cli.context import open_app
from tocsin.cli.output import Exit, from_option, in_order, json_option, show, to_option
from tocsin.contract.findings import Outcome

_RUN = (
    "window.start",
    "detector",
    "outcome",
    "rows",
    "scores",
    "findings",
    "attempt",
    "seconds",
    "searched",
    "reason",
)
_SPAN = ("detector", "start", "end", "outcome", "windows", "rows", "searched", "reason")
#: What is shown where no time is named.
_RECENT = timedelta(days=7)


@click.command()
@click.option("--detector", help="Only this detector.")
@click.option("--outcome", type=click.Choice([o.value for o in Outcome]), help="Only attempts that ended so.")
@from_option
@to_option
@json_option
@click.pass_context
def runs(
    ctx: click.Context,
    detector: str | None,
    outcome: str | None,
    start: datetime | None,
    end: datetime | None,
    as_json: bool,
) -> None:
    """Show every attempt of every detector: when, on what, how it ended and why."""
    from tocsin.contract.query import Condition
    from tocsin.contract.streams import INGESTED

    in_order(start, end)
    app = open_app(ctx)
    where = [Condition("tocsin.window.end", ">", start)] if start else []
    where += [Condition("tocsin.window.start", "<", end)] if end else []
    where += [Condition("tocsin.detector.id", "==", detector)] if detector else []
    where += [Condition("event.action", "==", outcome)] if outcome else []
    found = app.store.scan("run", where=where).collect().sort("tocsin.window.start", INGESTED)
    rows = (
        {
            "detector": row["tocsin.detector.id"],
            "window.start": row["tocsin.window.start"],
            "window.end": row["tocsin.window.end"],
            "outcome": row["event.action"],
            "rows": row["tocsin.run.rows"],
            "scores": row["tocsin.run.scores"],
            "findings": row["tocsin.run.findings"],
            "attempt": row["tocsin.run.attempt"],
            "seconds": (row["event.duration"] or 0) / 1e9,
            "searched": row["tocsin.run.searched"],
            "recorded": row[INGESTED],
            "fault": row["error.type"],
            "baseline": row["tocsin.baseline.digest"],
            "silent": row["tocsin.run.silent"] or False,
            "reason": row["event.reason"],
        }
        for row in found.iter_rows(named=True)
    )
    show(rows, _RUN, as_json=as_json, empty="no attempt is on record for that")


@click.command()
@click.option("--detector", "detectors", multiple=True, help="Only this detector (may be repeated).")
@from_option
@to_option
@click.option("--fail-on-gap", is_flag=True, help="Exit 3 if a window was missed.")
@json_option
@click.pass_context
def coverage(
    ctx: click.Context,
    detectors: tuple[str, ...],
    start: datetime | None,
    end: datetime | None,
    fail_on_gap: bool,
    as_json: bool,
) -> None:
    """Say for each detector and time whether it looked, so that "no alert" can be proved.

    \b
    evaluated  looked at in time           late   again, after more events came
    filled     looked at after a gap       gap    events came and nobody has looked
    skipped    no baseline to compare with empty  no events came
    due        to be looked at soon        open   not over yet

    Without --from the last 7 days.
    """  # noqa: D301 — click's own mark for lines that are not wrapped
    from tocsin.pipeline.detecting.coverage import coverage as look

    app = open_app(ctx)
    until = end or app.clock.now()
    since = start or until - _RECENT
    in_order(since, until)
    settings = [app.setting(d) for d in detectors] or app.settings
    spans = [
        span
        for setting in settings
        for span in look(app.store, app.clock, app.detect.ledger, setting, since, until)
    ]
    rows = [
        {
            "detector": s.detector,
            "start": s.start,
            "end": s.end,
            "outcome": s.outcome,
            "windows": s.windows,
            "rows": s.rows,
            "searched": s.searched,
            "reason": s.reason,
        }
        for s in spans
    ]
    show(rows, _SPAN, as_json=as_json, empty="no detector is turned on")
    if fail_on_gap and any(s.outcome == "gap" for s in spans):
        ctx.exit(Exit.FOUND)


@click.command()
@json_option
@click.pass_context
def health(ctx: click.Context, as_json: bool) -> None:
    """Say how Tocsin itself is: plug-ins, sources, dead letter, clocks; exit 1 if something is unhealthy."""
    from tocsin.pipeline.detecting.health import as_row

    app = open_app(ctx)
    scores = app.health_check.scores(app.settings, app.catalogue.failures, app.sources)
    rows = sorted(map(as_row, scores), key=lambda row: row["state"] == "ok")
    show(rows, ("state", "subject.type", "subject.id", "reason"), as_json=as_json, empty="nothing to look at")
    if any(row["state"] != "ok" for row in rows):
        ctx.exit(Exit.FAILED)


COMMANDS = (runs, coverage, health)
