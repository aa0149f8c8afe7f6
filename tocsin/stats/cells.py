"""Finds rows that nearly equal a known row: locality-sensitive hashing for Euclidean distance (Datar et al. 2004).

Each table of hashes projects a part of a row's features on random directions and divides every projection into intervals.
Rows that share all intervals of a table are in one cell. Rows that differ a little in all features share a cell of some
table, and so do rows that differ in one feature, if a table does not have all features. Unrelated rows almost never do.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Hashes = NDArray[np.uint32]

#: Tables of hashes, and projections of each.
TABLES, PROJECTIONS = 8, 8
#: The spread of a feature is that of its values between these quantiles: outliers do not hide the differences of others.
_INNER = (0.01, 0.99)
#: The place of a missing value, in spreads from the middle.
_MISSING = -7.0
_MOST = 1e6  # spreads: values that are further away are all equal
_HUGE = 1e100  # values beyond are equal, too
_BATCH = 20_000  # rows that are hashed at once
_ODD = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xBF58476D1CE4E5B9)


@dataclass(frozen=True)
class Cells:
    """The cells of rows with some features.

    Attributes:
        middles: the median of each feature.
        spreads: the spread of each feature.
        width: of an interval, in spreads. Equal rows share all cells with any width.
        share: the share of features that each table has.
        seed: of the directions. Someone who knows it can move a row across the borders of its cells.
    """

    middles: tuple[float, ...]
    spreads: tuple[float, ...]
    width: float
    share: float
    seed: int

    @classmethod
    def of(cls, rows: Matrix, width: float, share: float, seed: int) -> Self:
        """Cells on the scale of known rows of shape (rows, features); at least one row."""
        middles, spreads = [], []
        for column in np.clip(rows, -_HUGE, _HUGE).T:
            known = column[~np.isnan(column)]
            known = known if len(known) else np.zeros(1)
            inner = np.clip(known, *np.quantile(known, _INNER))
            middles.append(float(np.median(known)))
            spreads.append(float(inner.std()) or float(known.std()) or 1.0)
        return cls(tuple(middles), tuple(spreads), width, share, seed)

    @cached_property
    def _directions(self) -> tuple[Matrix, Matrix]:
        rng, features = np.random.default_rng(self.seed), len(self.middles)
        number = TABLES * PROJECTIONS
        directions = rng.normal(size=(features, number))
        for table in range(TABLES):
            left_out = rng.permutation(features)[: int((1 - self.share) * features)]
            directions[left_out, table * PROJECTIONS : (table + 1) * PROJECTIONS] = 0.0
        return directions, rng.uniform(size=number)

    def hashes(self, rows: Matrix) -> Hashes:
        """The cells of rows, one for each table: shape (rows, tables). Equal numbers in one table are one cell."""
        found = np.empty((len(rows), TABLES), dtype=np.uint32)
        for start in range(0, len(rows), _BATCH):
            found[start : start + _BATCH] = self._hashes(rows[start : start + _BATCH])
        return found

    def _hashes(self, rows: Matrix) -> Hashes:
        directions, phases = self._directions
        distances = np.clip(rows, -_HUGE, _HUGE) - np.array(self.middles)
        places = np.clip(distances / np.array(self.spreads), -_MOST, _MOST)
        places = np.where(np.isnan(places), _MISSING, places)
        intervals = np.floor(places @ directions / self.width + phases).astype(np.int64).view(np.uint64)
        found = np.empty((len(rows), TABLES), dtype=np.uint32)
        for table in range(TABLES):
            mixed = np.full(len(rows), _ODD)
            for interval in intervals[:, table * PROJECTIONS : (table + 1) * PROJECTIONS].T:
                mixed = (mixed ^ interval) * _MIX + _ODD
                mixed ^= mixed >> np.uint64(31)
            found[:, table] = mixed >> np.uint64(32)
        return found
