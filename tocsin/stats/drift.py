"""How one column of a window differs from the baseline's: two tests and the sizes of the change."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from tocsin.stats.chi_squared import chi_squared
from tocsin.stats.divergence import jensen_shannon, psi
from tocsin.stats.histogram import Bins
from tocsin.stats.ks import ks_p_value, ks_statistic
from tocsin.stats.wasserstein import wasserstein

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Sample:
    """A column: its finite values, sorted, and how many rows have none (NaN and infinity are missing).

    What a baseline's column is asked for again and again is kept: its bins and its own counts in them.
    """

    values: Floats
    missing: int = 0

    @classmethod
    def of(cls, column: Floats) -> Self:
        """Sort a column once; everything else is read from the sorted values."""
        values = np.sort(column)  # -inf first, inf and then NaN last
        first, last = np.searchsorted(values, -np.inf, "right"), np.searchsorted(values, np.inf, "left")
        return cls(values[first:last], len(column) - int(last - first))

    @property
    def rows(self) -> int:
        """How many rows the column has, missing values included."""
        return len(self.values) + self.missing

    def binned(self, *, nominal: bool) -> tuple[Bins, Counts]:
        """Bins for such values (`nominal`: codes of names), and this column's counts in them; the last is missing."""
        return self._named if nominal else self._ordered

    def counted(self, bins: Bins) -> Counts:
        """The counts of this column in some bins; the last one counts missing values."""
        return np.append(bins.counts(self.values), self.missing)

    @functools.cached_property
    def _ordered(self) -> tuple[Bins, Counts]:
        return self._in(Bins.of(self.values))

    @functools.cached_property
    def _named(self) -> tuple[Bins, Counts]:
        return self._in(Bins.of(self.values, nominal=True))

    def _in(self, bins: Bins) -> tuple[Bins, Counts]:
        return bins, self.counted(bins)


class Shift(NamedTuple):
    """What the two tests say: the Kolmogorov-Smirnov distance, its p-value, and that of the counts."""

    ks: float
    ks_p: float
    counts_p: float


class Effect(NamedTuple):
    """How big a change is, whatever the number of rows.

    `wasserstein_sd` is in standard deviations of the baseline; None where it has no spread, or where
    the values are only names.
    """

    psi: float
    jensen_shannon: float
    wasserstein_sd: float | None


def shift(baseline: Sample, current: Sample, *, nominal: bool = False, row_limit: float = math.inf) -> Shift:
    """Test whether two columns have one distribution.

    The Kolmogorov-Smirnov test sees values that move; the chi-squared test of counts in the baseline's
    bins sees values that appear, vanish or go missing. Names (`nominal`) have no order, so only their
    counts are tested.

    Args:
        baseline: the column in the baseline.
        current: the column in the window.
        nominal: whether the values are codes of names.
        row_limit: more rows than this count as this many, so that a p-value follows the size of the
            change and not of the sample.
    """
    weight = min(1.0, row_limit / max(current.rows, 1))
    before, now = counts(baseline, current, nominal=nominal)
    counts_p = chi_squared(before, now * weight).p
    n, m = len(current.values), len(baseline.values)
    if nominal or not n or not m:
        return Shift(0.0, 1.0, counts_p)
    distance = ks_statistic(baseline.values, current.values)
    return Shift(distance, ks_p_value(distance, n * weight * m / (n * weight + m)), counts_p)


def effect(baseline: Sample, current: Sample, *, nominal: bool = False) -> Effect:
    """Measure a change: PSI and Jensen-Shannon over the baseline's bins, and the Wasserstein distance."""
    before, now = counts(baseline, current, nominal=nominal)
    spread = float(baseline.values.std()) if len(baseline.values) else 0.0
    moved = None
    if spread > 0 and len(current.values) and not nominal:
        moved = wasserstein(baseline.values, current.values) / spread
    return Effect(psi(before, now), jensen_shannon(before, now), moved)


def counts(baseline: Sample, current: Sample, *, nominal: bool = False) -> tuple[Counts, Counts]:
    """Counts of both columns in the baseline's bins; the last one counts missing values."""
    bins, before = baseline.binned(nominal=nominal)
    return before, current.counted(bins)
