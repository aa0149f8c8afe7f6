"""A report as a value: sections of plain blocks. Only the writers `html` and `markdown` contain markup.

Texts are not escaped here, also those that come from logs. A writer escapes each text when it writes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from tocsin.contract.findings import Severity

# Parts of a line


@dataclass(frozen=True, slots=True)
class Chip:
    """A severity as a colored word. `None` shows "missed": no detector found the attack."""

    severity: Severity | None


@dataclass(frozen=True, slots=True)
class Strong:
    """Emphasized text."""

    text: str


@dataclass(frozen=True, slots=True)
class Small:
    """Secondary text in a smaller size."""

    text: str


@dataclass(frozen=True, slots=True)
class Code:
    """A command, or an identifier exactly as the store holds it."""

    text: str


@dataclass(frozen=True, slots=True)
class When:
    """A time, shown to the minute; with a length, a window."""

    time: datetime
    length: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Badge:
    """A number in a disc. Pictures mark the same thing with the same number."""

    number: int


@dataclass(frozen=True, slots=True)
class Link:
    """A link to the block or section of the same document that has this `id`."""

    text: str
    id: str


Inline = str | Chip | Strong | Small | Code | When | Badge | Link
#: The content of a line, a cell or a fact's value: one part or several.
Line = Inline | tuple[Inline, ...]


# Blocks


@dataclass(frozen=True, slots=True)
class Heading:
    """The title of the blocks after it; `level` is 3 or 4, a section's own title has level 2. `id` is a link's target."""

    text: str
    level: int = 3
    id: str = ""


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A paragraph. `muted` shows it as secondary text."""

    line: Line
    muted: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """Names with their values."""

    pairs: Sequence[tuple[str, Line]]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under columns. The name of a column of numbers begins with `#`, which is not shown."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Line]]


@dataclass(frozen=True, slots=True)
class Tiles:
    """Key figures: pairs of a value and its description."""

    pairs: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Notice:
    """One alert or incident on the first screen: its subject, its state, the detector's sentence, the next step."""

    severity: Severity
    subject: Inline
    state: Line
    text: str
    next_step: Line


@dataclass(frozen=True, slots=True)
class Notices:
    """The worst alerts and incidents, the worst first."""

    items: Sequence[Notice]


@dataclass(frozen=True, slots=True)
class Item:
    """A step of a checklist with its instructions. `state` is pending, done or skipped."""

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
    """Preformatted text."""

    text: str


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawing as SVG, made by `pictures.canvas`. `label` describes it in a sentence, `name` is unique.

    A page on a narrow screen shows `narrow` in place of the drawing, where there is one.
    """

    name: str
    svg: str
    label: str
    caption: str = ""
    narrow: Picture | None = None


@dataclass(frozen=True, slots=True)
class Panel:
    """Blocks on a common background."""

    blocks: Sequence[Block]


@dataclass(frozen=True, slots=True)
class Details:
    """Blocks that a page shows after a click. `id` is a link's target."""

    summary: str
    blocks: Sequence[Block]
    id: str = ""


Block = Heading | Paragraph | Facts | Table | Tiles | Notices | Steps | Verbatim | Picture | Panel | Details


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the document. A page shows `number` in a disc before the title."""

    title: str
    blocks: Sequence[Block]
    id: str = ""
    number: int | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """A report. `verdict` is its summary in one sentence, `head` the rest of the first screen."""

    eyebrow: str
    verdict: str
    good: bool
    head: Sequence[Block]
    sections: Sequence[Section]


def inlines(line: Line) -> tuple[Inline, ...]:
    """The parts of a line."""
    return line if isinstance(line, tuple) else (line,)


def shown(text: str) -> str:
    """Text for a reader. Characters that do not print, such as those that change the writing direction, are replaced."""
    return "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text)


def minute(time: datetime) -> str:
    """A time for a reader: `2026-03-05 02:43 UTC`."""
    return f"{time:%Y-%m-%d %H:%M} UTC"
