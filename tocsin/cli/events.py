"""`tocsin events`: the events of a stream."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

import click

from tocsin.cli.context import open_app
from tocsin.cli.output import from_option, in_order, json_option, print_text, show, to_option
from tocsin.cli.tables import Column
from tocsin.contract.streams import ID, INGESTED, STREAMS, TIME, UNMAPPED

#: Columns that only `--json` has.
_LEFT_OUT = {ID, INGESTED, "event.kind", "event.category", "event.type", "tocsin.source.id"}
#: The columns that a reader needs first.
_FIRST = (
    TIME,
    "tocsin.severity",
    "event.action",
    "user.id",
    "tocsin.resource.id",
    "tocsin.model.name",
    "tocsin.dataset.name",
    "tocsin.pipeline.name",
    "tocsin.detector.id",
    "tocsin.subject.type",
    "tocsin.subject.id",
    "event.outcome",
)
_SENTENCES = ("message", "event.reason", "error.message")


@click.command()
@click.argument("stream", type=click.Choice(list(STREAMS)))
@from_option
@to_option
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=100,
    show_default=True,
    help="Show at most this many events, the newest ones. 0 shows all events.",
)
@json_option
@click.pass_context
def events(
    ctx: click.Context, stream: str, start: datetime | None, end: datetime | None, limit: int, as_json: bool
) -> None:
    """Show the events of one stream, oldest first."""
    import polars as pl

    in_order(start, end)
    app = open_app(ctx)
    rows = app.store.scan(stream, start, end)
    total = rows.select(pl.len()).collect().item()
    if limit and total > limit:
        rows = rows.top_k(limit, by=TIME)
        print_text(f"the newest {limit:,} of {total:,} events; --limit 0 shows all", err=True)
    frame = rows.collect().sort(TIME, INGESTED)
    filled = [c for c in frame.columns if frame[c].null_count() < len(frame)]
    found = frame.iter_rows(named=True)
    show(
        ({k: v for k, v in row.items() if v is not None} for row in found) if as_json else found,
        list(_columns(filled)),
        as_json=as_json,
        empty=f"stream {stream} has no events{' in that time' if start or end else ' yet'}",
    )


def _columns(filled: Sequence[str]) -> Iterator[Column]:
    """Those that have values: the most needed first, JSON of unknown fields and the sentence last."""
    sentence = next((name for name in _SENTENCES if name in filled), None)
    left_out = _LEFT_OUT | ({"event.reason", "tags"} if sentence == "message" else set())
    names = [name for name in filled if name not in left_out and name not in {sentence, UNMAPPED}]
    first = [name for name in _FIRST if name in names]
    for name in [*first, *(n for n in names if n not in first), *([UNMAPPED] if UNMAPPED in filled else [])]:
        yield Column(name, time=name == TIME, seconds=True)
    if sentence is not None:
        yield Column(sentence, sentence=True)


COMMANDS = (events,)
