"""A report as a value: sections of plain blocks. `html` and `markdown` write it, and nothing else knows markup.

Every text in it is text, whoever chose it; the writers escape it where they write it down.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from tocsin.contract.findings import Severity

# What stands in a line


@dataclass(frozen=True, slots=True)
class Chip:
    """A severity as a colored word; without one the thing was missed."""

    severity: Severity | None


@dataclass(frozen=True, slots=True)
class Strong:
    """Words that matter most."""

    text: str


@dataclass(frozen=True, slots=True)
class Small:
    """Words below others."""

    text: str


@dataclass(frozen=True, slots=True)
class Code:
    """Something to be typed, or a name as the machine has it."""

    text: str


@dataclass(frozen=True, slots=True)
class When:
    """A time, shown to the minute; with a length, a window."""

    time: datetime
    length: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Badge:
    """A number in a disc, as pictures show it too."""

    number: int


@dataclass(frozen=True, slots=True)
class Link:
    """A way to a section of the same document."""

    text: str
    id: str


Inline = str | Chip | Strong | Small | Code | When | Badge | Link
#: What may stand in a line, a cell or the value of a fact: one thing or several.
Line = Inline | tuple[Inline, ...]


# Blocks


@dataclass(frozen=True, slots=True)
class Heading:
    """The title of what follows; `level` 3 or 4, sections themselves have 2."""

    text: str
    level: int = 3


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A paragraph; a muted one is an aside."""

    line: Line
    muted: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """Names with their values."""

    pairs: Sequence[tuple[str, Line]]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under columns. A column that begins with `#` is of numbers."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Line]]


@dataclass(frozen=True, slots=True)
class Tiles:
    """The few figures that matter, each with what it is."""

    pairs: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Item:
    """A step of a checklist, with what is to be done; `state` is pending, done or skipped."""

    title: str
    aside: str
    state: str
    content: Sequence[Paragraph] = ()


@dataclass(frozen=True, slots=True)
class Steps:
    """A checklist."""

    items: Sequence[Item]


@dataclass(frozen=True, slots=True)
class Verbatim:
    """Text that keeps its lines."""

    text: str


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawing as SVG, made by `pictures.canvas`. `label` says in words what it shows, `name` is unique."""

    name: str
    svg: str
    label: str
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """Blocks that stand out together."""

    blocks: Sequence[Block]


@dataclass(frozen=True, slots=True)
class Details:
    """Blocks that are shown on request."""

    summary: str
    blocks: Sequence[Block]


Block = Heading | Paragraph | Facts | Table | Tiles | Steps | Verbatim | Picture | Panel | Details


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the document; a number stands in a disc before the title."""

    title: str
    blocks: Sequence[Block]
    id: str = ""
    number: int | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """A report. `verdict` is its one sentence, `head` what stands below it on the first screen."""

    eyebrow: str
    verdict: str
    good: bool
    head: Sequence[Block]
    sections: Sequence[Section]


def inlines(line: Line) -> tuple[Inline, ...]:
    """The parts of a line."""
    return line if isinstance(line, tuple) else (line,)


def shown(text: str) -> str:
    """Text for a reader; what does not print, such as signs that turn the direction of writing, is replaced."""
    return "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text)


def minute(time: datetime) -> str:
    """A time for a reader: `2026-03-05 02:43 UTC`."""
    return f"{time:%Y-%m-%d %H:%M} UTC"
