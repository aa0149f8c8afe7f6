"""`tocsin store`: what a cluster has of Tocsin's index templates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tocsin.cli.main import config_path
from tocsin.cli.output import Exit, json_option, show

if TYPE_CHECKING:
    from tocsin.store.elastic import ElasticStore


@click.group()
def store() -> None:
    """The store on a cluster: its index templates."""


@store.command()
@json_option
@click.pass_context
def status(ctx: click.Context, as_json: bool) -> None:
    """Say of each template whether it is current, missing, older, newer or changed; exit 1 if one is not current."""
    found = _cluster(ctx).status()
    rows = [{"template": name, "status": state} for name, state in found.items()]
    show(rows, ("template", "status"), as_json=as_json, empty="no stream")
    if set(found.values()) != {"current"}:
        ctx.exit(Exit.FAILED)


@store.command()
@json_option
@click.pass_context
def setup(ctx: click.Context, as_json: bool) -> None:
    """Put every template that is not current; doing it again changes nothing, and no event is touched."""
    before = _cluster(ctx).setup()
    rows = [{"template": name, "was": state} for name, state in before.items() if state != "current"]
    show(rows, ("template", "was"), as_json=as_json, empty="every template was current")


@store.command()
@json_option
@click.pass_context
def diff(ctx: click.Context, as_json: bool) -> None:
    """Show what `store setup` would change in each template that is not current; exit 1 if there is any."""
    found = _cluster(ctx).differences()
    if as_json:
        show([{"template": name, "diff": text} for name, text in found.items()], (), as_json=True, empty="")
    elif found:
        click.echo("\n\n".join(found.values()))
    else:
        click.echo("every template is current")
    if found:
        ctx.exit(Exit.FAILED)


def _cluster(ctx: click.Context) -> ElasticStore:
    from tocsin import assembly
    from tocsin.clock import SystemClock
    from tocsin.config import load

    found = assembly.cluster(load(config_path(ctx)), SystemClock(), prepare=False)
    ctx.call_on_close(found.close)
    return found


COMMANDS = (store,)
