"""How much more surprising a row's combination of values is than its single values.

Pairs of features that depend on each other have a table of the log ratio of the frequency of two values to the
frequency that independent features would give. A row whose features were drawn one by one has pairs that are rare.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]

#: The share of learned rows whose combination of values is rare.
RARE = 0.02
#: A feature with more values is cut into so many intervals of about equal numbers of rows.
_BINS = 12
#: Weight of the independent features beside the counted rows, in rows.
_PRIOR = 4.0
#: Features beyond this number are not compared, so that the cost of a fit does not grow with its square.
MOST_FEATURES = 64


@dataclass(frozen=True, slots=True)
class Pair:
    """Two features, and minus the log ratio for each combination of their intervals, row by row."""

    first: int
    second: int
    surprise: Floats


@dataclass(frozen=True, slots=True)
class Dependence:
    """The tree of pairs with the most mutual information (Chow & Liu 1968), and each feature's cuts.

    The sum over the tree's pairs is the log likelihood ratio of independent features against the tree. `limit` is the
    sum that a share `RARE` of the learned rows exceeds.
    """

    cuts: Sequence[Floats]
    pairs: Sequence[Pair]
    limit: float = np.inf

    @classmethod
    def of(cls, rows: Floats) -> Self:
        """Learn from rows of shape (rows, features); a missing value is an interval of its own, below all others."""
        cuts = [_cuts(column) for column in rows.T[:MOST_FEATURES]]
        codes, sizes = _codes(rows, cuts), [len(cut) + 1 for cut in cuts]
        tables = {
            (i, j): _table(codes[i], codes[j], sizes[i], sizes[j]) for j in range(len(cuts)) for i in range(j)
        }
        pairs = [Pair(i, j, _surprise(tables[i, j])) for i, j in _tree(tables, len(cuts))]
        known = cls(cuts, pairs)
        return cls(cuts, pairs, float(np.quantile(known.of_rows(rows), 1 - RARE)) if pairs else np.inf)

    def rounded(self) -> Dependence:
        """The same with cuts of 32 bits, for rows that are held so."""
        return Dependence(
            [cut.astype(np.float32).astype(np.float64) for cut in self.cuts], self.pairs, self.limit
        )

    def rare(self, rows: Floats | NDArray[np.float32]) -> Floats:
        """1 for each row whose values occur together as rarely as in the rarest `RARE` of the learned rows, else 0.

        NaN if no features depend on each other.
        """
        surprise = self.of_rows(rows)
        return np.where(np.isnan(surprise), np.nan, surprise > self.limit)

    def of_rows(self, rows: Floats | NDArray[np.float32]) -> Floats:
        """The surprise of each row; NaN if no features depend on each other."""
        if not self.pairs:
            return np.full(len(rows), np.nan)
        codes, total = _codes(rows, self.cuts), np.zeros(len(rows))
        for pair in self.pairs:
            total += pair.surprise[codes[pair.first] * (len(self.cuts[pair.second]) + 1) + codes[pair.second]]
        return total


def _cuts(column: Floats) -> Floats:
    values = np.unique(column)
    if len(values) <= _BINS:
        return values[1:]
    at = np.quantile(column, np.linspace(0, 1, _BINS + 1)[1:-1], method="nearest")
    return np.unique(at)


def _codes(rows: Floats | NDArray[np.float32], cuts: Sequence[Floats]) -> list[Codes]:
    return [np.searchsorted(cut, column, "right") for cut, column in zip(cuts, rows.T, strict=False)]


def _table(first: Codes, second: Codes, rows: int, columns: int) -> Floats:
    counts = np.bincount(first * columns + second, minlength=rows * columns)
    return counts.reshape(rows, columns).astype(np.float64)


def _independent(table: Floats) -> Floats:
    """The frequencies if the features were independent."""
    rows = table.sum()
    return np.outer(table.sum(axis=1) / rows, table.sum(axis=0) / rows)


def _surprise(table: Floats) -> Floats:
    independent = _independent(table)
    share = (table + _PRIOR * independent) / (table.sum() + _PRIOR)
    ratio = np.divide(independent, share, out=np.ones_like(share), where=share > 0)
    surprise: Floats = np.log(ratio).ravel()
    return surprise


def _information(table: Floats) -> float:
    """Mutual information, less its expectation for independent features."""
    share, independent = table / table.sum(), _independent(table)
    there = share > 0
    found = float((share[there] * np.log(share[there] / independent[there])).sum())
    rows, columns = table.shape
    return found - float((rows - 1) * (columns - 1) / (2 * table.sum()))


def _tree(tables: dict[tuple[int, int], Floats], features: int) -> list[tuple[int, int]]:
    """The forest of pairs with the most information (Kruskal); pairs without any are left out."""
    group, found = list(range(features)), []
    worth = {pair: _information(table) for pair, table in tables.items()}
    for i, j in sorted(worth, key=lambda pair: (-worth[pair], pair)):
        if worth[i, j] > 0 and group[i] != group[j]:
            found.append((i, j))
            group = [group[i] if of == group[j] else of for of in group]
    return found
