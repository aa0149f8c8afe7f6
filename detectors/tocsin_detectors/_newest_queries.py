"""Which principals an early evaluation judges on all of their queries: those whose newest queries are unusual.

Otherwise, each early evaluation would read and compare all queries of principals that send queries all day. The final
evaluation judges every principal on all queries.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl

from tocsin.contract.query import Condition, Measure
from tocsin.contract.streams import INGESTED, TIME
from tocsin.contract.windows import Window
from tocsin.stats.extraction import SIZES
from tocsin.stats.newest_runs import Many, highest
from tocsin_detectors._honest_queries import (
    CONFIDENCE,
    MODEL,
    SPELLING,
    USER,
    HonestQueries,
    distinct,
    matrix,
    owner_of,
)
from tocsin_detectors._spelling import canonical, pooled

#: The rows of a principal must grow by this factor for the next early evaluation. The cost is that of the newest queries.
GROWTH = 1.05
#: Of a principal, at least so many of the newest calls are judged first, and all since the last trigger.
_NEWEST, _SHARE = SIZES[3], 1 - 1 / GROWTH
#: A principal is judged on all queries if the newest reach this part of the threshold. Sub-windows of all queries have
#: other limits than those of the newest, so the two scores of one attack differ.
_PART = 0.7
#: The time of a principal's first call, and the ingest times of its first and of its last call to arrive. The sender chooses
#: the event time, so it does not say what is new.
TIMES = (
    Measure("first", "min", TIME),
    Measure("arrived", "min", INGESTED),
    Measure("last", "max", INGESTED),
)


def unusual(
    window: Window,
    busy: pl.DataFrame,
    models: Sequence[tuple[str, HonestQueries]],
    runs: int,
    threshold: float,
) -> pl.DataFrame:
    """The principals (`pool`) and models (`of`) whose newest queries reach a part of the threshold.

    Args:
        window: a window that is evaluated early.
        busy: the number of calls by spelling, with the columns `USER`, `pool`, `count`, `arrived` and `last`.
        models: the models of the baseline.
        runs: maximum number of runs of each size that are judged for a principal.
        threshold: the threshold of the score.
    """
    found = set[tuple[str, str]]()
    for calls in _newest(window, busy):
        for model, known in models:
            of_model = known.aligned(calls.filter(pl.col("of") == canonical(model))).calls
            enough = of_model.filter(pl.len().over(USER) >= min(known.honest.norms, default=SIZES[0]))
            if not enough.is_empty():
                pools, z = _highest(enough, known, runs)
                found |= {(pool, canonical(model)) for pool in pools.filter(z >= _PART * threshold)}
    return pl.DataFrame(sorted(found), {"pool": pl.String, "of": pl.String}, orient="row")


def _highest(calls: pl.DataFrame, known: HonestQueries, runs: int) -> tuple[pl.Series, pl.Series]:
    """The principals of calls to one model, and the highest z of each."""
    parts = calls.group_by(USER, maintain_order=True).agg(pl.len(), pl.col(SPELLING).unique())
    stops = np.cumsum(parts["len"].to_numpy()).astype(np.intp)
    names = [owner_of(spellings, pool) for pool, spellings in parts.select(USER, SPELLING).iter_rows()]
    placed = known.reference.place(matrix(calls), calls[USER].to_list())
    confidence = calls[CONFIDENCE].fill_null(np.nan).to_numpy()
    many = Many(placed, confidence, names, np.concatenate([[0], stops[:-1]]).astype(np.intp), stops)
    return parts[USER], pl.Series(highest(known.honest, many, runs))


def _newest(window: Window, busy: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """The calls of each principal that arrived last, read together for principals with similar numbers of calls.

    The ingest time since which calls are read is estimated from the rate at which the principal's calls arrive. All calls
    of a principal are read if they arrived together, or have no ingest time.
    """
    pools = busy.group_by("pool").agg(pl.col("count").sum(), pl.col("arrived").min(), pl.col("last").max())
    part = (_NEWEST / pl.col("count")).clip(_SHARE, 1)
    pools = pools.with_columns(
        since=(pl.col("last") - (pl.col("last") - pl.col("arrived")) * part),
        level=(pl.col("count") / _NEWEST).clip(1).log(4).floor(),
    )
    for _, alike in pools.group_by("level", maintain_order=True):
        known = not alike["since"].null_count()
        since = [Condition(INGESTED, ">=", alike["since"].min())] if known else []
        names = busy.filter(pl.col("pool").is_in(alike["pool"].implode()))[USER].unique()
        named = [] if names.null_count() else [Condition(USER, "in", names.to_list())]
        calls = distinct(window, where=[*since, *named]).join(
            alike.select(pl.col("pool").alias(USER), "since"), on=USER, maintain_order="left"
        )
        new = pl.col("since").is_null() | (pl.col(INGESTED) >= pl.col("since"))
        calls = calls.filter(new.fill_null(value=True))
        yield calls.with_columns(pooled(calls[MODEL]).alias("of"))
