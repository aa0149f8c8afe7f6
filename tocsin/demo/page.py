"""A page of HTML, built so that text from a log can never become markup.

Every text is escaped when it enters an element; only `Html` is taken as it is. The page carries its
style and its pictures with it and loads nothing.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from datetime import datetime
from importlib.resources import files

from tocsin.clock import format_time
from tocsin.findings import Severity

_VOID = frozenset({"meta"})
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def tag(name: str, /, *content: str, **attributes: str) -> Html:
    """An element. Text in it is escaped; `class_` becomes `class`, `aria_label` becomes `aria-label`."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"' for key, value in attributes.items()
    )
    inner = "".join(part if isinstance(part, Html) else escape(part) for part in content)
    return Html(f"<{name}{given}>" if name in _VOID else f"<{name}{given}>{inner}</{name}>")


def escape(text: str) -> Html:
    """Text as HTML; what does not print, such as signs that turn the direction of writing, is replaced."""
    shown = "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text)
    return Html(html.escape(shown))


def join(parts: Iterable[str], between: str = "") -> Html:
    """Parts one after another."""
    return Html(escape(between).join(p if isinstance(p, Html) else escape(p) for p in parts))


def when(time: datetime) -> Html:
    """A time for a reader, to the minute: `2026-03-05 02:43 UTC`."""
    return tag("time", f"{time:%Y-%m-%d %H:%M} UTC", datetime=format_time(time))


def chip(severity: Severity | None) -> Html:
    """A severity as a colored word; without one the thing was missed."""
    word = severity.value if severity else "missed"
    return tag("span", word, class_=f"chip {word}")


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], class_: str = "") -> Html:
    """A table that scrolls by itself on a narrow page. A column that begins with `#` is of numbers."""
    numbers = [column.startswith("#") for column in columns]
    head = join(
        tag("th", column.lstrip("#"), scope="col", class_="number" if number else "")
        for column, number in zip(columns, numbers, strict=True)
    )
    body = join(
        tag(
            "tr",
            join(tag("td", cell, class_="number" if n else "") for cell, n in zip(row, numbers, strict=True)),
        )
        for row in rows
    )
    inner = tag("table", tag("thead", tag("tr", head)), tag("tbody", body), class_=class_)
    return tag("div", inner, class_="wide", tabindex="0")


def facts(pairs: Iterable[tuple[str, str]]) -> Html:
    """Names with their values."""
    return tag(
        "dl", join(tag("div", tag("dt", name), tag("dd", value)) for name, value in pairs), class_="facts"
    )


def details(summary: str, *content: str) -> Html:
    """Something that opens when it is asked for."""
    return tag("details", tag("summary", summary), *content)


def picture(drawing: Html, label: str, caption: str = "") -> Html:
    """An SVG as a figure; `label` is what a screen reader says."""
    drawn = Html(drawing.replace("<svg ", f'<svg role="img" aria-label="{escape(label)}" ', 1))
    shown = tag("div", drawn, class_="wide", tabindex="0")
    return tag("figure", shown, *([tag("figcaption", caption)] if caption else []))


def document(title: str, *content: str) -> str:
    """The whole page; what it may load is nothing, and it says so to the browser too."""
    style = Html(files("tocsin.demo").joinpath("report.css").read_text())
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("title", title),
        tag("style", style),
    )
    return "<!doctype html>\n" + tag("html", head, tag("body", tag("main", *content)), lang="en") + "\n"
