"""What happened when: events a day of every stream over the twelve weeks, and alerts by detector."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from tocsin.alerts import Alert
from tocsin.demo.lender import START, WEEKS
from tocsin.demo.page import Html
from tocsin.demo.pictures import canvas
from tocsin.findings import Severity
from tocsin.store.protocol import Store
from tocsin.streams import TIME

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: The streams of the story, and what one event of each is.
STREAMS: Mapping[str, str] = {
    "inference": "calls of the model",
    "access": "registry accesses",
    "pipeline": "training jobs",
    "dataset": "feed deliveries",
}
_LANE = 0.3  # inches


def draw(store: Store, alerts: Sequence[Alert], detectors: Sequence[str], attacks: Mapping[int, str]) -> Html:
    """Events and alerts; `attacks` names the attack of a week."""
    lanes = max(len(detectors), 1)
    heights = [0.8, 1.1, 0.9, 0.5, 0.5, _LANE * lanes]
    with canvas.figure(11, sum(heights) + 1.4) as figure:
        axes = figure.subplots(len(heights), height_ratios=heights)
        numbers = {week: place + 1 for place, week in enumerate(attacks)}
        for one in axes:
            canvas.shade_weeks(one, numbers)
            canvas.weeks_axis(one, named=one is axes[-1])
            one.set_yticks([])
            one.spines["left"].set_visible(False)
        _headings(axes[0], attacks)
        for one, (stream, what) in zip(axes[1:], STREAMS.items(), strict=False):
            _events(one, _daily(store, stream), f"{what}\na day")
        _alerts(axes[-1], alerts, detectors)
        return canvas.inline(figure, "timeline", _words(alerts, attacks), _CAPTION)


_CAPTION = (
    "Alerts stand in the lane of their detector; the bar is the time over which its windows had findings. "
    "Blue weeks are quiet, red ones hold an attack."
)


def _words(alerts: Sequence[Alert], attacks: Mapping[int, str]) -> str:
    said = ", ".join(f"week {week + 1} {name}" for week, name in attacks.items())
    first = {a.detector: f"{a.started:%d %B}" for a in alerts if a.severity.rank >= Severity.HIGH.rank}
    high = ", ".join(f"{detector} on {date}" for detector, date in sorted(first.items()))
    return (
        f"Events a day and alerts over {WEEKS} weeks. Attacks: {said or 'none'}. "
        f"Alerts of high or above: {high or 'none'}."
    )


def _headings(axes: Axes, attacks: Mapping[int, str]) -> None:
    axes.spines["bottom"].set_visible(False)
    axes.set_ylim(0, 1)
    for name, start, end in canvas.phases():
        middle = (canvas.day(start) + canvas.day(end)) / 2
        axes.text(middle, 0.5, name, ha="center", va="center", color=canvas.SOFT)
    for number, (week, name) in enumerate(attacks.items(), 1):
        middle = canvas.day(canvas.week(week)) + 3.5
        axes.text(middle, 0.95, str(number), ha="center", va="top", fontweight="bold")
        words = "\n".join(textwrap.wrap(name, 12)[:3])
        axes.text(middle, 0.62, words, ha="center", va="top", fontsize=7.5)


def _daily(store: Store, stream: str) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    days = (pl.col(TIME) - START).dt.total_days().alias("day")
    found = store.scan(stream, START, START + timedelta(weeks=WEEKS), [TIME]).group_by(days).len().collect()
    counted = np.zeros(7 * WEEKS, np.int64)
    counted[found["day"].to_numpy()] = found["len"].to_numpy()
    return counted


def _events(axes: Axes, counted: np.ndarray[tuple[int], np.dtype[np.int64]], name: str) -> None:
    edges = canvas.day(START) + np.arange(len(counted) + 1)
    axes.stairs(counted, edges, fill=True, color=canvas.BLUE, alpha=0.35, linewidth=0)
    axes.stairs(counted, edges, color=canvas.BLUE, linewidth=1)
    axes.set_ylim(0, max(counted.max(), 1) * 1.15)
    axes.set_yticks([int(counted.max())] if counted.max() else [], minor=False)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.text(-0.035, 0.5, name, transform=axes.transAxes, ha="right", va="center", color=canvas.SOFT)


def _alerts(axes: Axes, alerts: Sequence[Alert], detectors: Sequence[str]) -> None:
    lanes = {detector: place for place, detector in enumerate(detectors)}
    axes.set_ylim(max(len(lanes), 1) - 0.5, -0.5)
    axes.set_yticks(list(lanes.values()), list(lanes))
    axes.grid(axis="y")
    for alert in sorted(alerts, key=lambda a: a.severity.rank):
        if alert.detector not in lanes:
            continue
        color, marker = canvas.SEVERITY[alert.severity]
        start, end, lane = canvas.day(alert.started), canvas.day(alert.window_end), lanes[alert.detector]
        axes.plot([start, end], [lane, lane], color=color, linewidth=4, solid_capstyle="butt", alpha=0.7)
        axes.plot(start, lane, marker, color=color, **canvas.marker(alert.severity))
    shown = [s for s in Severity if any(a.severity is s for a in alerts)]
    for severity in shown:
        color, marker = canvas.SEVERITY[severity]
        axes.plot([], [], marker, color=color, label=f"{severity.value} alert", **canvas.marker(severity))
    if shown:
        axes.figure.legend(loc="outside lower center", ncols=len(shown))
