"""`tocsin alerts`, `incidents` and `ack`."""

from __future__ import annotations

import click

from tocsin.cli.context import open_app
from tocsin.cli.output import clean, json_option, show

_ALERT = (
    "fingerprint",
    "state",
    "severity",
    "detector",
    "subject.id",
    "window.end",
    "acknowledged",
    "reason",
)
_INCIDENT = ("incident.id", "state", "severity", "subject.id", "playbook", "opened", "owner")


@click.command()
@click.option("--all", "everything", is_flag=True, help="The resolved ones too.")
@json_option
@click.pass_context
def alerts(ctx: click.Context, everything: bool, as_json: bool) -> None:
    """Show the alerts that are firing."""
    found = [a for a in open_app(ctx).alerting.alerts() if everything or a.firing]
    show((a.to_dict() for a in found), _ALERT, as_json=as_json, empty="no alert is firing")


@click.command()
@click.argument("incident", required=False)
@click.option("--all", "everything", is_flag=True, help="The closed ones too.")
@click.option("--done", metavar="STEP", help="This step of INCIDENT is done.")
@click.option("--skip", metavar="STEP", help="This step of INCIDENT does not apply.")
@click.option("--close", is_flag=True, help="Close INCIDENT; the note is its conclusion.")
@click.option("--by", default="", help="Who does it: your name.")
@click.option("--note", default="", help="The result, or why.")
@json_option
@click.pass_context
def incidents(
    ctx: click.Context,
    incident: str | None,
    everything: bool,
    done: str | None,
    skip: str | None,
    close: bool,
    by: str,
    note: str,
    as_json: bool,
) -> None:
    """Show the open incidents, or one INCIDENT with the steps of its playbook; tick them off, close it."""
    app = open_app(ctx)
    alerting = app.alerting
    if done or skip or close:
        if incident is None or not by:
            raise click.UsageError("--done, --skip and --close need an INCIDENT and --by NAME")
        for step, skipped in ((done, False), (skip, True)):
            if step:
                alerting.complete_step(incident, step, by, note, skipped=skipped)
                app.audit("step skipped" if skipped else "step done", incident, by, note, step=step)
        if close:
            alerting.close(incident, by, note)
            app.audit("incident close", incident, by, note)
    if incident is not None:
        found = alerting.incident(incident)
        if as_json:
            show([found.to_dict()], (), as_json=True, empty="")
        else:
            click.echo("\n".join(map(clean, found.lines())))
        return
    rows = [i.to_dict() for i in alerting.incidents() if everything or i.open]
    show(rows, _INCIDENT, as_json=as_json, empty="no incident is open")


@click.command()
@click.argument("id")
@click.option("--by", required=True, help="Who acknowledges: your name.")
@click.option("--reason", default="", help="What you know or do about it.")
@click.pass_context
def ack(ctx: click.Context, id: str, by: str, reason: str) -> None:
    """Acknowledge the alert or incident ID: no more repeats until it is resolved."""
    app = open_app(ctx)
    words = app.alerting.acknowledge(id, by, reason)
    app.audit("acknowledge", id, by, reason)
    click.echo(words)


COMMANDS = (alerts, incidents, ack)
