"""Which principals of a window `model_extraction` judges on all of their queries: those with unusual blocks of queries.

All queries get some cheap signs. Of each principal, at most four blocks of fifty queries are compared with honest ones:
the newest, and the one highest in each sign. So the cost of a principal whose queries look honest is bounded. Vectors are
held with 32 bits a value; the principals that are judged on all of their queries are read again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tocsin.contract.findings import Json, Score, Subject
from tocsin.contract.query import Condition
from tocsin.contract.streams import ID, TIME
from tocsin.contract.windows import Window
from tocsin.stats.geometry import Reference
from tocsin.stats.newest_runs import z_of_runs
from tocsin.stats.screening import BLOCK, Signs, chosen
from tocsin.words import count, short
from tocsin_detectors._honest_queries import (
    CONFIDENCE,
    KNOWN,
    LABEL,
    MODEL,
    NAMES,
    SCORE,
    STREAM,
    SURE,
    USER,
    VALUES,
    HonestQueries,
    owner_of,
)
from tocsin_detectors._query_shapes import KEY, PRESENT, WIDTH
from tocsin_detectors._rounded_queries import rounded, signs
from tocsin_detectors._spelling import NOBODY, canonical

#: Principals with at most so many calls of a model are judged on all of them.
FEW = 200
#: A principal is judged on all queries if one block reaches the first part of the threshold, or two the second part: long
#: runs have a smaller normal excess.
_ONE, _TWO = 0.8, 0.35
#: Of the others, the most unusual are judged on all queries, up to this number of queries: a smaller window is judged whole.
_WHOLE = 50_000
#: Share of queries of the blocks that 32 bits cannot tell from an earlier one, from which on all queries are judged.
_ALIKE = 0.05
#: At most so many models are screened, those with the most calls: each needs a scan of its own.
_MOST_MODELS = 8
#: About so many calls are read at once.
_PART = 500_000
#: About so many queries are compared in one call.
_BATCH = 100_000


@dataclass(frozen=True)
class Cleared:
    """A principal (`pool`) whose blocks are like honest ones: the second highest z, and how many queries were compared.

    `part`: how near the blocks are to being unusual, 0 to 1.
    """

    pool: str
    model: str
    z: float
    part: float
    compared: int
    distinct: int


def cleared(
    window: Window, busy: pl.DataFrame, models: Sequence[tuple[str, HonestQueries]], threshold: float
) -> list[Cleared]:
    """The principals and models that need no comparison of all queries; all other pairs do.

    Args:
        window: the window.
        busy: number of calls by spelling of principal and model, with the columns `pool` and `of`.
        models: the models of the baseline.
        threshold: the threshold of the score.
    """
    large = busy.filter(pl.col("count").sum().over("pool", "of") > FEW)
    sizes = dict(large.group_by("of").agg(pl.col("count").sum()).iter_rows())
    known = [(m, k) for m, k in models if sizes.get(canonical(m)) and BLOCK in k.honest.norms]
    known.sort(key=lambda pair: (-sizes[canonical(pair[0])], pair[0]))
    found: list[Cleared] = []
    for model, honest in known[:_MOST_MODELS] if sum(sizes.values()) > _WHOLE else ():
        of_model = large.filter(pl.col("of") == canonical(model))
        owners = dict(
            of_model.group_by("pool", maintain_order=True).agg(pl.col(USER).unique()).sort("pool").iter_rows()
        )
        calls = _read(window, of_model, [*owners], honest)
        found += _cleared(calls, model, owners, honest, threshold)
    found.sort(key=lambda one: (-one.part, one.pool, one.model))
    judged = np.cumsum([one.distinct for one in found])
    return found[int(np.searchsorted(judged, _WHOLE, "right")) :]


def without(busy: pl.DataFrame, clear: Sequence[Cleared]) -> pl.DataFrame:
    """The rows of `busy` without the pairs of principal and model that are cleared."""
    schema = {"pool": pl.String, "of": pl.String}
    pairs = pl.DataFrame([(one.pool, canonical(one.model)) for one in clear], schema, orient="row")
    return busy.join(pairs, on=["pool", "of"], how="anti", maintain_order="left")


def honest_scores(clear: Sequence[Cleared], busy: pl.DataFrame) -> Iterator[Score]:
    """The scores of cleared principals, the highest of each last. `busy` has the times of the `first` calls, too."""
    names = (
        busy.sort("first", USER).group_by("pool", maintain_order=True).agg(pl.col(USER).drop_nulls().first())
    )
    first = dict(names.iter_rows())
    for one in sorted(clear, key=lambda one: one.z):
        user = first[one.pool] or NOBODY
        queries = count(one.distinct, "query", "queries")
        reason = f"{short(user)} sent {queries} to {short(one.model)}, like those of honest clients"
        facts: dict[str, Json] = {
            "model": one.model,
            "distinct queries": one.distinct,
            "compared": one.compared,
        }
        yield Score(Subject("principal", user), one.z, reason, facts)


@dataclass(frozen=True)
class _Model:
    """A model's honest queries, and what the blocks are compared with."""

    known: HonestQueries
    reference: Reference
    signs: Signs


@dataclass(frozen=True)
class _Calls:
    """The distinct calls of one model that fit its baseline, by principal in the order of time."""

    vectors: NDArray[np.float32]
    rows: NDArray[np.uint32]  # the row of each call in `vectors`
    confidence: NDArray[np.float32]
    starts: NDArray[np.intp]
    stops: NDArray[np.intp]


def _read(window: Window, of_model: pl.DataFrame, pools: Sequence[str], known: HonestQueries) -> _Calls:
    code = {name: place for place, name in enumerate(pools)}
    codes = {
        row[USER]: code[row["pool"]] for row in of_model.select(USER, "pool").unique().iter_rows(named=True)
    }
    where = [*KNOWN, Condition(MODEL, "in", of_model[MODEL].unique().sort().to_list())]
    fits = (
        pl.col(NAMES).eq_missing(pl.lit(known.names, pl.String))
        & WIDTH.eq(known.width)
        & (2 * PRESENT >= WIDTH)
    )
    columns = (
        pl.col(USER).replace_strict(codes, default=None, return_dtype=pl.Int32).alias("code"),
        TIME,
        pl.col(ID).hash().alias("id"),
        KEY.alias("key"),
        pl.coalesce(CONFIDENCE, SURE).cast(pl.Float32).alias("confidence"),
        pl.when(fits).then(pl.col(VALUES).cast(pl.List(pl.Float32))).alias("values"),
    )
    return _ordered(
        pl.concat(
            [
                rows.select(columns).filter(pl.col("code").is_not_null()).collect(engine="streaming")
                for rows in _parts(window, where, int(of_model["count"].sum()))
            ]
        ),
        len(pools),
        known.width,
    )


def _parts(window: Window, where: Sequence[Condition], calls: int) -> Iterator[pl.LazyFrame]:
    """The calls in parts of equal time, so that few vectors of 64 bits are in memory at once."""
    number = max(calls // _PART, 1)
    for k in range(number):
        between = (
            Condition(TIME, ">=", window.start + k * window.length / number),
            Condition(TIME, "<", window.start + (k + 1) * window.length / number),
        )
        yield window.scan(
            STREAM, (TIME, ID, USER, MODEL, NAMES, VALUES, CONFIDENCE, SCORE, LABEL), [*where, *between]
        )


def _ordered(frame: pl.DataFrame, pools: int, width: int) -> _Calls:
    """The distinct calls of principals all of whose calls fit. Vectors stay where they are, so that none is copied."""
    values, light = frame["values"], frame.drop("values")
    del frame
    fits = values.is_not_null()
    light = light.with_columns(row=fits.cum_sum() - 1)
    flat = values.drop_nulls().explode()
    del values
    vectors = (flat.fill_null(np.nan) if flat.null_count() else flat).to_numpy().reshape(-1, width)
    if not fits.all():
        light = light.filter(~pl.col("code").is_in(light["code"].filter(~fits).unique().implode()))
    light = light.sort("code", TIME, "id")
    light = light.filter((pl.col("key") + pl.col("code").hash()).is_first_distinct())
    places = np.searchsorted(light["code"].to_numpy(), np.arange(pools + 1))
    confidence = light["confidence"].fill_null(np.nan).to_numpy()
    return _Calls(vectors, light["row"].to_numpy(), confidence, places[:-1], places[1:])


def _cleared(
    calls: _Calls, model: str, owners: Mapping[str, Any], known: HonestQueries, threshold: float
) -> Iterator[Cleared]:
    pools, of_model = [*owners], _Model(known, rounded(known), signs(known))
    first = 0
    while first < len(pools):
        last = int(np.searchsorted(calls.stops, calls.starts[first] + _BATCH, "right"))
        last = min(max(last, first + 1), len(pools))
        some = pools[first:last]
        z = _batch(calls, slice(first, last), some, [owner_of(owners[pool], pool) for pool in some], of_model)
        for place, (worst, second, number) in enumerate(z, first):
            size = int(calls.stops[place] - calls.starts[place])
            part = max(worst / _ONE, second / _TWO) / threshold
            if number and part < 1:
                yield Cleared(pools[place], model, second, part, number * BLOCK, size)
        first = last


def _batch(
    calls: _Calls, part: slice, pools: Sequence[str], owners: Sequence[str], of_model: _Model
) -> list[tuple[float, float, int]]:
    """For each principal: the highest and the second highest z of its blocks, and the number of blocks."""
    starts, stops = calls.starts[part], calls.stops[part]
    offset, stop = int(starts[0]), int(stops[-1])
    given = calls.vectors[calls.rows[offset:stop]]
    values = np.where(np.isnan(given), np.float32(-np.inf), given)
    confidence = calls.confidence[offset:stop]
    place = np.arange(stop - offset) - np.repeat(starts - offset, stops - starts)
    every = of_model.signs.of(np.ascontiguousarray(values.T), confidence, place)
    blocks = chosen(every, starts - offset, stops - offset)
    begin = np.concatenate(blocks).astype(np.intp)
    if not len(begin):
        return [(0.0, 0.0, 0)] * len(owners)
    owner = np.repeat(np.arange(len(owners)), [len(b) for b in blocks])
    # a block and the one before it, of which rows of another principal are left out as rows of missing values
    rows = begin[:, None] + np.arange(-BLOCK, BLOCK)
    before = rows < (starts - offset)[owner][:, None]
    context = values[np.maximum(rows, 0)].astype(np.float64)
    context[before] = np.nan
    inside = rows[:, BLOCK:]
    placed = of_model.reference.place(
        given[inside.ravel()].astype(np.float64), [pools[o] for o in np.repeat(owner, BLOCK).tolist()]
    )
    names = [owners[o] for o in owner.tolist()]
    z, same = z_of_runs(of_model.known.honest, placed.stacked(BLOCK), context, confidence[inside], names)
    z[:, same.mean(axis=1) > _ALIKE] = np.inf
    return _worst(z, owner, len(owners))


def _worst(z: NDArray[np.float64], owner: NDArray[np.intp], owners: int) -> list[tuple[float, float, int]]:
    found = []
    for place in range(owners):
        own = np.sort(z[:, owner == place], axis=1)
        number = own.shape[1]
        worst, second = (float(own[:, -k].max()) if number >= k else 0.0 for k in (1, 2))
        found.append((worst, second, number))
    return found
