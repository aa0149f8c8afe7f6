"""Tables for people: laid out for the width of the terminal, or one line a row where the output is not a terminal.

No layout breaks a word, an id or a time. Columns that do not fit move to a line below their row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tocsin.cli.values import clean, text
from tocsin.clock import parse_time

if TYPE_CHECKING:
    from rich.text import Text

#: A cell of a table on a terminal is at most this wide; the line below the row has the whole value.
WIDEST = 40
#: A value on the line below a row is at most this long; `--json` has the whole value.
LONGEST = 160
#: From this width on a sentence is shown beside its row, if at least `_ROOM` columns are left for it.
WIDE = 120
_ROOM = 40
_GAP = "  "
_INDENT = "  "
_STYLES = {
    "critical": "bold red",
    "high": "red",
    "medium": "yellow",
    "low": "cyan",
    "info": "dim",
    "firing": "bold",
    "ok": "green",
    "passed": "green",
    "unhealthy": "bold red",
    "failed": "bold red",
    "gap": "bold red",
}


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    `key` names the row's value; several names, separated by spaces, are shown in one cell. `usual` is a value
    that is not worth a line below the row. A `minor` column moves below the row if the sentence needs its room; a
    `spare` one is omitted if it does not fit or if no row has a value for it. The `sentence` of a row comes last,
    and alone may be wrapped; below its row it begins with `lead`, since no heading is above it.
    """

    key: str
    title: str = ""
    empty: str = "-"
    usual: str = ""
    time: bool = False
    seconds: bool = False
    right: bool = False
    minor: bool = False
    spare: bool = False
    sentence: bool = False
    lead: str = ""

    @property
    def heading(self) -> str:
        """The title; times say that they are in UTC."""
        return f"{self.title or self.key}{' (UTC)' if self.time else ''}"


def with_early(columns: Sequence[Column], rows: Iterable[Mapping[str, Any]]) -> Sequence[Column]:
    """The columns, and one that says which findings are early (their windows have not ended), if there is one."""
    if not any(row["early"] for row in rows):
        return columns
    return [*columns[:-1], Column("early", minor=True, usual="no"), columns[-1]]


@dataclass(slots=True)
class _Grid:
    """The cells of a table as text, by column."""

    columns: list[Column]
    cells: list[list[str]]

    def width(self, place: int) -> int:
        longest = max(map(cells_of, (row[place] for row in self.cells)), default=0)
        return max(cells_of(self.columns[place].heading), min(longest, WIDEST))


def lines(
    rows: Iterable[Mapping[str, Any]], columns: Sequence[Column | str], width: int | None
) -> Iterator[Text]:
    """A table's lines.

    Args:
        rows: each has a value, or None, for every column.
        columns: a string is a column of that key.
        width: of the terminal; None where the output is not a terminal: a row is then one line, however long.

    Raises:
        KeyError: a row has no such value.
    """
    named = [Column(c) if isinstance(c, str) else c for c in columns]
    listed = list(rows)
    sentence = next((c for c in named if c.sentence), None)
    sentences = ["" if sentence is None else _cell(sentence, row, short=None) for row in listed]
    filled = [c for c in named if not c.spare or any(_cell(c, row, short=None) for row in listed)]
    kept = [c for c in filled if not c.sentence]
    grid = _Grid(kept, [[] for _ in listed])
    for column in kept:
        short = _precision(column, listed) if width is not None else None
        for line, row in zip(grid.cells, listed, strict=True):
            line.append(_cell(column, row, short=short))
    if width is None:
        yield from _long(grid, sentence, sentences)
    else:
        yield from _fitted(grid, sentence, sentences, width)


def cells_of(value: str) -> int:
    """How many columns of a terminal a text takes."""
    from rich.cells import cell_len

    return cell_len(value)


def wrap(value: str, width: int) -> list[str]:
    """A text in lines of a width, broken between words only; a longer word has a line to itself."""
    return pack(value.split(" "), width, " ")


def pack(parts: Iterable[str], width: int, between: str) -> list[str]:
    """Parts in lines of a width, none of them broken."""
    found: list[str] = []
    for part in parts:
        if found and cells_of(found[-1]) + cells_of(between) + cells_of(part) <= width:
            found[-1] += between + part
        else:
            found.append(part)
    return found


def short_time(value: datetime, precision: str = "minutes") -> str:
    """A time in UTC as people read it: `2026-03-23`, `2026-03-23 09:30` or `2026-03-23 09:30:12`."""
    form = {"days": "%Y-%m-%d", "minutes": "%Y-%m-%d %H:%M", "seconds": "%Y-%m-%d %H:%M:%S"}
    return value.astimezone(UTC).strftime(form[precision])


def style_of(word: str) -> str:
    """The color of a severity, a state or an outcome; empty for other words."""
    return _STYLES.get(word, "")


def _precision(column: Column, rows: Sequence[Mapping[str, Any]]) -> str | None:
    if not column.time:
        return None
    times = [_time(row[column.key]) for row in rows if row[column.key] is not None]
    if not any(t.hour or t.minute or (column.seconds and t.second) for t in times):
        return "days"
    return "seconds" if column.seconds and any(t.second for t in times) else "minutes"


def _time(value: Any) -> datetime:
    return value if isinstance(value, datetime) else parse_time(value)


def _cell(column: Column, row: Mapping[str, Any], short: str | None) -> str:
    if column.time and short is not None and row[column.key] is not None:
        return short_time(_time(row[column.key]), short)
    return " ".join(filter(None, (clean(text(row[key])) for key in column.key.split())))


def _long(grid: _Grid, sentence: Column | None, sentences: Sequence[str]) -> Iterator[Text]:
    """One line a row, with every value whole."""
    places = range(len(grid.columns))
    widths = {place: grid.width(place) for place in places}
    last = [] if sentence is None or not any(sentences) else [sentence.heading]
    yield _line(_headings(grid, places), widths, grid, last, heading=True)
    for row, words in zip(grid.cells, sentences, strict=True):
        filled = {place: row[place] or grid.columns[place].empty for place in places}
        yield _line(filled, widths, grid, [words] if last else [])


def _fitted(grid: _Grid, sentence: Column | None, sentences: Sequence[str], width: int) -> Iterator[Text]:
    from rich.text import Text

    room = max(map(cells_of, sentences), default=0)
    shown, beside = _choose(grid, room, width)
    widths = {place: grid.width(place) for place in shown}
    used = sum(widths.values()) + len(_GAP) * len(shown)
    last = [] if sentence is None or not (beside and room) else [sentence.heading]
    yield _line(_headings(grid, shown), widths, grid, last, heading=True)
    for row, words in zip(grid.cells, sentences, strict=True):
        filled = {place: _cut(row[place], WIDEST) or grid.columns[place].empty for place in shown}
        first, *rest = wrap(words, width - used) if beside else [""]
        yield _line(filled, widths, grid, [first])
        yield from (Text(" " * used + line) for line in rest)
        if words and not beside:
            lead = sentence.lead if sentence else ""
            yield from (Text(_INDENT + line) for line in wrap(lead + words, width - len(_INDENT)))
        pairs = list(_details(grid, shown, row))
        yield from (
            Text(_INDENT + line, style="dim") for line in pack(pairs, width - len(_INDENT), _GAP) if line
        )


def _choose(grid: _Grid, room: int, width: int) -> tuple[list[int], bool]:
    """Which columns are shown in the row, and whether the sentence is shown beside them."""
    every = list(range(len(grid.columns)))
    major = [place for place in every if not (grid.columns[place].minor or grid.columns[place].spare)]
    for shown in (every, major):
        left = width - sum(grid.width(place) + len(_GAP) for place in shown)
        if room and (left >= room or (width >= WIDE and left >= _ROOM)):
            return shown, True
    shown, left = [], width + len(_GAP)
    for place in sorted(every, key=lambda place: place not in major):
        left -= grid.width(place) + len(_GAP)
        if left < 0 and shown:
            break
        shown.append(place)
    return sorted(shown), False


def _details(grid: _Grid, shown: Sequence[int], row: Sequence[str]) -> Iterator[str]:
    """What the row has no room for."""
    for place, column in enumerate(grid.columns):
        value = row[place]
        hidden = place not in shown and value != column.usual and not column.spare
        if value and (hidden or cells_of(value) > WIDEST):
            yield f"{column.heading} {_cut(value, LONGEST)}"


def _cut(value: str, longest: int) -> str:
    if cells_of(value) <= longest:
        return value
    from rich.cells import set_cell_size

    return f"{set_cell_size(value, longest - 1).rstrip()}…"


def _headings(grid: _Grid, shown: Iterable[int]) -> dict[int, str]:
    return {place: grid.columns[place].heading for place in shown}


def _line(
    values: Mapping[int, str],
    widths: Mapping[int, int],
    grid: _Grid,
    last: Sequence[str],
    *,
    heading: bool = False,
) -> Text:
    from rich.text import Text

    line = Text()
    for place, value in values.items():
        pad = " " * (widths[place] - cells_of(value))
        right = grid.columns[place].right
        style = "bold" if heading else style_of(value)
        line.append(pad if right else "")
        line.append(value, style)
        line.append(("" if right else pad) + _GAP)
    line.append("".join(last), "bold" if heading else "")
    line.rstrip()
    return line
