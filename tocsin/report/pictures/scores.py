"""Scores divided by thresholds: for every detector, and for one subject over time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from tocsin.contract.findings import Severity, Subject
from tocsin.contract.query import Condition
from tocsin.contract.severities import Severities
from tocsin.contract.streams import FENCE, INGESTED
from tocsin.report.document import Picture
from tocsin.report.pictures import canvas
from tocsin.report.pictures.canvas import Calendar
from tocsin.store.protocol import Store

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DETECTOR, _START, _END = "tocsin.detector.id", "tocsin.window.start", "tocsin.window.end"
_TYPE, _SUBJECT = "tocsin.subject.type", "tocsin.subject.id"
_SCORE, _THRESHOLD = "tocsin.score", "tocsin.threshold"
_LOWEST, _HIGHEST = 0.05, 30.0  # ratios beyond these are drawn at the edge
_RATIO = pl.when(pl.col(_THRESHOLD) > 0).then(pl.col(_SCORE) / pl.col(_THRESHOLD)).alias("ratio")


def newest(store: Store, detector: str, start: datetime, end: datetime, *more: Condition) -> pl.DataFrame:
    """The newest `ratio` of score to threshold for every subject and window of a detector in a period."""
    key = [_START, _END, _TYPE, _SUBJECT]
    where = [
        Condition(_DETECTOR, "==", detector),
        Condition(_START, "<", end),
        Condition(_END, ">", start),
        *more,
    ]
    columns = [*key, _SCORE, _THRESHOLD, FENCE, INGESTED]
    rows = store.scan("score", columns=columns, where=where).select(*key, FENCE, INGESTED, _RATIO)
    last = pl.col("ratio").sort_by(pl.col(FENCE).fill_null(0), INGESTED).last()
    return rows.filter(pl.col("ratio").is_not_null()).group_by(key).agg(last).sort(key).collect()


def worst(store: Store, start: datetime, end: datetime) -> pl.DataFrame:
    """The worst ratio of each window of each detector, from the newest evaluation. The query aggregates scores to one
    row per evaluation, whatever the number of subjects.
    """
    where = [Condition(_START, "<", end), Condition(_END, ">", start)]
    columns = [_DETECTOR, _START, _END, _SCORE, _THRESHOLD, FENCE]
    rows = store.scan("score", columns=columns, where=where).with_columns(_RATIO, pl.col(FENCE).fill_null(0))
    key = [_DETECTOR, _START, _END]
    each = rows.drop_nulls("ratio").group_by(*key, FENCE).agg(pl.col("ratio").max()).collect()
    return each.sort(FENCE).unique(key, keep="last").drop(FENCE).sort(key)


#: The table of a detector's severities, by its id.
Tables = Callable[[str], Severities]


def draw(ratios: pl.DataFrame, calendar: Calendar, tables: Tables) -> Picture | None:
    """One small chart for each detector in the rows that `worst` returned."""
    detectors = sorted(ratios[_DETECTOR].unique())
    if not detectors:
        return None
    rows = -(-len(detectors) // 2)
    with canvas.figure(11, 1.75 * rows + 0.9) as figure:
        panels = figure.subplots(rows, 2, squeeze=False).flat
        for detector, axes in zip(detectors, panels, strict=False):
            own = ratios.filter(pl.col(_DETECTOR) == detector)
            _panel(axes, detector, own, calendar, tables(detector))
        for unused in list(panels):
            unused.set_visible(False)
        figure.supylabel("score ÷ threshold", color=canvas.SOFT, fontsize=10)
        _legend(figure)
        return canvas.picture(figure, "scores", _words(ratios), calendar.caption(_CAPTION))


_SCALE = (
    "A ratio of 1 or more is a finding. The background shows from which ratio on each severity begins. "
    f"Points at the lower edge are {_LOWEST} or less, at the upper edge {_HIGHEST:g} or more."
)
_CAPTION = (
    "Each point is the worst score of one window divided by its threshold (the line at 1; logarithmic "
    f"scale). {_SCALE}"
)


def _words(ratios: pl.DataFrame) -> str:
    most = ratios.group_by(_DETECTOR).agg(pl.col("ratio").max()).sort(_DETECTOR)
    largest = ", ".join(f"{detector} {ratio:.2g}" for detector, ratio in most.iter_rows())
    return f"Worst score of each window divided by its threshold, by detector. The largest: {largest}."


def draw_subject(
    store: Store, detector: str, subject: Subject, calendar: Calendar, name: str, severities: Severities
) -> Picture | None:
    """The score of one subject in each window of a period."""
    own = Condition(_TYPE, "==", subject.type), Condition(_SUBJECT, "==", subject.id)
    rows = newest(store, detector, calendar.start, calendar.end, *own)
    if rows.is_empty():
        return None
    with canvas.figure(11, 2.3) as figure:
        axes = figure.subplots()
        title = f"{detector}: {subject.type} {canvas.label(subject.id)}"
        _panel(axes, title, rows, calendar, severities, most=12)
        axes.set_ylabel("score ÷ threshold")
        _legend(figure)
        top = rows.row(int(rows["ratio"].arg_max() or 0), named=True)
        above = int((rows["ratio"] >= 1).sum())
        label = (
            f"Score of {subject.type} {subject.id} by {detector} divided by its threshold, in {len(rows)} windows: "
            f"{above} at the threshold or above, the worst {top['ratio']:.2g} times on {top[_START]:%d %B}."
        )
        caption = (
            f"The score of this subject in each window, divided by the threshold (the line at 1). {_SCALE}"
        )
        return canvas.picture(figure, name, label, caption)


def _legend(figure: Figure) -> None:
    from matplotlib.lines import Line2D

    marks = [
        Line2D([], [], color=color, marker=sign, label=severity.value, **canvas.marker(severity))
        for severity, (color, sign) in canvas.SEVERITY.items()
        if severity is not Severity.INFO
    ]
    figure.legend(handles=marks, loc="outside lower center", ncols=len(marks))


def _panel(
    axes: Axes, title: str, rows: pl.DataFrame, calendar: Calendar, severities: Severities, most: int = 5
) -> None:
    canvas.shade(axes, calendar)
    canvas.time_axis(axes, calendar, most=most)
    axes.set_yscale("log")
    axes.set_ylim(_LOWEST * 0.8, _HIGHEST * 1.25)
    axes.set_yticks([0.1, 1, 10], ["0.1", "1", "10"])
    axes.minorticks_off()
    shade_severities(axes, severities)
    times = np.array([canvas.day(start) for start in rows[_START]])
    ratios = rows["ratio"].clip(_LOWEST, _HIGHEST).to_numpy()
    axes.vlines(times, _LOWEST * 0.8, ratios, color=canvas.SOFT, linewidth=0.8, alpha=0.45)
    for severity in (None, Severity.LOW, Severity.MEDIUM, Severity.HIGH, Severity.CRITICAL):
        own = np.array([severities.of(ratio, 1.0) is severity for ratio in rows["ratio"]])
        if severity is None:
            axes.plot(times[own], ratios[own], ".", color=canvas.SOFT, markersize=4)
        else:
            color, sign = canvas.SEVERITY[severity]
            axes.plot(times[own], ratios[own], sign, color=color, **canvas.marker(severity))
    for band in calendar.bands:
        if band.number is not None:
            axes.text(band.middle, _HIGHEST * 1.5, str(band.number), ha="center", fontsize=9)
    axes.set_title(title, fontsize=10)


def shade_severities(axes: Axes, severities: Severities) -> None:
    """Shade an axis of score ÷ threshold by severity, with a line at the threshold."""
    top = 1e4
    for severity, ratio in severities.worst_first():
        axes.axhspan(ratio, top, facecolor=canvas.SEVERITY[severity][0], alpha=0.16, linewidth=0)
        top = ratio
    axes.axhline(1, color=canvas.INK, linewidth=1)
