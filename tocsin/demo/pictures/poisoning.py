"""The poisoned feed: the labels of the ring's kind of applicant by week, and their effect on the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from tocsin.contract.streams import TIME
from tocsin.demo.attacks import RING, Poisoned
from tocsin.demo.data import LABEL
from tocsin.demo.weeks import week
from tocsin.errors import SnapshotError
from tocsin.pipeline.detecting.source import StoreSource
from tocsin.report.document import Picture
from tocsin.report.pictures import canvas
from tocsin.store.protocol import Store

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw(store: Store, poisoned: Poisoned | None, attacked: int) -> Picture | None:
    """Labels of applicants two months behind, by week; approved fraud without and with the poisoned feed."""
    weeks = _labels(store)
    if not weeks and poisoned is None:
        return None
    with canvas.figure(11, 3.6) as figure:
        left, right = figure.subplots(1, 2, width_ratios=[3, 2])
        _by_week(left, weeks, attacked)
        if poisoned is None:
            right.set_visible(False)
        else:
            _approved(right, poisoned)
        return canvas.picture(figure, "poisoning", _words(weeks, poisoned, attacked), _CAPTION)


_CAPTION = (
    "Left: the feed's labels of applicants who are two months or more behind with their payments. Right: how many "
    "defaulters of this kind, unseen in training, the model approves after training on the clean feed and on the "
    "poisoned one."
)


def _labels(store: Store) -> dict[int, tuple[int, int]]:
    """The number of labels "default" and "good" for the ring's kind of applicant, by week of delivery."""
    source, found = StoreSource(store), {}
    snapshots = store.scan("dataset", columns=[TIME, "tocsin.dataset.digest"]).sort(TIME).collect()
    for time, digest in snapshots.iter_rows():
        try:
            rows = source.snapshot(digest).filter(RING).select(pl.col(LABEL) == 1).collect().to_series()
        except (SnapshotError, pl.exceptions.ColumnNotFoundError):
            continue
        found[(time - week(0)).days // 7] = (int(rows.sum()), int((~rows).sum()))
    return found


def _words(weeks: dict[int, tuple[int, int]], poisoned: Poisoned | None, attacked: int) -> str:
    caption = ""
    if attacked in weeks:
        bad, good = weeks[attacked]
        caption = f"In week {attacked + 1} {bad} applicants two months behind are labelled default and {good} good. "
    if poisoned:
        caption += f"Of {poisoned.defaulters} defaulters the model approves {poisoned.approved_before} "
        caption += f"without the poison and {poisoned.approved_after} with it."
    return caption


def _by_week(axes: Axes, weeks: dict[int, tuple[int, int]], poisoned: int) -> None:
    places = np.array(sorted(weeks))
    bad = np.array([weeks[p][0] for p in places])
    good = np.array([weeks[p][1] for p in places])
    axes.axvspan(poisoned - 0.5, poisoned + 0.5, facecolor=canvas.RED, alpha=0.08, linewidth=0)
    axes.bar(places, bad, 0.7, color=canvas.BLUE, label="labelled default")
    axes.bar(places, good, 0.7, bottom=bad, color=canvas.ORANGE, hatch="///", edgecolor=canvas.PAPER,
             linewidth=0, label="labelled good")  # fmt: skip
    axes.set_xticks(places, [str(p + 1) for p in places])
    axes.set_xlabel("week")
    axes.set_ylabel("applicants")
    axes.set_ylim(0, float((bad + good).max(initial=1)) * 1.25)
    axes.legend(loc="upper left", ncols=2)
    axes.set_title("Labels of applicants two months behind")


def _approved(axes: Axes, poisoned: Poisoned) -> None:
    values = [poisoned.approved_before, poisoned.approved_after]
    axes.barh([1, 0], [poisoned.defaulters] * 2, 0.55, color=canvas.LINE, alpha=0.5)
    axes.barh([1, 0], values, 0.55, color=[canvas.BLUE, canvas.RED])
    for place, value in zip((1, 0), values, strict=True):
        share = value / max(poisoned.defaulters, 1)
        inside = share > 0.6
        color, side = (canvas.PAPER, "right") if inside else (canvas.INK, "left")
        axes.text(value, place, f"  {value:,} ({share:.0%})  ", va="center", ha=side, color=color,
                  fontweight="bold")  # fmt: skip
    axes.set_yticks([1, 0], ["trained on the\nclean feed", "trained on the\npoisoned feed"])
    axes.set_ylim(-0.5, 1.5)
    axes.set_xlim(0, poisoned.defaulters)
    axes.set_xlabel(f"approved, of {poisoned.defaulters:,} defaulters")
    axes.set_title("Fraud that the model approves")
