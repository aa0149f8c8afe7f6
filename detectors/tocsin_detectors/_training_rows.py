"""The baseline of `membership`: the cells of training rows, and how often honest principals ask about these rows."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tocsin.contract.streams import TIME
from tocsin.contract.windows import Baseline
from tocsin.stats.binomial import binomial_deviate
from tocsin.stats.cells import TABLES, Cells
from tocsin_detectors._alignment import Shape
from tocsin_detectors._dataset_numbers import Dataset
from tocsin_detectors._honest_queries import MODEL, SPELLING, USER, matrix
from tocsin_detectors._query_shapes import aligned_to
from tocsin_detectors._spelling import canonical
from tocsin_detectors._vectors import plain as plain_name

#: Rows that are kept of each dataset.
_ROWS = 250_000
#: A dataset has rows of a model if it has this share of the model's features as numbers.
_SHARE, _FEWEST = 0.5, 3
#: A column is a feature if this share of known queries lies between its extremes: codes and scaled values do not.
_INSIDE = 0.5
#: Kinds of cells, by the width of their intervals in spreads, and their share of features: of equal rows, of rows that
#: differ a little in all features, and of rows that differ in a feature or two.
_KINDS = (
    ((1e-5, 1.0),),
    ((0.5, 1.0), (0.25, 1.0), (0.1, 1.0), (0.03, 1.0)),
    ((1e-5, 0.5), (1e-5, 0.7), (1e-5, 0.85)),
)
#: Of rows that differ, the first kind of cells counts with which the crowd's share is not above this one.
_MOST = 0.03
#: The share of queries about training rows that is usual: of days, this quantile, on at least so many.
_USUAL, _DAYS = 0.9, 3
#: The crowd's share is that of three in four principals, and at least three in a thousand queries.
_CROWD, _LEAST = 0.75, 0.003

_DATASETS_OF = pl.Schema(
    {
        "names": pl.String(),
        "width": pl.Int64(),
        "places": pl.List(pl.Int64),
        "crowd": pl.Float64(),
        "spread": pl.Float64(),
        "middles": pl.List(pl.Float64),
        "spreads": pl.List(pl.Float64),
        "seed": pl.Int64(),
    }
)
_HASHES = [f"cell_{table}" for table in range(TABLES)]
_ROWS_OF = pl.Schema({name: pl.UInt32() for name in _HASHES} | {"since": pl.Int64()})
_SHARES_OF = pl.Schema({"principal": pl.String(), "share": pl.Float64()})

Matrix = NDArray[np.float64]
Hashes = NDArray[np.uint32]
Booleans = NDArray[np.bool_]


class Asked(NamedTuple):
    """What a principal asked about the rows of a dataset.

    Attributes:
        calls: the distinct calls of the principal.
        found: which of them are training rows.
        expected: how many of them are usual.
        deviate: by how many standard deviations the number is above the usual one.
    """

    calls: pl.DataFrame
    found: Booleans
    expected: float
    deviate: float


@dataclass(frozen=True)
class TrainingRows:
    """The rows of a dataset as a model's inputs.

    Attributes:
        dataset: the name of the dataset.
        shape: the shape of the model's vectors.
        places: the places of the features that the dataset has.
        cells: where rows that nearly equal one of them are found.
        rows: the rows' cells, and since when each row is in a snapshot, in microseconds; a random sample if there are many.
        crowd: the share of queries about these rows that is usual for anybody.
        spread: the standard deviation of the number of such queries, in multiples of the binomial one.
        usual: the share that is usual for a principal.
    """

    dataset: str
    shape: Shape
    places: list[int]
    cells: Cells
    rows: pl.DataFrame
    crowd: float = _LEAST
    spread: float = 1.0
    usual: dict[str, float] = field(default_factory=dict)

    @classmethod
    def fit(cls, data: Dataset, shape: Shape, calls: pl.DataFrame) -> list[TrainingRows]:
        """The rows of a dataset in cells of equal rows, and in wider ones; empty if they are no inputs of the model.

        Args:
            data: the rows.
            shape: the shape of the model's vectors.
            calls: the distinct calls of the model on several days, in this shape.
        """
        known = matrix(calls)
        columns = _columns(data.rows, shape, known)
        if len(columns) < max(_FEWEST, _SHARE * shape.width):
            return []
        rows, seed = data.rows.select(columns.values()).to_numpy(), _seed(known)

        def of(kind: tuple[float, float]) -> TrainingRows:
            cells = Cells.of(rows, *kind, seed)
            first = pl.DataFrame(cells.hashes(rows), _HASHES).with_columns(since=data.since)
            first = first.group_by(_HASHES).agg(pl.col("since").min()).sort(_HASHES)
            kept = first.head(_ROWS)  # the smallest hashes are a random sample
            return cls(data.name, shape, list(columns), cells, kept).learned(calls)

        equal, *others = _KINDS
        first = ((found for kind in kinds if (found := of(kind)).crowd <= _MOST) for kinds in others)
        return [*map(of, equal), *(one for found in first for one in itertools.islice(found, 1))]

    def learned(self, calls: pl.DataFrame) -> TrainingRows:
        """The same rows with what is usual, from the distinct calls of several days in the model's shape."""
        days = calls.select(
            "interval", SPELLING, pl.col(USER).alias("pool"), pl.Series("found", self._found(calls))
        )
        days = days.group_by("interval", "pool").agg(
            pl.col("found").sum(), pl.len().alias("asked"), pl.col(SPELLING).drop_nulls().unique()
        )
        share = pl.col("found").sum() / pl.col("asked").sum()
        expected = pl.col("asked") * share
        excess = (pl.col("found") - expected) ** 2 / (expected * (1 - share)).clip(1e-9)
        pools = days.group_by("pool").agg(share.alias("share"), excess.mean().sqrt().alias("spread"))
        names = days.explode(SPELLING).drop_nulls(SPELLING).group_by(SPELLING)
        own = names.agg((pl.col("found") / pl.col("asked")).quantile(_USUAL).alias("share"), pl.len())
        return replace(
            self,
            crowd=max(_quantile(pools["share"]), _LEAST),
            spread=max(_quantile(pools["spread"]), 1.0),
            usual=dict(own.filter(pl.col("len") >= _DAYS).select(SPELLING, "share").iter_rows()),
        )

    def asked(self, calls: pl.DataFrame) -> Iterator[Asked]:
        """What each principal asked, of the distinct calls of the model."""
        calls = aligned_to(calls, self.shape).calls.sort(USER, maintain_order=True)
        if calls.is_empty():
            return
        found = self._found(calls)
        sizes = calls.group_by(USER, maintain_order=True).len()["len"].to_numpy()
        for start, size in zip((np.cumsum(sizes) - sizes).tolist(), sizes.tolist(), strict=True):
            own, hit = calls[start : start + size], found[start : start + size]
            spellings = own[SPELLING].drop_nulls().unique().to_list()
            share = min((self.usual.get(name, self.crowd) for name in spellings), default=self.crowd)
            share = min(max(share, self.crowd), 1.0)
            deviate = binomial_deviate(int(hit.sum()), size, share) / self.spread
            yield Asked(own, hit, size * share, max(deviate, 0.0))

    @cached_property
    def _sorted(self) -> list[tuple[Hashes, NDArray[np.int64]]]:
        """Of each table the cells in order, and since when each has a row; the earliest row of a cell first."""
        tables = (self.rows.select(pl.col(name).alias("cell"), "since") for name in _HASHES)
        ordered = (table.sort("cell", "since") for table in tables)
        return [(table["cell"].to_numpy(), table["since"].to_numpy()) for table in ordered]

    def _found(self, calls: pl.DataFrame) -> Booleans:
        """Which calls are rows of a snapshot that was written before the call."""
        found = np.zeros(len(calls), dtype=np.bool_)
        if self.rows.is_empty():
            return found
        times = calls[TIME].dt.epoch("us").to_numpy()
        asked = self.cells.hashes(matrix(calls)[:, self.places])
        for cells, (known, since) in zip(asked.T, self._sorted, strict=True):
            place = np.minimum(np.searchsorted(known, cells), len(known) - 1)
            found |= (known[place] == cells) & (since[place] < times)
        return found

    def frames(self, model: str) -> dict[str, pl.DataFrame]:
        """The frames to store, each with the model's name as a column."""
        row = (
            *(self.shape.names, self.shape.width, self.places, self.crowd, self.spread),
            *(list(self.cells.middles), list(self.cells.spreads), self.cells.seed),
        )
        frames = {
            "datasets": pl.DataFrame([row], _DATASETS_OF, orient="row"),
            "rows": self.rows.select(*_ROWS_OF),
            "usual": pl.DataFrame(sorted(self.usual.items()), _SHARES_OF, orient="row"),
        }
        key = {MODEL: model, "dataset": self.dataset, "cells": self.cells.width, "part": self.cells.share}
        named = [pl.lit(value).alias(name) for name, value in key.items()]
        return {name: frame.with_columns(*named) for name, frame in frames.items()}

    @classmethod
    def read(cls, baseline: Baseline) -> Iterator[tuple[str, TrainingRows]]:
        """The models of a baseline with the frames of `frames`, each with the rows of one dataset in one kind of cells."""
        for row in baseline.frames["datasets"].iter_rows(named=True):
            of_row = [pl.col(name) == row[name] for name in (MODEL, "dataset", "cells", "part")]
            rows, usual = (baseline.frames[name].filter(*of_row) for name in ("rows", "usual"))
            shares = dict(usual.select(*_SHARES_OF).iter_rows())
            cells = Cells(
                tuple(row["middles"]), tuple(row["spreads"]), row["cells"], row["part"], row["seed"]
            )
            known = row["dataset"], Shape(row["names"], row["width"]), row["places"], cells
            yield row[MODEL], cls(*known, rows.select(*_ROWS_OF), row["crowd"], row["spread"], shares)


def _seed(known: Matrix) -> int:
    """A number that whoever does not know all queries cannot foresee, and that is the same for the same queries."""
    return int.from_bytes(hashlib.sha256(np.ascontiguousarray(known).tobytes()).digest()[:7])


def _columns(rows: pl.DataFrame, shape: Shape, known: Matrix) -> dict[int, str]:
    """The columns of a dataset that are features of a model, by the place of the feature."""
    named = {canonical(plain_name(name)): name for name in rows.columns}
    features = [canonical(plain_name(name.strip())) for name in (shape.names or "").split(",")]
    if len(features) != shape.width:
        features = [canonical(plain_name(name)) for name in rows.columns]
    if len(features) != shape.width:
        return {}
    return {
        place: named[feature]
        for place, feature in enumerate(features)
        if feature in named and _is_alike(rows[named[feature]], known[:, place])
    }


def _is_alike(column: pl.Series, known: Matrix) -> bool:
    """Whether a column of a dataset is on the same scale as a feature of known queries."""
    values, asked = column.fill_nan(None).drop_nulls().to_numpy(), known[np.isfinite(known)]
    if not len(values) or not len(asked):
        return False
    return bool(np.mean((asked >= values.min()) & (asked <= values.max())) >= _INSIDE)


def _quantile(values: pl.Series) -> float:
    return float(np.quantile(values.to_numpy(), _CROWD)) if len(values) else 0.0
