"""Writes a document as Markdown (CommonMark with GitHub's tables), its pictures as files beside it.

Text from a log cannot become markup: characters with a meaning in Markdown are escaped, line ends become blanks,
and preformatted text is put into a fence that is longer than any fence in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from urllib.parse import quote

from tocsin.clock import format_length
from tocsin.report import document as doc
from tocsin.report.pictures.canvas import PAPER

_MEANS = re.compile(r"([\\`*_{}\[\]<>#|~&$@])")
_STARTS = re.compile(r"^(\s*)([-+=])")
_NUMBERED = re.compile(r"^(\s*\d+)([.)])(?=\s|$)")
#: Text that GitHub converts to links and emoji although it has no markup.
_LINKS = re.compile(r"(:)(?=//)|(\bwww)(?=\.)|(:)(?=[A-Za-z_+-][\w+-]*:)", re.IGNORECASE)
_TICKS = re.compile("`+")
_MARKS = {"done": "x"}  # the checkbox of a step in any other state is empty


def write(document: doc.Document, folder: str) -> tuple[str, dict[str, str]]:
    """The text, and its pictures as SVG by file name. The text links to them in `folder`, relative to itself."""
    parts = [f"# {escape(document.verdict)}.", escape(document.eyebrow)]
    parts += _blocks(document.head, folder)
    for section in document.sections:
        number = f"{section.number}: " if section.number is not None else ""
        parts += [
            f"{_anchor(section.id)}## {number}{escape(section.title)}",
            *_blocks(section.blocks, folder),
        ]
    drawn = _pictures([*document.head, *(b for s in document.sections for b in s.blocks)])
    files = {f"{picture.name}.svg": _standalone(picture.svg) for picture in drawn}
    return "\n\n".join(filter(None, parts)) + "\n", files


def _pictures(blocks: Iterable[doc.Block]) -> Iterator[doc.Picture]:
    for block in blocks:
        if isinstance(block, doc.Picture):
            yield block
        elif isinstance(block, doc.Panel | doc.Details):
            yield from _pictures(block.blocks)


def _standalone(svg: str) -> str:
    """A picture as a separate file. It gets a background, because the viewer's own may be dark."""
    start = svg.index(">", svg.index("<svg")) + 1
    return f'{svg[:start]}<rect width="100%" height="100%" fill="{PAPER}"/>{svg[start:]}\n'


def _anchor(id: str) -> str:
    return f'<a id="{quote(id)}"></a>\n\n' if id else ""


def escape(text: str) -> str:
    """Text as Markdown that renders as the same text, on one line."""
    words = _MEANS.sub(r"\\\1", re.sub(r"\s+", " ", doc.shown(text)))
    words = _LINKS.sub(lambda found: _broken(found[0]), words)
    return _NUMBERED.sub(r"\1\\\2", _STARTS.sub(r"\1\\\2", words))


def _broken(start: str) -> str:
    """The start of a link without markup, with one character escaped so that it starts no link."""
    return f"\\{start}" if start == ":" else f"{start[:-1]}&#{ord(start[-1])};"


def _code(text: str) -> str:
    words = re.sub(r"\s+", " ", doc.shown(text)).strip() or " "
    fence = "`" * (max(map(len, _TICKS.findall(words)), default=0) + 1)
    return f"{fence} {words} {fence}" if "`" in words else f"{fence}{words}{fence}"


def line(content: doc.Line) -> str:
    """A line."""
    return "".join(map(_inline, doc.inlines(content))).strip()


def _inline(part: doc.Inline) -> str:
    match part:
        case doc.Chip(severity):
            return f"**{severity.value if severity else 'missed'}**"
        case doc.Strong(text):
            return f"**{escape(text.strip())}**" if text.strip() else ""
        case doc.Small(text):
            return f" ({escape(text)})"
        case doc.Code(text):
            return _code(text)
        case doc.When(time, length):
            return doc.minute(time) + ("" if length is None else f" for {format_length(length)}")
        case doc.Badge(number):
            return str(number)
        case doc.Link(text, id):
            return f"[{escape(text)}](#{quote(id)})"
    return escape(part)


def _blocks(blocks: Sequence[doc.Block], folder: str) -> list[str]:
    return [text for block in blocks if (text := _block(block, folder))]


def _block(block: doc.Block, folder: str) -> str:
    """A block. `_plain` writes those that hold neither other blocks nor a picture."""
    match block:
        case doc.Picture(name, _, label, caption):
            below = f"\n\n{escape(caption)}" if caption else ""
            return f"![{escape(label)}]({quote(f'{folder}/{name}.svg')}){below}"
        case doc.Panel(blocks):
            return _quoted("\n\n".join(_blocks(blocks, folder)))
        case doc.Details(summary, blocks, id):
            return "\n\n".join([f"{_anchor(id)}**{escape(summary.strip())}**", *_blocks(blocks, folder)])
    return _plain(block)


def _plain(
    block: doc.Heading
    | doc.Paragraph
    | doc.Facts
    | doc.Tiles
    | doc.Notices
    | doc.Table
    | doc.Steps
    | doc.Verbatim,
) -> str:
    match block:
        case doc.Heading(text, level, id):
            return f"{_anchor(id)}{'#' * level} {escape(text)}"
        case doc.Paragraph(content):
            return line(content)
        case doc.Facts(pairs):
            return "\n".join(f"- {escape(name)}: {line(value)}" for name, value in pairs)
        case doc.Tiles(pairs):
            return "\n".join(f"- **{escape(value.strip())}** {escape(what)}" for value, what in pairs)
        case doc.Table(columns, rows):
            return _table(columns, rows)
        case doc.Notices(items):
            return "\n".join(map(_notice, items))
        case doc.Steps(items):
            return "\n".join(map(_step, items))
        case doc.Verbatim(text):
            return _fenced(text)


def _table(columns: Sequence[str], rows: Sequence[Sequence[doc.Line]]) -> str:
    head = [escape(column.lstrip("#")) for column in columns]
    rule = ["--:" if column.startswith("#") else "---" for column in columns]
    body = [[_cell(cell) for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *body))


def _cell(content: doc.Line) -> str:
    """A bar ends a cell, even a bar in code: it is escaped."""
    parts = (
        _inline(part).replace("|", "\\|") if isinstance(part, doc.Code) else _inline(part)
        for part in doc.inlines(content)
    )
    return "".join(parts).strip()


def _notice(item: doc.Notice) -> str:
    first = f"- {_inline(doc.Chip(item.severity))} {_inline(item.subject)} {line(item.state)}"
    return f"{first}\n\n  {escape(item.text).strip()}\n\n  **Next step:** {line(item.next_step)}\n"


def _step(item: doc.Item) -> str:
    mark = _MARKS.get(item.state, " ")
    first = f"- [{mark}] **{escape(item.title.strip())}** {escape(item.aside.strip())}".rstrip()
    return "\n".join([first, *(f"\n  {line(paragraph.line)}" for paragraph in item.content)])


def _fenced(text: str) -> str:
    shown_text = doc.shown(text)
    fence = "`" * max(3, max(map(len, _TICKS.findall(shown_text)), default=0) + 1)
    return f"{fence}\n{shown_text}\n{fence}"


def _quoted(text: str) -> str:
    return "\n".join(f"> {row}".rstrip() for row in text.split("\n"))
