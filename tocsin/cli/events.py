"""`tocsin events`: what a stream holds."""

from __future__ import annotations

from datetime import datetime

import click

from tocsin.cli.context import open_app
from tocsin.cli.output import from_option, in_order, json_option, show, to_option
from tocsin.contract.streams import ID, INGESTED, STREAMS, TIME

_DULL = {ID, INGESTED, "event.kind", "event.category", "event.type", "tocsin.source.id"}


@click.command()
@click.argument("stream", type=click.Choice(list(STREAMS)))
@from_option
@to_option
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=100,
    show_default=True,
    help="The newest so many; 0 for all.",
)
@json_option
@click.pass_context
def events(
    ctx: click.Context, stream: str, start: datetime | None, end: datetime | None, limit: int, as_json: bool
) -> None:
    """Show the events of a STREAM, oldest first."""
    import polars as pl

    in_order(start, end)
    app = open_app(ctx)
    rows = app.store.scan(stream, start, end)
    total = rows.select(pl.len()).collect().item()
    if limit and total > limit:
        rows = rows.top_k(limit, by=TIME)
        click.echo(f"the newest {limit} of {total:,}; --limit 0 shows all", err=True)
    frame = rows.collect().sort(TIME, INGESTED)
    filled = [c for c in frame.columns if frame[c].null_count() < len(frame)]
    show(
        ({k: v for k, v in row.items() if v is not None} for row in frame.iter_rows(named=True)),
        [c for c in filled if c not in _DULL],
        as_json=as_json,
        empty=f"stream {stream} has no events{' in that time' if start or end else ' yet'}",
    )


COMMANDS = (events,)
