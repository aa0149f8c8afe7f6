"""The shift: distributions before and after, of the features that changed most and of the model's answers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tocsin.report.document import Picture
from tocsin.report.pictures import canvas
from tocsin.stats.ks import ks_statistic
from tocsin.store.protocol import Store

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]
Time = tuple[datetime, datetime]

_FEATURES = 3
_FEW = 15  # a feature with at most so many values is drawn as bars
_NAMES, _VALUES, _SCORE = "tocsin.features.names", "tocsin.features.values", "tocsin.output.score"


class _Pair(NamedTuple):
    """The values of a feature before and after, and the distance of their distributions, 0 to 1."""

    name: str
    before: Floats
    after: Floats
    distance: float


def draw(store: Store, before: Time, after: Time) -> Picture | None:
    """The features with the greatest shift between two times, and the model's answers."""
    pairs = list(_pairs(store, before, after))
    if not pairs:
        return None
    answers = [pair for pair in pairs if pair.name == _SCORE]
    features = sorted((p for p in pairs if p.name != _SCORE), key=lambda p: -p.distance)[:_FEATURES]
    shown = [*features, *answers]
    with canvas.figure(11, 3.1) as figure:
        panels = figure.subplots(1, len(shown), squeeze=False)[0]
        for axes, pair in zip(panels, shown, strict=True):
            _panel(axes, pair)
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
        means = ", ".join(f"{_title(p.name)} ({p.before.mean():.3g} to {p.after.mean():.3g})" for p in shown)
        return canvas.picture(figure, "shift", f"Distributions before and after. Means: {means}.", _CAPTION)


_CAPTION = (
    "The three features whose distribution changed most from the trusted weeks to the week of the shift, and "
    "the model's answers. The distance is Kolmogorov and Smirnov's: 0 % means equal distributions, 100 % means "
    "distributions without overlap."
)


def _pairs(store: Store, before: Time, after: Time) -> Iterator[_Pair]:
    columns = [_NAMES, _VALUES, _SCORE]
    old, new = (
        store.scan("inference", *time, columns).filter(pl.col(_VALUES).is_not_null()).collect()
        for time in (before, after)
    )
    if old.is_empty() or new.is_empty():
        return
    names = str(new[_NAMES][-1]).split(",")
    old, new = (rows.filter(pl.col(_VALUES).list.len() == len(names)) for rows in (old, new))
    for place, name in enumerate(names):
        value = pl.col(_VALUES).list.get(place)
        pair = _pair(name.partition(":")[0], old.select(value).to_series(), new.select(value).to_series())
        if pair is not None:
            yield pair
    answers = _pair(_SCORE, old[_SCORE], new[_SCORE])
    if answers is not None:
        yield answers


def _pair(name: str, before: pl.Series, after: pl.Series) -> _Pair | None:
    was, now = (np.sort(s.filter(s.is_finite()).to_numpy()) for s in (before, after))
    return _Pair(name, was, now, ks_statistic(was, now)) if len(was) and len(now) else None


def _title(name: str) -> str:
    return "the model's answer" if name == _SCORE else canvas.label(name)


def _panel(axes: Axes, pair: _Pair) -> None:
    both = np.concatenate([pair.before, pair.after])
    values = np.unique(both)
    if len(values) <= _FEW:
        middle = (values[1:] + values[:-1]) / 2
        edges = np.concatenate([[values[0] - 0.5], middle, [values[-1] + 0.5]])
    else:
        low, high = np.quantile(both, [0.005, 0.995]).tolist()
        edges = np.linspace(low, high, 26)
    for sample, name, color in (
        (pair.before, "before (trusted weeks)", canvas.BLUE),
        (pair.after, "after (week of the shift)", canvas.ORANGE),
    ):
        share = np.histogram(sample, edges)[0] / len(sample)
        axes.stairs(share, edges, fill=True, color=color, alpha=0.35, linewidth=0)
        axes.stairs(share, edges, color=color, linewidth=1.8, label=name,
                    linestyle="-" if color == canvas.BLUE else (0, (4, 1.5)))  # fmt: skip
    axes.set_title(f"{_title(pair.name)}\n", fontsize=10)
    axes.text(
        0, 1.02, f"distance {pair.distance:.0%}", transform=axes.transAxes, fontsize=9, color=canvas.SOFT
    )
    axes.xaxis.set_major_formatter(canvas.thousands)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.locator_params(nbins=4)
