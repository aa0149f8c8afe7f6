"""`tocsin alerts`, `incidents` and `ack`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from tocsin.cli.context import open_app
from tocsin.cli.output import json_option, print_lines, print_text, show
from tocsin.cli.tables import Column, with_early, wrap
from tocsin.cli.values import clean

if TYPE_CHECKING:
    from rich.text import Text

    from tocsin.contract.incidents import Incident

_ALERT = (
    Column("severity"),
    Column("fingerprint", "alert"),
    Column("subject.type subject.id", "subject"),
    Column("detector"),
    Column("started", "since", time=True),
    Column("state", minor=True, usual="firing"),
    Column("incident", minor=True),
    Column("acknowledged", "acknowledged by", minor=True),
    Column("reason", sentence=True),
)
_INCIDENT = (
    Column("severity"),
    Column("incident"),
    Column("subject.type subject.id", "subject"),
    Column("state"),
    Column("opened", time=True),
    Column("playbook", minor=True),
    Column("progress", "steps finished", minor=True),
    Column("owner", minor=True),
    Column("next", "next step", sentence=True, lead="next step: "),
)


@click.command()
@click.argument("id", required=False)
@click.option("--all", "everything", is_flag=True, help="Show resolved alerts as well.")
@json_option
@click.pass_context
def alerts(ctx: click.Context, id: str | None, everything: bool, as_json: bool) -> None:
    """Show the firing alerts, or everything about the one alert ID.

    ID is the fingerprint or the id of an alert, or an unambiguous prefix of one of them.
    """
    app = open_app(ctx)
    if id is not None:
        from tocsin.cli import alert_page

        page = alert_page.find(app, id)
        if as_json:
            show([page.to_dict()], (), as_json=True, empty="")
        else:
            print_lines(page.lines)
        return
    rows = [a.to_dict() for a in app.alerting.alerts() if everything or a.firing]
    show(rows, with_early(_ALERT, rows), as_json=as_json, empty="no alert is firing")


@click.command()
@click.argument("incident", required=False)
@click.option("--all", "everything", is_flag=True, help="Show closed incidents as well.")
@click.option("--done", metavar="STEP", help="Mark this step of INCIDENT as done.")
@click.option("--skip", metavar="STEP", help="Mark this step of INCIDENT as skipped.")
@click.option("--close", is_flag=True, help="Close INCIDENT. Requires --note with the conclusion.")
@click.option("--by", default="", help="Your name. Required with --done, --skip and --close.")
@click.option("--note", default="", help="The result of the step, the reason to skip it, or the conclusion.")
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
    """Show the open incidents, or one INCIDENT with the steps of its playbook. Record steps, or close INCIDENT."""
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
            print_lines(lambda width: _page(found, width))
        return
    chosen = [i for i in alerting.incidents() if everything or i.open]
    rows = (i.to_dict() if as_json else _row(i) for i in chosen)
    show(rows, _INCIDENT, as_json=as_json, empty="no incident is open")


def _row(incident: Incident) -> dict[str, Any]:
    """The incident with two fields for the table: the number of finished steps, and the first pending step."""
    from tocsin.contract.incidents import StepState

    pending = [step for step in incident.steps if step.state is StepState.PENDING]
    step = f"{pending[0].name} ({pending[0].id})" if pending and incident.open else ""
    finished = f"{len(incident.steps) - len(pending)} of {len(incident.steps)}"
    return {**incident.to_dict(), "owner": incident.owner or "nobody", "progress": finished, "next": step}


def _page(incident: Incident, width: int | None) -> Iterator[Text]:
    """The incident's lines, wrapped to the width of the terminal. Commands stay on one line, so that they can be pasted."""
    from rich.text import Text

    for line in map(clean, incident.lines()):
        written = line.lstrip()
        indent = " " * (len(line) - len(written))
        is_command = written[:1].islower() and not written.startswith("opened ")
        parts = [written] if width is None or is_command else wrap(written, width - len(indent))
        yield from (Text(indent + part) for part in parts)


@click.command()
@click.argument("id")
@click.option("--by", required=True, help="Your name.")
@click.option("--reason", default="", help="The cause, or the action that you take.")
@click.pass_context
def ack(ctx: click.Context, id: str, by: str, reason: str) -> None:
    """Acknowledge the alert ID, or the incident ID with all its firing alerts.

    Tocsin sends no repeat notification for an acknowledged alert. The acknowledgement ends when the alert is resolved.
    ID may be an unambiguous prefix.
    """
    app = open_app(ctx)
    done = app.alerting.acknowledge(id, by, reason)
    app.audit("acknowledge", id, by, reason)
    print_text(done)


COMMANDS = (alerts, incidents, ack)
