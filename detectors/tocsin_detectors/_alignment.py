"""Aligns feature vectors of any shape with the features of a baseline.

The caller of a model chooses the order, spelling and number of features. Vectors that name the baseline's features are
aligned by name, and vectors of the same length by place. Only the others cannot be judged. Vectors that carry many further
features are judged by the baseline's features, and are reported as well: the values that the model answers could stand in
the further ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tocsin_detectors._spelling import canonical
from tocsin_detectors._vectors import NAMES, VALUES, plain

#: Number of features of a call that the baseline does not have.
FURTHER = "further"
_WIDTH = "width"
#: Share of the baseline's features that a vector must name to be aligned by name.
_ENOUGH = 0.5
#: So many further features, and with those that are lacking such a share of the baseline's, make a vector unclear.
_SEVERAL, _MANY = 2, 1 / 3

Places = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Shape:
    """The shape of a baseline's vectors: feature names joined by commas (None: without names), and their number."""

    names: str | None
    width: int

    def places(self, names: str | None, width: int) -> Places | None:
        """For each feature of this shape its place in a vector of another shape; -1 if the vector lacks the feature.

        Returns:
            None if vectors of the other shape cannot be aligned.
        """
        if (names, width) == (self.names, self.width):
            return np.arange(self.width)
        ours, theirs = _features(self.names, self.width), _features(names, width)
        if ours and theirs:
            found = {name: place for place, name in reversed(list(enumerate(theirs)))}
            places = np.array([found.get(name, -1) for name in ours], dtype=np.int64)
            if np.count_nonzero(places >= 0) >= _ENOUGH * self.width:
                return places
        return np.arange(self.width) if width == self.width else None

    def further(self, width: int, places: Places) -> tuple[int, bool]:
        """The number of features of a vector that this shape lacks, and whether they make the vector unclear."""
        known = len(np.unique(places[places >= 0]))
        lacking = np.count_nonzero(places < 0)
        further = width - known
        return further, is_unclear(further, int(lacking), self.width)


def is_unclear(further: int, lacking: int, known: int) -> bool:
    """Whether the values that the model answers could stand in features that a baseline lacks.

    One feature more, or one in the place of another, is a usual change of a schema.

    Args:
        further: number of features that the baseline lacks.
        lacking: number of the baseline's features that are lacking.
        known: number of the baseline's features.
    """
    return further >= min(_SEVERAL, max(known, 1)) and further + lacking >= _MANY * known


def _features(names: str | None, width: int) -> list[str]:
    """Canonical feature names; empty if there are no names or their number is wrong."""
    features = [canonical(plain(name.strip())) for name in names.split(",")] if names else []
    return features if len(features) == width else []


@dataclass(frozen=True, slots=True)
class Aligned:
    """Calls whose vectors have the baseline's shape; how many had another shape; and the calls that cannot be judged.

    A call with many further features is in both frames. `calls` has the column `FURTHER`, `rest` the vectors as sent.
    """

    calls: pl.DataFrame
    reshaped: int
    rest: pl.DataFrame


def align(calls: pl.DataFrame, shape: Shape) -> Aligned:
    """Give the vectors of calls the shape of a baseline. A feature that a vector lacks is null; others are left out.

    The cost grows with the number of values and of different shapes.
    """
    columns = calls.columns
    calls = calls.with_columns(pl.col(VALUES).list.len().cast(pl.Int64).alias(_WIDTH))
    same = pl.col(NAMES).eq_missing(pl.lit(shape.names, pl.String)) & pl.col(_WIDTH).eq(shape.width)
    kept = calls.filter(same).with_columns(pl.lit(0, pl.Int64).alias(FURTHER))
    others = calls.filter(~same.fill_null(value=False))
    if others.is_empty():
        return Aligned(kept.drop(_WIDTH), 0, others.select(columns))
    shapes = others.select(NAMES, _WIDTH).unique(maintain_order=True)
    places = [shape.places(names, width or 0) for names, width in shapes.iter_rows()]
    further = [
        (0, True) if found is None else shape.further(width or 0, found)
        for width, found in zip(shapes[_WIDTH], places, strict=True)
    ]
    shapes = shapes.with_columns(
        pl.Series("fits", [found is not None for found in places]),
        pl.Series(FURTHER, [number for number, _ in further], pl.Int64),
        pl.Series("unclear", [unclear for _, unclear in further]),
    )
    others = others.join(shapes, on=[NAMES, _WIDTH], nulls_equal=True, maintain_order="left")
    reshaped = _reshaped(
        others.filter("fits"),
        shapes.filter("fits").select(NAMES, _WIDTH),
        [p for p in places if p is not None],
    )
    kept = pl.concat([kept, reshaped.select(kept.columns)])
    return Aligned(kept.drop(_WIDTH), len(reshaped), others.filter("unclear").select(columns))


def _reshaped(calls: pl.DataFrame, shapes: pl.DataFrame, places: Sequence[Places]) -> pl.DataFrame:
    if calls.is_empty():
        return calls
    code = calls.join(
        shapes.with_row_index("code"), on=[NAMES, _WIDTH], nulls_equal=True, maintain_order="left"
    )
    flat = calls[VALUES].explode().to_numpy()
    begin = calls[_WIDTH].cum_sum().to_numpy() - calls[_WIDTH].to_numpy()
    taken = np.stack(places)[code["code"].to_numpy()]
    found = np.where(taken < 0, np.nan, flat[begin[:, None] + np.maximum(taken, 0)])
    columns = [pl.Series(str(place), column).fill_nan(None) for place, column in enumerate(found.T)]
    values = pl.select(pl.concat_list(columns).alias(VALUES))[VALUES]
    return calls.with_columns(values)
