"""`tocsin run`: collectors, detectors and alerting, once or until stopped."""

from __future__ import annotations

import logging
import sys
from collections import Counter
from typing import TYPE_CHECKING

import click

from tocsin.cli.context import config_path, open_app
from tocsin.cli.delivery import sent, warnings
from tocsin.cli.detect import by_severity
from tocsin.cli.output import Exit, fail_on_option, print_text, progress
from tocsin.cli.tables import short_time
from tocsin.contract.findings import Outcome, Severity
from tocsin.words import count

if TYPE_CHECKING:
    from tocsin.pipeline.detecting.records import Run
    from tocsin.worker.app import App, Tick


@click.command()
@click.option("--once", is_flag=True, help="Run one round and exit: for cron jobs and tests.")
@fail_on_option
@click.pass_context
def run(ctx: click.Context, once: bool, fail_on: str | None) -> None:
    """Collect, detect and alert at the configured intervals until stopped."""
    if fail_on and not once:
        raise click.UsageError("--fail-on requires --once")
    app = open_app(ctx)
    if not once:
        _serve(ctx, app)
        return
    with progress("running", plain=True) as at:
        tick = app.tick(at.step, lambda run: at.detail(_line(run)))
    print_text(summary(app, tick))
    for line in warnings(app, tick.alerts):
        print_text(line, err=True)
    if fail_on and any(f.severity.rank >= Severity(fail_on).rank for r in tick.runs for f in r.findings):
        ctx.exit(Exit.FOUND)
    missed = tick.alerts is not None and tick.alerts.failed + tick.alerts.retried
    if tick.away or missed or any(r.outcome is Outcome.FAILED for r in tick.runs):
        ctx.exit(Exit.FAILED)


def summary(app: App, tick: Tick) -> str:
    """What one round did, as one line."""
    outcomes = Counter(r.outcome for r in tick.runs)
    found = [f.severity for r in tick.runs for f in r.findings]
    spooled = f", {tick.counts.spooled:,} in the spool" if tick.counts.spooled else ""
    early = f", {outcomes[Outcome.EARLY]:,} evaluated early" if outcomes[Outcome.EARLY] else ""
    severities = f" ({by_severity(found)})" if found else ""
    return (
        f"{count(tick.counts.accepted, 'event')} accepted, {tick.counts.rejected:,} rejected{spooled}; "
        f"{count(sum(r.done for r in tick.runs), 'window')} evaluated, {outcomes[Outcome.SKIPPED]:,} skipped, "
        f"{outcomes[Outcome.FAILED]:,} failed{early}; {count(len(found), 'finding')}{severities}; "
        f"{sent(app, tick.alerts)}"
    )


def _line(run: Run) -> str:
    worst = max((f.severity for f in run.findings), key=lambda s: s.rank, default=None)
    return f"{run.detector} {short_time(run.start)} {run.outcome}{f', {worst}' if worst else ''}"


def _serve(ctx: click.Context, app: App) -> None:
    from tocsin import logs
    from tocsin.worker.service import Service

    app.config.at(
        ("alerting",), app.alerting.check
    )  # an error is reported at the start, not by every alert job
    logs.configure(level=logging.INFO, as_json=not sys.stderr.isatty())
    Service(config_path(ctx), app).run()


COMMANDS = (run,)
