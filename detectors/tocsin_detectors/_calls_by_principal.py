"""The distinct calls of the principals that a detector judges, those of some principals at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import polars as pl

from tocsin.contract.findings import Score
from tocsin.contract.query import COUNT, Condition
from tocsin.contract.streams import ID
from tocsin.contract.windows import Window
from tocsin_detectors._honest_queries import COLUMNS, KNOWN, MODEL, STREAM, USER, distinct
from tocsin_detectors._spelling import changed, pooled

#: About so many calls are read at once, of principals with fewer.
PART = 200_000
#: Of a principal with more calls, a random sample of about so many is read.
MOST = 500_000


def parts(window: Window, least: int) -> Iterator[pl.DataFrame]:
    """The distinct calls of principals with at least `least` calls to a model, with the column `of`: the model's pool.

    In an early evaluation, only those of principals with new calls.
    """
    counts = window.summary(STREAM, [USER, MODEL], [COUNT], KNOWN)
    counts = counts.with_columns(pool=pooled(counts[USER]), of=pooled(counts[MODEL]))
    counts = counts.filter(changed(counts[USER], window))
    counts = counts.filter(pl.col("count").sum().over("pool", "of") >= least)
    pools = counts.group_by("pool").agg(pl.col("count").sum(), pl.col(USER).unique()).sort("count", "pool")
    together = (pl.col("count").cum_sum() - pl.col("count")) // PART
    alone = pl.when(pl.col("count") > PART).then(pl.col("pool"))
    for _, some in pools.with_columns(alone.alias("alone"), part=together).group_by(
        "part", "alone", maintain_order=True
    ):
        calls = distinct(_read(window, some[USER].explode(), int(some["count"].sum())))
        calls = calls.filter(pl.col(USER).is_in(some["pool"].implode()))
        yield calls.with_columns(pooled(calls[MODEL]).alias("of"))


def highest(scores: Iterable[Score]) -> Iterator[Score]:
    """The highest score of each subject, by the subject's id."""
    best: dict[str, Score] = {}
    for score in scores:
        before = best.get(score.subject.id)
        if before is None or score.value > before.value:
            best[score.subject.id] = score
    yield from (best[subject] for subject in sorted(best))


def _read(window: Window, names: pl.Series, number: int) -> Window:
    """The window with the calls of these principals, with too many a random sample of them.

    The sender cannot foresee which calls are drawn: the seed is the baseline.
    """
    named = [] if names.null_count() else [Condition(USER, "in", names.to_list())]
    rows = window.scan(STREAM, COLUMNS, [*KNOWN, *named])
    rows = rows.filter(pl.col(USER).is_in(names.implode(), nulls_equal=True))
    if number > MOST and window.baseline is not None:
        seed = int(window.baseline.digest[:8], 16)
        rows = rows.filter(pl.col(ID).hash(seed) % -(-number // MOST) == 0)
    return window.with_rows({STREAM: rows.collect(engine="streaming")})
