"""The scorecard's pictures as SVG: shares with their intervals, and ROC curves. Readable on light and dark pages."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any
from xml.sax.saxutils import escape

_WIDTH, _LINE, _LEFT, _RIGHT, _TOP = 900, 18, 380, 40, 44
_COLORS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#888888", "#dd8833")
_LEAST = 1e-3  # rate of false alarms at the left end of a ROC curve


def dots(title: str, rows: list[dict[str, Any]]) -> str:
    """A line for each case: the share as a dot, its interval as a bar."""
    height = _TOP + _LINE * len(rows) + 30
    return _picture(title, height, _dots(rows, height))


def _dots(rows: list[dict[str, Any]], height: int) -> Iterator[str]:
    for tick in (0, 0.25, 0.5, 0.75, 1):
        x = _across(tick)
        yield f'<line x1="{x}" x2="{x}" y1="{_TOP - 8}" y2="{height - 24}" stroke="#8888" stroke-width="1"/>'
        yield _text(x, height - 10, f"{tick:g}", "middle")
    for place, row in enumerate(rows):
        y = _TOP + _LINE * place + 4
        yield _text(_LEFT - 12, y + 4, f"{row['data']}: {row['case']}", "end")
        if row["low"] is not None:
            low, high = _across(row["low"]), _across(row["high"])
            yield f'<line x1="{low}" x2="{high}" y1="{y}" y2="{y}" stroke="{_COLORS[0]}" stroke-width="3"/>'
        yield f'<circle cx="{_across(row["value"])}" cy="{y}" r="4.5" fill="{_COLORS[0]}"/>'


def roc(title: str, curves: list[dict[str, Any]]) -> str:
    """The share found against the rate of false alarms, which is on a logarithmic scale."""
    height = 380
    return _picture(title, height, _roc(curves, height))


def _roc(curves: list[dict[str, Any]], height: int) -> Iterator[str]:
    bottom = height - 40

    def up(share: float) -> float:
        return round(bottom - share * (bottom - _TOP), 1)

    for tick in (0.001, 0.01, 0.1, 1):
        x = _logarithmic(tick)
        yield f'<line x1="{x}" x2="{x}" y1="{_TOP}" y2="{bottom}" stroke="#8888" stroke-width="1"/>'
        yield _text(x, bottom + 16, f"{tick:g}", "middle")
    for tick in (0, 0.5, 1):
        yield f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{up(tick)}" y2="{up(tick)}" stroke="#8888"/>'
        yield _text(_WIDTH - _RIGHT + 6, up(tick) + 4, f"{tick:g}", "start")
    yield _text((_LEFT + _WIDTH - _RIGHT) / 2, height - 6, "false alarms (share of quiet windows)", "middle")
    for place, curve in enumerate(curves):
        points = [(x, y) for x, y in curve["points"] if x >= _LEAST]
        line = " ".join(f"{_logarithmic(x)},{up(y)}" for x, y in points)
        color = _COLORS[place % len(_COLORS)]
        yield f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="2"/>'
        y = _TOP + 14 + 20 * place
        yield f'<line x1="4" x2="24" y1="{y - 4}" y2="{y - 4}" stroke="{color}" stroke-width="3"/>'
        yield _text(30, y, f"{curve['data']}: {curve['case']}", "start")


def _picture(title: str, height: int, parts: Iterator[str]) -> str:
    style = "text{font:12px sans-serif;fill:#111}@media(prefers-color-scheme:dark){text{fill:#ddd}}"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">'
    inside = "\n".join(
        [f"<style>{style}</style>", f"<title>{escape(title)}</title>", _text(4, 18, title, "start"), *parts]
    )
    return f"{head}\n{inside}\n</svg>\n"


def _text(x: float, y: float, words: str, anchor: str) -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(words)}</text>'


def _across(share: float) -> float:
    return round(_LEFT + share * (_WIDTH - _LEFT - _RIGHT), 1)


def _logarithmic(rate: float) -> float:
    return _across(1 - math.log10(max(rate, _LEAST)) / math.log10(_LEAST))
