"""The model extraction: the attacker among the other principals, and the fidelity of the copy."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import polars as pl

from tocsin.contract.findings import Subject
from tocsin.contract.query import Condition
from tocsin.contract.severities import Severities
from tocsin.pipeline.detecting.settings import severities_of
from tocsin.report.document import Picture
from tocsin.report.pictures import canvas, scores
from tocsin.store.protocol import Store
from tocsin.worker.app import App

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_USER = "user.id"
_NAMED = 4  # peers with the most queries, labelled by name
_LOWEST, _UNJUDGED = 0.05, 0.02  # y of scores near zero, and of principals without a score
_HINT = 0.53  # y of the label beside the line


def draw(
    app: App,
    detector: str,
    rogue: Subject,
    time: tuple[datetime, datetime],
    fidelity: Sequence[tuple[int, float]],
    queries_sent: int | None,
) -> Picture:
    """Principals by different queries and worst score over a time; fidelity of the copy against queries.

    `queries_sent` is the number of queries before the extraction was found.
    """
    peers = _queries(app.store, *time).join(_scores(app.store, detector, *time), on=_USER, how="left")
    own, others = peers.filter(pl.col(_USER) == rogue.id), peers.filter(pl.col(_USER) != rogue.id)
    with canvas.figure(11, 4.0) as figure:
        left, right = figure.subplots(1, 2, width_ratios=[3, 2])
        _peers(left, own, others, detector, severities_of(app.settings, detector))
        _fidelity(right, fidelity, queries_sent)
        return canvas.picture(figure, "extraction", _words(own, others, fidelity, queries_sent), _CAPTION)


_CAPTION = (
    "Left: the different queries and the worst score of every principal in that week. A principal with too few "
    "queries on every day has no score. Right: the share of applicants, unseen by both, on which the copy decides "
    "as the model does."
)


def _queries(store: Store, start: datetime, end: datetime) -> pl.DataFrame:
    rows = store.scan("inference", start, end, [_USER, "tocsin.features.values"])
    return rows.unique().group_by(_USER).agg(pl.len().alias("queries")).sort(_USER).collect()


def _scores(store: Store, detector: str, start: datetime, end: datetime) -> pl.DataFrame:
    rows = scores.newest(store, detector, start, end, Condition("tocsin.subject.type", "==", "principal"))
    return rows.group_by(pl.col("tocsin.subject.id").alias(_USER)).agg(pl.col("ratio").max())


def _words(
    own: pl.DataFrame, others: pl.DataFrame, fidelity: Sequence[tuple[int, float]], queries_sent: int | None
) -> str:
    sentences = [f"{len(own) + len(others)} principals by queries and score."]
    for name, queries, ratio in own.drop_nulls().iter_rows():
        sentences.append(
            f"{name} sent {queries:,} different queries, its score is {ratio:.1f} times the threshold."
        )
    judged = others["ratio"].drop_nulls().to_list()
    if judged:
        sentences.append(f"No other principal is above {max(judged):.2g} times.")
    if fidelity:
        count, share = fidelity[-1]
        sentences.append(f"After {count:,} queries the copy agrees with the model in {share:.1%} of cases.")
    return " ".join([*sentences, f"It was found after {queries_sent:,} queries." if queries_sent else ""])


def _peers(
    axes: Axes, own: pl.DataFrame, others: pl.DataFrame, detector: str, severities: Severities
) -> None:
    scores.shade_severities(axes, severities)
    judged, unjudged = others.drop_nulls(), others.filter(pl.col("ratio").is_null())
    dots: Any = {"marker": "o", "linestyle": "none", "color": canvas.BLUE, "markersize": 6}
    axes.plot(judged["queries"], judged["ratio"].clip(_LOWEST), alpha=0.8, **dots)
    axes.plot(unjudged["queries"], [_UNJUDGED] * len(unjudged), markerfacecolor="none", **dots)
    axes.plot(own["queries"], own["ratio"].fill_null(_UNJUDGED), "*", color=canvas.RED, markersize=16,
              markeredgecolor=canvas.INK)  # fmt: skip
    for place, (name, queries, ratio) in enumerate(judged.sort("queries").tail(_NAMED).iter_rows()):
        aside = (0, -15 if place % 2 else 8)  # names of neighbors do not overlap
        _name(axes, name, (queries, max(ratio, _LOWEST)), aside, ha="center", fontsize=8, color=canvas.SOFT)
    for name, queries, ratio in own.fill_null(_UNJUDGED).iter_rows():
        _name(axes, name, (queries, ratio), (-11, -4), ha="right", fontweight="bold")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.minorticks_off()
    axes.set_ylim(_UNJUDGED / 1.5, max([5.0, *own["ratio"].drop_nulls(), *judged["ratio"]]) * 2)
    axes.set_yticks([_UNJUDGED, _LOWEST, 0.1, 1, 10], ["no score", f"≤ {_LOWEST}", "0.1", "1", "10"])
    ticks = [10**power * digit for power in range(6) for digit in (1, 2, 5)]
    most, least = others["queries"].max(), others["queries"].min()
    axes.set_xticks(ticks)
    axes.set_xlim(0.7 * float(least or 1), 1.6 * max([float(most or 1), *own["queries"]]))  # type: ignore[arg-type]
    axes.xaxis.set_major_formatter(canvas.thousands)
    axes.set_xlabel("different queries in that week")
    axes.set_ylabel("score ÷ threshold")
    axes.set_title(f"The extracting principal among its peers ({detector})")


def _name(
    axes: Axes, text: str, place: tuple[float, float], aside: tuple[float, float], **style: Any
) -> None:
    axes.annotate(canvas.label(text), place, aside, textcoords="offset points", **style)


def _fidelity(axes: Axes, fidelity: Sequence[tuple[int, float]], queries_sent: int | None) -> None:
    counts, shares = [count for count, _ in fidelity], [share for _, share in fidelity]
    axes.plot(counts, shares, "o-", color=canvas.RED, markersize=7, linewidth=2)
    for count, share in fidelity:
        _name(axes, f"{share:.1%}", (count, share), (7, -15), fontsize=9)
    if queries_sent:
        axes.axvline(queries_sent, color=canvas.GREEN, linewidth=2, linestyle="--")
        axes.text(queries_sent, _HINT, f"  found after\n  {queries_sent:,} queries", color=canvas.GREEN)
    axes.set_xlim(0, max([1, *counts]) * 1.15)
    axes.set_ylim(0.5, 1.02)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.grid(axis="y")
    axes.set_xlabel("queries sent")
    axes.set_title("Fidelity of the copy")
