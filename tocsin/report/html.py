"""Writes a document as a page of HTML. Text from a log cannot become markup.

`tag` escapes every text that it puts into an element, except text of type `Html`. The page contains its style and
its pictures and loads nothing.
"""

from __future__ import annotations

import functools
import html
import re
from collections.abc import Iterable
from importlib.resources import files
from typing import Any

from tocsin.clock import format_length, format_time
from tocsin.report import document as doc
from tocsin.report.pictures.canvas import VARIABLES

_VOID = frozenset({"meta"})
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_FEW = 5  # columns that fit on a narrow page
_COLOR = re.compile("|".join(VARIABLES))


class Html(str):
    """Text that is already HTML and is not escaped again."""

    __slots__ = ()


def tag(name: str, /, *content: str, **attributes: str) -> Html:
    """An element. Text in it is escaped; `class_` becomes `class`, `aria_label` becomes `aria-label`."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"' for key, value in attributes.items()
    )
    inner = "".join(part if isinstance(part, Html) else escape(part) for part in content)
    return Html(f"<{name}{given}>" if name in _VOID else f"<{name}{given}>{inner}</{name}>")


def escape(text: str) -> Html:
    """Text as HTML."""
    return Html(html.escape(doc.shown(text)))


def write(document: doc.Document) -> str:
    """The whole page. Its content security policy tells the browser to load nothing."""
    style = Html(files("tocsin.report").joinpath("report.css").read_text())
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("title", f"Tocsin: {document.verdict}"),
        tag("style", style),
    )
    top = tag(
        "header",
        tag("p", document.eyebrow, class_="eyebrow"),
        tag("h1", document.verdict, ".", class_="verdict" if document.good else "verdict bad"),
        *map(block, document.head),
    )
    main = tag("main", top, *map(_section, document.sections))
    return "<!doctype html>\n" + tag("html", head, tag("body", main), lang="en") + "\n"


def _section(section: doc.Section) -> Html:
    badge = [inline(doc.Badge(section.number))] if section.number is not None else []
    title = tag("h2", *badge, section.title)
    return tag("section", title, *map(block, section.blocks), **_id(section.id))


def line(content: doc.Line) -> Html:
    """A line."""
    return Html("".join(map(inline, doc.inlines(content))))


def inline(part: doc.Inline) -> Html:
    """A part of a line."""
    match part:
        case doc.Chip(severity):
            word = severity.value if severity else "missed"
            return tag("span", word, class_=f"chip {word}")
        case doc.Strong(text):
            return tag("strong", text)
        case doc.Small(text):
            return tag("small", text)
        case doc.Code(text):
            return tag("code", text)
        case doc.When(time, length):
            shown = tag("time", doc.minute(time), datetime=format_time(time))
            return (
                shown
                if length is None
                else tag("span", shown, f" for {format_length(length)}", class_="line")
            )
        case doc.Badge(number):
            return tag("span", str(number), class_="badge")
        case doc.Link(text, id):
            return tag("a", text, href=f"#{id}")
    return escape(part)


@functools.singledispatch
def block(given: Any) -> Html:
    """A block as an element."""
    raise TypeError(f"{given!r} is not a block of a document")


def _id(id: str) -> dict[str, str]:
    return {"id": id} if id else {}


@block.register
def _heading(given: doc.Heading) -> Html:
    return tag(f"h{given.level}", given.text, **_id(given.id))


@block.register
def _paragraph(given: doc.Paragraph) -> Html:
    return tag("p", line(given.line), **({"class_": "muted"} if given.muted else {}))


@block.register
def _facts(given: doc.Facts) -> Html:
    pairs = (tag("div", tag("dt", name), tag("dd", line(value))) for name, value in given.pairs)
    return tag("dl", *pairs, class_="facts")


@block.register
def _table(given: doc.Table) -> Html:
    """A table in a container that scrolls sideways on a narrow screen, under a line that says so."""
    classes = [{"class_": "number"} if column.startswith("#") else {} for column in given.columns]
    head = _cells("th", [{"scope": "col"} | c for c in classes], (c.lstrip("#") for c in given.columns))
    body = (tag("tr", _cells("td", classes, row)) for row in given.rows)
    few = len(given.columns) <= _FEW
    inner = tag(
        "table", tag("thead", tag("tr", head)), tag("tbody", *body), **({"class_": "few"} if few else {})
    )
    return tag("div", inner, class_="wide", tabindex="0") if few else _scrolling("table", inner)


def _scrolling(what: str, inner: Html) -> Html:
    """A container that scrolls on a narrow screen. The hint above it is its name for a screen reader too."""
    hint = f"This {what} is wider than the screen: scroll it sideways"
    region = tag("div", inner, class_="wide", tabindex="0", role="group", aria_label=f"Scrollable {what}")
    return Html(tag("p", f"{hint} →", class_="hint") + region)


def _cells(name: str, attributes: Iterable[dict[str, str]], cells: Iterable[doc.Line]) -> Html:
    both = zip(attributes, cells, strict=True)
    return Html("".join(tag(name, line(cell), **given) for given, cell in both))


@block.register
def _tiles(given: doc.Tiles) -> Html:
    tiles = (tag("div", tag("b", value), tag("span", what), class_="tile") for value, what in given.pairs)
    return tag("div", *tiles, class_="tiles")


@block.register
def _notices(given: doc.Notices) -> Html:
    return tag("ol", *map(_notice, given.items), class_="notices")


def _notice(item: doc.Notice) -> Html:
    subject = tag("strong", inline(item.subject))
    state = tag("span", line(item.state), class_="muted")
    return tag(
        "li",
        tag("p", inline(doc.Chip(item.severity)), " ", subject, " ", state),
        tag("p", item.text),
        tag("p", tag("strong", "Next step: "), line(item.next_step), class_="next"),
        class_=item.severity.value,
    )


@block.register
def _steps(given: doc.Steps) -> Html:
    return tag("ol", *map(_step, given.items), class_="steps")


def _step(item: doc.Item) -> Html:
    title = tag("summary", tag("strong", item.title), tag("span", item.aside, class_="muted"))
    return tag("li", tag("details", title, *map(block, item.content)), class_=item.state)


@block.register
def _verbatim(given: doc.Verbatim) -> Html:
    return tag("pre", given.text)


@block.register
def _picture(given: doc.Picture) -> Html:
    """A figure whose colors follow the page's theme. A screen reader reads `label`."""
    if given.narrow is None:
        return tag("figure", _scrolling("picture", _drawing(given)), *_caption(given))
    both = (
        tag("div", _drawing(picture), *_caption(picture), class_=screen)
        for picture, screen in ((given, "on-wide"), (given.narrow, "on-narrow"))
    )
    return tag("figure", *both)


def _drawing(given: doc.Picture) -> Html:
    themed = _COLOR.sub(lambda found: f"var({VARIABLES[found[0]]})", given.svg)
    return Html(themed.replace("<svg ", f'<svg role="img" aria-label="{escape(given.label)}" ', 1))


def _caption(given: doc.Picture) -> list[Html]:
    return [tag("figcaption", given.caption)] if given.caption else []


@block.register
def _panel(given: doc.Panel) -> Html:
    return tag("div", *map(block, given.blocks), class_="saw")


@block.register
def _details(given: doc.Details) -> Html:
    return tag("details", tag("summary", given.summary), *map(block, given.blocks), **_id(given.id))
