"""How each detector's worst score stood to its threshold, window by window."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from tocsin.demo.page import Html
from tocsin.demo.pictures import canvas
from tocsin.findings import SEVERITY_TABLE, Severity, severity_of
from tocsin.frames import NEWEST_LAST
from tocsin.store.protocol import Store
from tocsin.streams import FENCE, INGESTED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DETECTOR, _START, _END = "tocsin.detector.id", "tocsin.window.start", "tocsin.window.end"
_LOWEST, _HIGHEST = 0.05, 30.0  # scores beyond stand at the edge


def newest(store: Store) -> pl.DataFrame:
    """The newest score of every detector, window and subject, with its `ratio` to the threshold."""
    key = [_DETECTOR, _START, _END, "tocsin.subject.type", "tocsin.subject.id"]
    rows = store.scan("score", columns=[*key, "tocsin.score", "tocsin.threshold", FENCE, INGESTED]).collect()
    rows = rows.sort(NEWEST_LAST, maintain_order=True).unique(key, keep="last", maintain_order=True)
    ratio = pl.when(pl.col("tocsin.threshold") > 0).then(pl.col("tocsin.score") / pl.col("tocsin.threshold"))
    return rows.with_columns(ratio.alias("ratio")).filter(pl.col("ratio").is_not_null()).sort(key)


def draw(store: Store, attacks: Mapping[int, str]) -> Html:
    """Small multiples, one a detector that judged something."""
    worst = newest(store).group_by(_DETECTOR, _START, _END).agg(pl.col("ratio").max()).sort(_START)
    detectors = sorted(worst[_DETECTOR].unique())
    if not detectors:
        return Html("")
    numbers = {week: place + 1 for place, week in enumerate(attacks)}
    rows = -(-len(detectors) // 2)
    with canvas.figure(11, 1.75 * rows + 0.9) as figure:
        panels = figure.subplots(rows, 2, squeeze=False).flat
        for detector, axes in zip(detectors, panels, strict=False):
            _panel(axes, detector, worst.filter(pl.col(_DETECTOR) == detector), numbers)
        for unused in list(panels):
            unused.set_visible(False)
        figure.supylabel("score ÷ threshold", color=canvas.SOFT, fontsize=10)
        _legend(figure)
        return canvas.inline(figure, "scores", _words(worst), _CAPTION)


_CAPTION = (
    "Each point is the worst score of one window divided by its threshold (the line at 1; logarithmic "
    "scale). From the line on it is a finding: low to 1.5, medium to 2, high to 3, critical above. Numbers "
    "mark the attacks. "
    f"Points at the lower edge are {_LOWEST} or less, at the upper {_HIGHEST:g} or more."
)


def _words(worst: pl.DataFrame) -> str:
    most = worst.group_by(_DETECTOR).agg(pl.col("ratio").max()).sort(_DETECTOR)
    said = ", ".join(f"{detector} {ratio:.2g}" for detector, ratio in most.iter_rows())
    return f"Worst score of each window divided by its threshold, by detector. The largest: {said}."


def _legend(figure: Figure) -> None:
    from matplotlib.lines import Line2D

    marks = [
        Line2D([], [], color=color, marker=sign, label=severity.value, **canvas.marker(severity))
        for severity, (color, sign) in canvas.SEVERITY.items()
        if severity is not Severity.INFO
    ]
    figure.legend(handles=marks, loc="outside lower center", ncols=len(marks))


def _panel(axes: Axes, detector: str, rows: pl.DataFrame, numbers: Mapping[int, int]) -> None:
    canvas.shade_weeks(axes, numbers)
    canvas.weeks_axis(axes, named=False)
    axes.set_xticks([canvas.day(canvas.week(n)) for n in (0, 4, 8, 12)])
    axes.set_xticklabels([f"{canvas.week(n):%d %b}" for n in (0, 4, 8, 12)])
    axes.set_yscale("log")
    axes.set_ylim(_LOWEST * 0.8, _HIGHEST * 1.25)
    axes.set_yticks([0.1, 1, 10], ["0.1", "1", "10"])
    axes.minorticks_off()
    shade_severities(axes)
    times = np.array([canvas.day(start) for start in rows[_START]])
    ratios = rows["ratio"].clip(_LOWEST, _HIGHEST).to_numpy()
    axes.vlines(times, _LOWEST * 0.8, ratios, color=canvas.SOFT, linewidth=0.8, alpha=0.45)
    for severity in (None, Severity.LOW, Severity.MEDIUM, Severity.HIGH, Severity.CRITICAL):
        own = np.array([severity_of(ratio, 1.0) is severity for ratio in rows["ratio"]])
        if severity is None:
            axes.plot(times[own], ratios[own], ".", color=canvas.SOFT, markersize=4)
        else:
            color, sign = canvas.SEVERITY[severity]
            axes.plot(times[own], ratios[own], sign, color=color, **canvas.marker(severity))
    for week, number in numbers.items():
        axes.text(canvas.day(canvas.week(week)) + 3.5, _HIGHEST * 1.5, str(number), ha="center", fontsize=9)
    axes.set_title(detector, fontsize=10)


def shade_severities(axes: Axes) -> None:
    """Shade an axis of score ÷ threshold by severity, with a line at the threshold."""
    top = 1e4
    for ratio, severity in SEVERITY_TABLE:
        axes.axhspan(ratio, top, facecolor=canvas.SEVERITY[severity][0], alpha=0.16, linewidth=0)
        top = ratio
    axes.axhline(1, color=canvas.INK, linewidth=1)
