"""`tocsin run`: collectors, detectors and alerting, once or for ever."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from tocsin.cli.main import open_app
from tocsin.cli.output import Exit, fail_on_option, progress
from tocsin.clock import parse_length
from tocsin.findings import Severity

if TYPE_CHECKING:
    from tocsin.app import App


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
        _serve(app)
        return
    with progress("running") as at:
        tick = app.tick(at)
    worst = [f.severity for r in tick.runs for f in r.findings]
    outcomes = Counter(r.outcome for r in tick.runs)
    click.echo(
        f"{tick.counts.accepted:,} events accepted, {tick.counts.rejected:,} rejected; "
        f"{outcomes['evaluated']:,} windows evaluated, {outcomes['skipped']:,} skipped, "
        f"{outcomes['failed']:,} failed; {len(worst):,} findings; "
        f"{tick.alerts.notified:,} notifications sent"
    )
    undelivered = tick.alerts.failed + tick.alerts.retried
    if undelivered:
        click.echo(
            f"{tick.alerts.failed:,} notifications refused for good, {tick.alerts.retried:,} receivers to be tried again; "
            "see why with: tocsin events alert_history",
            err=True,
        )
    if fail_on and any(s.rank >= Severity(fail_on).rank for s in worst):
        ctx.exit(Exit.FOUND)
    if tick.away or outcomes["failed"] or undelivered:
        ctx.exit(Exit.FAILED)


def _serve(app: App) -> None:
    from tocsin.schedule import serve

    log = logging.getLogger("tocsin")
    log.setLevel(logging.INFO)
    schedule = app.config.schedule

    def detect() -> None:
        for done in app.detect.run(app.settings):
            log.info("%s %s %s: %d findings", done.detector, done.start, done.outcome, len(done.findings))

    def alert() -> None:
        result = app.alerting.tick()
        if result.notified or result.failed:
            log.info("alerting: %s", result)

    def maintain() -> None:
        done = app.store.maintain()
        if any(done.values()):
            log.info("maintenance: %s", done)

    jobs: dict[str, Callable[[], object]] = {
        "collect": app.collect,
        "detect": detect,
        "alert": alert,
        "maintain": maintain,
    }
    serve({name: (parse_length(getattr(schedule, name)), job) for name, job in jobs.items()})


COMMANDS = (run,)
