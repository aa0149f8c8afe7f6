"""What commands print: tables for people, one JSON object a line for programs, errors without traces."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from enum import IntEnum
from typing import Any

import click

from tocsin.clock import format_time, parse_time


class Exit(IntEnum):
    """Exit codes of every command."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    FOUND = 3


class Time(click.ParamType[datetime]):
    """A time on the command line, read as `tocsin.clock.parse_time` does."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            return parse_time(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
from_option = click.option("--from", "start", type=Time(), help="Only event times from here on (UTC).")
to_option = click.option("--to", "end", type=Time(), help="Only event times before this (UTC).")


def in_order(
    start: datetime | None, end: datetime | None, first: str = "--from", second: str = "--to"
) -> None:
    """Refuse a time that ends before it begins."""
    if start is not None and end is not None and start >= end:
        raise click.UsageError(
            f"{first} {format_time(start)} does not lie before {second} {format_time(end)}"
        )


fail_on_option = click.option(
    "--fail-on",
    type=click.Choice(["info", "low", "medium", "high", "critical"]),
    help="Exit 3 if there is a finding of this severity or worse.",
)


def show(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], *, as_json: bool, empty: str) -> None:
    """Print rows: every field as JSON, or the named columns as a table."""
    if as_json:
        for row in rows:
            click.echo(
                json.dumps({key: plain(value) for key, value in row.items()}, ensure_ascii=not _unicode())
            )
        return
    rows = list(rows)
    if not rows:
        click.echo(empty, err=True)
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(clean(text(row.get(column))) for column in columns))
    console = Console(markup=False, highlight=False, emoji=False)
    console.print(table, width=None if console.is_terminal else 200)


def _unicode() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "") in ("utf8", "utf16", "utf32")


def plain(value: Any) -> Any:
    """A value as JSON can hold it; times in UTC with their zone."""
    if isinstance(value, datetime):
        return format_time(value)
    if isinstance(value, float) and not math.isfinite(value):  # has no JSON form
        return None
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return value


def text(value: Any) -> str:
    """A value as a person reads it."""
    match value:
        case None:
            return ""
        case datetime():
            return format_time(value)
        case float():
            return f"{value:.3g}"
        case list() | tuple():
            return ", ".join(map(text, value))
        case Mapping():
            return json.dumps(plain(value), ensure_ascii=False)
    return str(value)


def clean(words: str) -> str:
    """Text from outside, without the control characters that could rewrite a terminal."""
    return "".join(c if c.isprintable() or c == " " else "�" for c in words)


@contextmanager
def progress(title: str) -> Iterator[Callable[[str], None]]:
    """Show what a long command is at: a live line on a terminal, nothing but the end elsewhere."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console

    with Console(stderr=True, markup=False, highlight=False).status(title) as status:
        yield lambda line: status.update(f"{title}: {clean(line)}")
