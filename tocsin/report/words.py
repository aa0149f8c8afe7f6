"""How a report says things: lengths of time, numbers of things, techniques, what a detector is for."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from tocsin.contract import atlas
from tocsin.contract.findings import Subject
from tocsin.worker.app import App


def count(number: int, what: str) -> str:
    """A number of things: `1 finding`, `2,000 findings`."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def delay(length: timedelta | None) -> str:
    """A time that something took: `2 d 3 h`, `20 h 17 min`, `45 s`."""
    if length is None:
        return "–"
    seconds = round(length.total_seconds())
    for size, unit, small, below in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if seconds >= size * (2 if unit == "d" else 1):
            whole, rest = divmod(seconds, size)
            return f"{whole} {unit} {rest // small} {below}" if rest // small else f"{whole} {unit}"
    return f"{seconds} s"


def percent(part: int, whole: int) -> str:
    """A share, never rounded up to everything: `99.9 %` of nearly all."""
    if not whole:
        return "–"
    if part == whole:
        return "100 %"
    return f"{min(part / whole, 0.999):.1%}".replace("%", " %")


def ratio(row: Mapping[str, Any]) -> str:
    """The score of a finding divided by its threshold."""
    threshold = row["tocsin.threshold"]
    return f"{row['tocsin.score'] / threshold:,.1f}" if threshold else "–"


def about(subject: Subject) -> str:
    """A subject: `dataset applications`."""
    return f"{subject.type} {subject.id}"


def technique(id: str) -> str:
    """An ATLAS technique with its name."""
    try:
        return f"{id} {atlas.name(id)}"
    except KeyError:
        return id


def purpose(app: App, detector: str) -> str:
    """The first sentence of a detector's own description; empty where it is not turned on."""
    return _docs(app, detector).partition("\n")[0]


def part(app: App, detector: str, heading: str) -> str:
    """What stands under a heading of a detector's description, such as `Blind spots`."""
    lines = _docs(app, detector).split("\n")
    if heading not in lines:
        return ""
    below: list[str] = []
    for line in lines[lines.index(heading) + 1 :]:
        if line and not line.startswith(" "):
            break
        below.append(line.strip())
    return " ".join(filter(None, below))


def _docs(app: App, detector: str) -> str:
    docs = (inspect.getdoc(s.detector) or "" for s in app.settings if s.detector.id == detector)
    return next(docs, "").replace("`", "")


def more(shown: int, of: Sequence[object] | int, what: str, command: str) -> str:
    """What a list leaves out, and how to see it; empty if that is nothing."""
    left = (of if isinstance(of, int) else len(of)) - shown
    return f"{count(left, 'more ' + what)}: {command}" if left > 0 else ""
