"""Converts the rows of any table to numbers, for tree models and for counts of combinations."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def plain(frame: pl.DataFrame) -> pl.DataFrame:
    """The same rows with columns of two types: Float64 and String.

    Booleans become 0 and 1, and times microseconds. Lists, structures and bytes are dropped.
    """
    columns: list[pl.Series] = []
    for column in frame.iter_columns():
        dtype = column.dtype
        if dtype in (pl.String, pl.Categorical, pl.Enum):
            columns.append(column.cast(pl.String))
        elif dtype in (pl.Date, pl.Datetime):
            columns.append(column.cast(pl.Datetime("us")).to_physical().cast(pl.Float64))
        elif dtype.is_temporal():
            columns.append(column.to_physical().cast(pl.Float64))
        elif dtype.is_numeric() or dtype in (pl.Boolean, pl.Null):
            columns.append(column.cast(pl.Float64, strict=False))
    return pl.DataFrame(columns)


def label_text(labels: pl.Series) -> pl.Series:
    """Labels as text. 1, 1.0 and "1" become the same label, and NaN becomes null."""
    if labels.dtype.is_float():
        labels = labels.fill_nan(None)
        if bool((labels.drop_nulls() % 1 == 0).all()):
            labels = labels.cast(pl.Int64, strict=False)
    return labels.cast(pl.String, strict=False)


@dataclass(frozen=True, slots=True)
class Encoder:
    """Encodes columns of plain frames as 64-bit floats. Text becomes its rank among the trusted values.

    Nulls and infinities become NaN, and text that the trusted rows do not contain becomes -1. `texts` has an
    entry for each column; None for a column of numbers.
    """

    texts: Mapping[str, pl.Enum | None]

    @classmethod
    def of(cls, trusted: pl.DataFrame, without: Collection[str] = ()) -> Self:
        """Learn the columns of trusted rows, except constant columns and the columns in `without`."""
        columns = [c for c in trusted.iter_columns() if c.n_unique() > 1 and c.name not in without]
        return cls({c.name: different(c) if c.dtype == pl.String else None for c in columns})

    def missing(self, frame: pl.DataFrame) -> list[str]:
        """Columns that a plain frame lacks or has with the other type."""
        schema = frame.schema
        return [
            name
            for name, texts in self.texts.items()
            if name not in schema or (schema[name] == pl.String) != (texts is not None)
        ]

    def encode(self, frame: pl.DataFrame) -> Floats:
        """A matrix of rows × columns, in the encoder's order of columns."""
        matrix = np.empty((len(frame), len(self.texts)))
        for place, (name, texts) in enumerate(self.texts.items()):
            column = frame[name]
            matrix[:, place] = column.cast(pl.Float64).to_numpy() if texts is None else ranks(column, texts)
        matrix[~np.isfinite(matrix)] = np.nan
        return matrix


def different(texts: pl.Series) -> pl.Enum:
    """The different texts of a column, sorted."""
    return pl.Enum(texts.drop_nulls().unique().sort())


def ranks(texts: pl.Series, among: pl.Enum) -> Floats:
    """Ranks of texts among the known texts; -1 for other texts, NaN for null."""
    places = texts.cast(among, strict=False).to_physical().cast(pl.Float64).to_numpy().copy()
    known = texts.is_not_null().to_numpy() if texts.null_count() else True
    places[np.isnan(places) & known] = -1
    return places
