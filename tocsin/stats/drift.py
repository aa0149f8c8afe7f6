"""The change of one column between a baseline and a window: two tests, and effect sizes."""

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
from tocsin.stats.ks import ks_statistic, scaled
from tocsin.stats.log_tails import log_chi_squared_tail, log_kolmogorov_tail
from tocsin.stats.wasserstein import wasserstein

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Sample:
    """A column: its finite values, sorted, and the number of rows without one (NaN and infinity are missing).

    The bins of a column, its counts in them and its spread are cached, because a baseline's column is compared often.
    """

    values: Floats
    missing: int = 0

    @classmethod
    def of(cls, column: Floats) -> Self:
        """Sort a column. All other methods use the sorted values."""
        values = np.sort(column)  # -inf first, inf and then NaN last
        first, last = np.searchsorted(values, -np.inf, "right"), np.searchsorted(values, np.inf, "left")
        return cls(values[first:last], len(column) - int(last - first))

    @property
    def rows(self) -> int:
        """The number of rows of the column, including missing values."""
        return len(self.values) + self.missing

    def binned(self, *, nominal: bool) -> tuple[Bins, Counts]:
        """Bins of this column (`nominal`: codes of categories), and its counts in them; the last counts missing values."""
        return self._named if nominal else self._ordered

    def counted(self, bins: Bins) -> Counts:
        """The counts of this column in some bins; the last one counts missing values."""
        return np.append(bins.counts(self.values), self.missing)

    @functools.cached_property
    def spread(self) -> float:
        """The standard deviation of the values; 0 if there are none."""
        return float(self.values.std()) if len(self.values) else 0.0

    @functools.cached_property
    def _ordered(self) -> tuple[Bins, Counts]:
        return self._in(Bins.of(self.values))

    @functools.cached_property
    def _named(self) -> tuple[Bins, Counts]:
        return self._in(Bins.of(self.values, nominal=True))

    def _in(self, bins: Bins) -> tuple[Bins, Counts]:
        return bins, self.counted(bins)


class Shift(NamedTuple):
    """Results of the two tests: the Kolmogorov-Smirnov distance, its p-value, and the p-value of the counts."""

    ks: float
    ks_p: float
    counts_p: float


class LogShift(NamedTuple):
    """The Kolmogorov-Smirnov distance, and the natural logarithms of the p-values of both tests."""

    ks: float
    ks_log_p: float
    counts_log_p: float


class Effect(NamedTuple):
    """The size of a change, independent of the number of rows.

    `wasserstein_sd` is in standard deviations of the baseline. None if the baseline's values are all equal, or
    if the values are codes of categories.
    """

    psi: float
    jensen_shannon: float
    wasserstein_sd: float | None


def shift(baseline: Sample, current: Sample, *, nominal: bool = False, row_limit: float = math.inf) -> Shift:
    """Test whether two columns have the same distribution.

    The Kolmogorov-Smirnov test detects values that shift. The chi-squared test of counts in the baseline's bins
    detects values that appear, disappear or become missing. Codes of categories (`nominal`) have no order: only
    their counts are tested.

    Args:
        baseline: the column in the baseline.
        current: the column in the window.
        nominal: whether the values are codes of categories.
        row_limit: a larger sample is weighted as if it had this number of rows, so that a p-value depends on
            the size of the change and not on the size of the sample.
    """
    found = log_shift(baseline, current, nominal=nominal, row_limit=row_limit)
    return Shift(found.ks, math.exp(found.ks_log_p), math.exp(found.counts_log_p))


def log_shift(
    baseline: Sample, current: Sample, *, nominal: bool = False, row_limit: float = math.inf
) -> LogShift:
    """The tests of `shift`, whose p-values may be below the smallest float."""
    weight = min(1.0, row_limit / max(current.rows, 1))
    before, now = counts(baseline, current, nominal=nominal)
    found = chi_squared(before, now * weight)
    counts_log_p = log_chi_squared_tail(found.statistic, found.freedom)
    n, m = len(current.values), len(baseline.values)
    if nominal or not n or not m:
        return LogShift(0.0, 0.0, counts_log_p)
    distance = ks_statistic(baseline.values, current.values)
    size = n * weight * m / (n * weight + m)
    return LogShift(distance, log_kolmogorov_tail(scaled(distance, size)), counts_log_p)


def effect(baseline: Sample, current: Sample, *, nominal: bool = False) -> Effect:
    """Measure a change: PSI and Jensen-Shannon over the baseline's bins, and the Wasserstein distance."""
    before, now = counts(baseline, current, nominal=nominal)
    spread, distance = baseline.spread, None
    if spread > 0 and len(current.values) and not nominal:
        distance = wasserstein(baseline.values, current.values) / spread
    return Effect(psi(before, now), jensen_shannon(before, now), distance)


def facts(
    baseline: Sample, current: Sample, *, nominal: bool = False
) -> dict[str, float | bool | list[float] | list[int] | None]:
    """The effect of a change, the baseline's bins (`marks`, `exact`) and the counts of both columns in them, as JSON."""
    size = effect(baseline, current, nominal=nominal)
    bins, _ = baseline.binned(nominal=nominal)
    before, now = counts(baseline, current, nominal=nominal)
    return {
        "psi": size.psi,
        "jensen_shannon": size.jensen_shannon,
        "wasserstein_sd": size.wasserstein_sd,
        "marks": bins.marks.tolist(),
        "exact": bins.exact,
        "baseline": before.tolist(),
        "window": now.tolist(),
    }


def counts(baseline: Sample, current: Sample, *, nominal: bool = False) -> tuple[Counts, Counts]:
    """Counts of both columns in the baseline's bins; the last one counts missing values."""
    bins, before = baseline.binned(nominal=nominal)
    return before, current.counted(bins)
