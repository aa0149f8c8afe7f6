"""The timeline of a report: events by stream and alerts by detector."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from tocsin.contract.findings import Severity
from tocsin.report.counts import HOURLY, Counted
from tocsin.report.document import Picture
from tocsin.report.history import RaisedAlert
from tocsin.report.pictures import canvas
from tocsin.report.pictures.canvas import Band, Calendar

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LANE = 0.3  # inches
_HEIGHTS = {"inference": 1.1, "access": 0.9}  # of the streams with the most events
_HEIGHT = 0.55
_NARROW = 3.9  # inches: the width of the picture for a narrow screen
_NEWEST = 14  # bins in that picture
_HOURLY = 48  # or all bins, if they are hours


def draw(
    counted: Counted, alerts: Sequence[RaisedAlert], detectors: Sequence[str], calendar: Calendar
) -> Picture | None:
    """Events of each stream that has any, and alerts in the lane of their detector.

    The picture for a narrow screen shows the newest bins only.
    """
    streams = [stream for stream, numbers in counted.by_stream.items() if sum(numbers)]
    if not streams and not alerts:
        return None
    newest, cut = _newest(counted), calendar
    if newest.edges[0] > calendar.start:
        cut = Calendar(newest.edges[0], calendar.end, _within(calendar, newest.edges[0]), (), calendar.note)
    recent = [alert for alert in alerts if alert.ended >= cut.start]
    small = _drawn(newest, recent, streams, detectors, cut, narrow=True)
    return replace(_drawn(counted, alerts, streams, detectors, calendar), narrow=small)


def _newest(counted: Counted) -> Counted:
    most = _HOURLY if counted.unit == HOURLY else _NEWEST
    by_stream = {stream: numbers[-most:] for stream, numbers in counted.by_stream.items()}
    return Counted(counted.edges[-most - 1 :], by_stream, counted.unit)


def _within(calendar: Calendar, start: datetime) -> list[Band]:
    return [replace(band, start=max(band.start, start)) for band in calendar.bands if band.end > start]


def _drawn(
    counted: Counted,
    alerts: Sequence[RaisedAlert],
    streams: Sequence[str],
    detectors: Sequence[str],
    calendar: Calendar,
    *,
    narrow: bool = False,
) -> Picture:
    heading = [0.8] if calendar.bands else []
    heights = [*heading, *(_HEIGHTS.get(s, _HEIGHT) for s in streams), _LANE * max(len(detectors), 1)]
    gaps = 0.3 * len(streams) if narrow else 0.0
    with canvas.figure(_NARROW if narrow else 11, sum(heights) + gaps + 1.4) as figure:
        axes = list(figure.subplots(len(heights), squeeze=False, height_ratios=heights)[:, 0])
        for one in axes:
            canvas.shade(one, calendar)
            canvas.time_axis(one, calendar, named=one is axes[-1], most=4 if narrow else canvas.MOST_TICKS)
            one.set_yticks([])
            one.spines["left"].set_visible(False)
        if heading:
            _headings(axes[0], calendar)
        for one, stream in zip(axes[len(heading) :], streams, strict=False):
            _events(one, counted, stream, narrow=narrow)
        _alerts(axes[-1], alerts, detectors, columns=2 if narrow else len(Severity))
        name = "timeline-narrow" if narrow else "timeline"
        return canvas.picture(figure, name, _words(alerts, calendar), _caption(calendar, narrow=narrow))


def _caption(calendar: Calendar, *, narrow: bool) -> str:
    caption = calendar.caption(
        "Each alert is in the lane of its detector. The bar spans the windows with findings of the alert."
    )
    if not narrow:
        return caption
    return f"From {calendar.start:%d %B %Y} on; a wider screen shows the whole period. {caption}"


def _words(alerts: Sequence[RaisedAlert], calendar: Calendar) -> str:
    first = {
        a.detector: f"{a.started:%d %B}" for a in reversed(alerts) if a.severity.rank >= Severity.HIGH.rank
    }
    high = ", ".join(f"{detector} on {date}" for detector, date in sorted(first.items()))
    bands = ", ".join(f"{band.name} from {band.start:%d %B}" for band in calendar.bands)
    marked = f" Marked: {bands}." if bands else ""
    return (
        f"Events by stream and alerts from {calendar.start:%d %B %Y} to {calendar.end:%d %B %Y}.{marked} "
        f"Alerts of high or above: {high or 'none'}."
    )


def _headings(axes: Axes, calendar: Calendar) -> None:
    axes.spines["bottom"].set_visible(False)
    axes.set_ylim(0, 1)
    for band in calendar.bands:
        if band.number is None:
            axes.text(band.middle, 0.5, band.name, ha="center", va="center", color=canvas.SOFT)
        else:
            axes.text(band.middle, 0.95, str(band.number), ha="center", va="top", fontweight="bold")
            words = "\n".join(textwrap.wrap(band.name, 12)[:3])
            axes.text(band.middle, 0.62, words, ha="center", va="top", fontsize=7.5)


def _events(axes: Axes, counted: Counted, stream: str, *, narrow: bool) -> None:
    edges = np.array([canvas.day(edge) for edge in counted.edges])
    numbers = np.array(counted.by_stream[stream])
    axes.stairs(numbers, edges, fill=True, color=canvas.BLUE, alpha=0.35, linewidth=0)
    axes.stairs(numbers, edges, color=canvas.BLUE, linewidth=1)
    axes.set_ylim(0, max(numbers.max(), 1) * 1.15)
    axes.set_yticks([numbers.max()], minor=False)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    if narrow:
        axes.set_title(f"{stream} {counted.unit}", fontsize=9, fontweight="normal", color=canvas.SOFT, pad=3)
        return
    name = f"{stream}\n{counted.unit}"
    axes.text(-0.035, 0.5, name, transform=axes.transAxes, ha="right", va="center", color=canvas.SOFT)


def _alerts(axes: Axes, alerts: Sequence[RaisedAlert], detectors: Sequence[str], *, columns: int) -> None:
    lanes = {detector: place for place, detector in enumerate(detectors)}
    axes.set_ylim(max(len(lanes), 1) - 0.5, -0.5)
    axes.set_yticks(list(lanes.values()), list(lanes))
    axes.grid(axis="y")
    for alert in sorted(alerts, key=lambda a: a.severity.rank):
        if alert.detector not in lanes:
            continue
        color, marker = canvas.SEVERITY[alert.severity]
        start, end, lane = canvas.day(alert.started), canvas.day(alert.ended), lanes[alert.detector]
        axes.plot([start, end], [lane, lane], color=color, linewidth=4, solid_capstyle="butt", alpha=0.7)
        axes.plot(start, lane, marker, color=color, **canvas.marker(alert.severity))
    present = [s for s in Severity if any(a.severity is s for a in alerts)]
    for severity in present:
        color, marker = canvas.SEVERITY[severity]
        axes.plot([], [], marker, color=color, label=f"{severity.value} alert", **canvas.marker(severity))
    if present:
        axes.figure.legend(loc="outside lower center", ncols=min(len(present), columns))
