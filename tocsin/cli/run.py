"""`tocsin run`: collectors, detectors and alerting, once or for ever."""

from __future__ import annotations

import logging
import sys
from collections import Counter
from typing import TYPE_CHECKING

import click

from tocsin.cli.context import config_path, open_app
from tocsin.cli.output import Exit, fail_on_option, progress
from tocsin.contract.findings import Outcome, Severity

if TYPE_CHECKING:
    from tocsin.worker.app import App


@click.command()
@click.option("--once", is_flag=True, help="One round, then end: for cron and for tests.")
@fail_on_option
@click.pass_context
def run(ctx: click.Context, once: bool, fail_on: str | None) -> None:
    """Collect, detect and alert, at the intervals of the configuration, until stopped."""
    if fail_on and not once:
        raise click.UsageError("--fail-on goes with --once")
    app = open_app(ctx)
    if not once:
        _serve(ctx, app)
        return
    with progress("running") as at:
        tick = app.tick(at)
    worst = [f.severity for r in tick.runs for f in r.findings]
    outcomes = Counter(r.outcome for r in tick.runs)
    notified, failed, retried = (
        (tick.alerts.notified, tick.alerts.failed, tick.alerts.retried) if tick.alerts else (0, 0, 0)
    )
    spooled = f", {tick.counts.spooled:,} in the spool" if tick.counts.spooled else ""
    click.echo(
        f"{tick.counts.accepted:,} events accepted, {tick.counts.rejected:,} rejected{spooled}; "
        f"{sum(r.done for r in tick.runs):,} windows evaluated, {outcomes[Outcome.SKIPPED]:,} skipped, "
        f"{outcomes[Outcome.FAILED]:,} failed; {len(worst):,} findings; "
        f"{notified:,} notifications sent"
    )
    if tick.alerts is None:
        click.echo("alerting was left to another worker, which is at it", err=True)
    if failed + retried:
        click.echo(
            f"{failed:,} notifications refused for good, {retried:,} receivers to be tried again; "
            "see why with: tocsin events alert_history",
            err=True,
        )
    if fail_on and any(s.rank >= Severity(fail_on).rank for s in worst):
        ctx.exit(Exit.FOUND)
    if tick.away or outcomes[Outcome.FAILED] or failed + retried:
        ctx.exit(Exit.FAILED)


def _serve(ctx: click.Context, app: App) -> None:
    from tocsin import logs
    from tocsin.worker.service import Service

    logs.configure(level=logging.INFO, as_json=not sys.stderr.isatty())
    Service(config_path(ctx), app).run()


COMMANDS = (run,)
