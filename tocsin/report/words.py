"""Readable forms of durations, shares, ratios, ATLAS techniques and detector descriptions."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from tocsin.contract import atlas
from tocsin.contract.findings import Subject
from tocsin.words import count
from tocsin.worker.app import App


def delay(length: timedelta | None) -> str:
    """A duration: `2 d 3 h`, `20 h 17 min`, `45 s`."""
    if length is None:
        return "–"
    seconds = round(length.total_seconds())
    for size, unit, small, below in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if seconds >= size * (2 if unit == "d" else 1):
            whole, rest = divmod(seconds, size)
            return f"{whole} {unit} {rest // small} {below}" if rest // small else f"{whole} {unit}"
    return f"{seconds} s"


def percent(part: int, whole: int) -> str:
    """A share. It is rounded up to 99.9 % at most, so that `100 %` always means all."""
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
    """The first line of a detector's docstring; empty if the detector is not enabled."""
    return _docs(app, detector).partition("\n")[0]


def part(app: App, detector: str, heading: str) -> str:
    """The text under a heading of a detector's docstring, such as `Blind spots`."""
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
    """How many items a shortened list omits, and the command that shows them; empty if it omits none."""
    left = (of if isinstance(of, int) else len(of)) - shown
    return f"{count(left, 'more ' + what)}: {command}" if left > 0 else ""
