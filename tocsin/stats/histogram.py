"""Counts of sorted samples in bins that are derived from a baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

#: Upper ends of the bins, as shares of the baseline: narrow in the tails, where wrong units are visible first.
LEVELS = (0.01, 0.03, 0.06, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.94, 0.97, 0.99)

#: Maximum number of different values of a column for which each value is counted separately.
FEW_VALUES = 64


@dataclass(frozen=True, slots=True)
class Bins:
    """Bins between `marks`, each of which belongs to the bin below it; if `exact`, one bin for each mark."""

    marks: Floats
    exact: bool

    @classmethod
    def of(cls, values: Floats, *, nominal: bool = False) -> Self:
        """Bins for a sorted sample: its values if they are few or codes of categories, else its quantiles."""
        new = values[1:] != values[:-1]
        if np.count_nonzero(new) < FEW_VALUES:
            return cls(values[:1] if len(values) < 2 else values[np.append(True, new)], exact=True)
        return cls(_frequent(values, FEW_VALUES) if nominal else quantiles(values, LEVELS), exact=nominal)

    def counts(self, values: Floats) -> Counts:
        """The number of sorted values in each bin. The last bin counts the values above the last mark.

        The last of exact bins counts the values that are equal to no mark.
        """
        upto = np.searchsorted(values, self.marks, "right")
        if not self.exact:
            return np.diff(upto, prepend=0, append=len(values))
        each = upto - np.searchsorted(values, self.marks, "left")
        return np.append(each, len(values) - each.sum())

    def places(self, column: Floats) -> NDArray[np.intp]:
        """The bin of each value of a column in any order; missing values have the bin after the last one."""
        found = np.searchsorted(self.marks, column, "left")
        if self.exact and len(self.marks):
            nearest = np.minimum(found, len(self.marks) - 1)
            found = np.where(self.marks[nearest] == column, nearest, len(self.marks))
        return np.where(np.isfinite(column), found, len(self.marks) + 1)


def quantiles(values: Floats, levels: tuple[float, ...]) -> Floats:
    """The quantiles of a sorted sample at these levels, without duplicates. Each is a value of the sample.

    Raises:
        ValueError: the sample is empty.
    """
    if not len(values):
        raise ValueError("a sample is empty; quantiles need values")
    places = np.ceil(np.asarray(levels) * len(values)).astype(np.int64) - 1
    return np.unique(values[np.clip(places, 0, len(values) - 1)])


def _frequent(values: Floats, limit: int) -> Floats:
    """The most frequent values, in rising order; of equally frequent values the lower."""
    distinct, counts = np.unique(values, return_counts=True)
    return np.sort(distinct[np.argsort(-counts, kind="stable")[:limit]])
