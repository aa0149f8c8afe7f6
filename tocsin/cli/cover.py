"""`tocsin runs`, `coverage` and `health`: which windows were evaluated, and the state of Tocsin itself."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from tocsin.cli.context import open_app
from tocsin.cli.output import Exit, from_option, in_order, json_option, print_text, show, to_option
from tocsin.cli.tables import Column
from tocsin.clock import format_time
from tocsin.contract.findings import Outcome
from tocsin.contract.streams import INGESTED, UNMAPPED
from tocsin.words import count

if TYPE_CHECKING:
    from tocsin.contract.query import Condition
    from tocsin.store.protocol import Store

_RUN = (
    Column("outcome"),
    Column("detector"),
    Column("window.start", "window", time=True),
    Column("rows", right=True),
    Column("scores", right=True),
    Column("findings", right=True),
    Column("seconds", right=True),
    Column("attempt", right=True, minor=True, usual="1"),
    Column("searched", "searched from", time=True, spare=True),
    Column("reason", sentence=True),
)
_SPAN = (
    Column("outcome"),
    Column("detector"),
    Column("start", time=True),
    Column("end", time=True),
    Column("windows", right=True),
    Column("rows", right=True),
    Column("searched", "searched from", time=True, spare=True),
    Column("reason", sentence=True),
)
_HEALTH = (Column("state"), Column("subject.type subject.id", "subject"), Column("reason", sentence=True))
#: The time that `coverage` shows without --from.
_RECENT = timedelta(days=7)


@click.command()
@click.option("--detector", help="Only this detector.")
@click.option(
    "--outcome", type=click.Choice([o.value for o in Outcome]), help="Only attempts that had this outcome."
)
@from_option
@to_option
@click.option("--early", is_flag=True, help="Show the evaluations of windows that had not ended as well.")
@click.option(
    "--traceback", is_flag=True, help="Print the traceback of each attempt in which a plug-in failed."
)
@json_option
@click.pass_context
def runs(
    ctx: click.Context,
    detector: str | None,
    outcome: str | None,
    start: datetime | None,
    end: datetime | None,
    early: bool,
    traceback: bool,
    as_json: bool,
) -> None:
    """Show every attempt to evaluate a window: its outcome, the number of events, scores and findings, and the reason.

    Evaluations of windows that had not ended are only counted, unless --early or --outcome early is set.
    """
    from tocsin.contract.query import Condition

    in_order(start, end)
    app = open_app(ctx)
    where = [Condition("tocsin.window.end", ">", start)] if start else []
    where += [Condition("tocsin.window.start", "<", end)] if end else []
    where += [Condition("tocsin.detector.id", "==", detector)] if detector else []
    where += [Condition("event.action", "==", outcome)] if outcome else []
    hidden = 0 if early or outcome else _early(app.store, where)
    where += [] if early or outcome else [Condition("event.action", "!=", Outcome.EARLY.value)]
    found = (
        app.store.scan("run", where=where)
        .collect()
        .sort("tocsin.window.start", INGESTED, maintain_order=True)
    )
    rows = [run_row(row) for row in found.iter_rows(named=True)]
    show(rows, _RUN, as_json=as_json, empty="no such attempt is recorded")
    if hidden and not as_json:
        print_text(f"and {count(hidden, 'early evaluation')}: tocsin runs --early", err=True)
    for row in rows:
        if traceback and row["traceback"] and not as_json:
            print_text(f"\n{row['detector']}, window {format_time(row['window.start'])}:\n{row['traceback']}")


def _early(store: Store, where: Sequence[Condition]) -> int:
    """How many early evaluations match."""
    from tocsin.contract.query import COUNT, Condition

    early = [*where, Condition("event.action", "==", Outcome.EARLY.value)]
    return int(store.summarize("run", None, None, [], [COUNT], early)[COUNT.name].sum())


def run_row(row: dict[str, Any]) -> dict[str, Any]:
    """A row of the run stream with the keys of `--json`."""
    from tocsin.pipeline.detecting.records import TRACEBACK

    return {
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
        "traceback": json.loads(row[UNMAPPED] or "{}").get(TRACEBACK, ""),
    }


@click.command()
@click.option("--detector", "detectors", multiple=True, help="Only this detector (may be repeated).")
@from_option
@to_option
@click.option("--fail-on-gap", is_flag=True, help="Exit 3 if any window is a gap.")
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
    """Show which windows each detector evaluated, and which windows it did not evaluate.

    If no alert fires, the list shows whether the detectors found nothing or evaluated nothing.

    \b
    evaluated  the window was evaluated in time
    late       the window was evaluated again after more events arrived
    filled     the window was evaluated after a gap, or by a backfill
    skipped    the window cannot be compared with a baseline, or some of its events have been deleted
    gap        the window has events, but was not evaluated, or its evaluation failed
    due        the window waits for its evaluation
    open       the window has not ended, or still accepts late events (setting `lateness`)
    empty      the window has no events

    Without --from, the command covers the last 7 days.
    """  # noqa: D301 — click's own mark for lines that are not wrapped
    from tocsin.pipeline.detecting.coverage import coverage as covered

    app = open_app(ctx)
    until = end or app.clock.now()
    since = start or until - _RECENT
    in_order(since, until)
    settings = [app.setting(d) for d in detectors] or app.settings
    spans = [
        span
        for setting in settings
        for span in covered(app.store, app.clock, app.detect.ledger, setting, since, until)
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
    """Show the health of plug-ins, sources, the dead-letter stream and clocks. Exit 1 if any of them is unhealthy."""
    from tocsin.pipeline.detecting.health import as_row

    app = open_app(ctx)
    scores = app.health_check.scores(app.settings, app.catalogue.failures, app.sources)
    rows = sorted(map(as_row, scores), key=lambda row: row["state"] == "ok")
    show(rows, _HEALTH, as_json=as_json, empty="there is nothing to check: no plug-in, source or event")
    if any(row["state"] != "ok" for row in rows):
        ctx.exit(Exit.FAILED)


COMMANDS = (runs, coverage, health)
