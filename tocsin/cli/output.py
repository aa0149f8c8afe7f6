"""What all commands share: exit codes, options, tables or JSON on standard output, and progress."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import click

from tocsin.cli.values import as_json as json_line
from tocsin.cli.values import clean
from tocsin.clock import format_time, parse_time

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status
    from rich.text import Text

    from tocsin.cli.tables import Column


class Exit(IntEnum):
    """Exit codes of every command."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    FOUND = 3


class Time(click.ParamType[datetime]):
    """A time on the command line, parsed by `tocsin.clock.parse_time`."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            return parse_time(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on each line.")
from_option = click.option("--from", "start", type=Time(), help="Start of the event time to cover.")
to_option = click.option("--to", "end", type=Time(), help="End of the event time to cover, exclusive.")
fail_on_option = click.option(
    "--fail-on",
    type=click.Choice(["info", "low", "medium", "high", "critical"]),
    help="Exit 3 if there is a finding of this severity or a higher one.",
)


def in_order(
    start: datetime | None, end: datetime | None, first: str = "--from", second: str = "--to"
) -> None:
    """Refuse a start that is not before its end."""
    if start is not None and end is not None and start >= end:
        raise click.UsageError(f"{first} {format_time(start)} is not before {second} {format_time(end)}")


def print_text(words: str, *, err: bool = False) -> None:
    """Print lines of text; a character that is not printable becomes U+FFFD."""
    click.echo("\n".join(clean(line.expandtabs(4)) for line in words.split("\n")), err=err)


def show(
    rows: Iterable[Mapping[str, Any]], columns: Sequence[Column | str], *, as_json: bool, empty: str
) -> None:
    """Print rows: all fields as JSON, or these columns as a table; without rows print `empty` to standard error."""
    if as_json:
        for row in rows:
            click.echo(json_line(row, ascii_only=not _unicode()))
        return
    listed = list(rows)
    if not listed:
        print_text(empty, err=True)
        return
    from tocsin.cli import tables

    print_lines(lambda width: tables.lines(listed, columns, width))


def print_lines(made: Any) -> None:
    """Print lines of `rich.text.Text`; `made` is called with the terminal's width, or None without a terminal."""
    console = _console()
    lines: Iterable[Text] = made(console.width if console.is_terminal else None)
    for line in lines:
        console.print(line, soft_wrap=True)


def _console() -> Console:
    """Standard output, without color where it is not a terminal or NO_COLOR is set."""
    from rich.console import Console

    return Console(markup=False, highlight=False, emoji=False)


def _unicode() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "") in ("utf8", "utf16", "utf32")


@dataclass(slots=True)
class Progress:
    """The step of a long command: a live line on a terminal; elsewhere lines if `plain` is set, else nothing."""

    title: str
    plain: bool = False
    status: Status | None = None
    _printed: float = field(default=0.0)

    def step(self, line: str) -> None:
        """A new step of the command."""
        self._show(line, every=0.0)

    def detail(self, line: str) -> None:
        """One of many things within a step; off a terminal only one in ten seconds is printed."""
        self._show(line, every=10.0)

    def update(self, line: str) -> None:
        """The state of a step; shown on a terminal only."""
        if self.status is not None:
            self._show(line, every=0.0)

    def _show(self, line: str, every: float) -> None:
        if self.status is not None:
            self.status.update(f"{self.title}: {clean(line)}")
        elif self.plain and time.monotonic() - self._printed >= every:
            print_text(line, err=True)
            self._printed = time.monotonic()


@contextmanager
def progress(title: str, *, plain: bool = False) -> Iterator[Progress]:
    """Show what a long command is doing, on standard error."""
    if not sys.stderr.isatty():
        yield Progress(title, plain)
        return
    from rich.console import Console

    with Console(stderr=True, markup=False, highlight=False).status(title) as status:
        yield Progress(title, status=status)
