"""The two-sample Kolmogorov-Smirnov test, exact from sorted samples."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tocsin.stats.runs import ranges

Floats = NDArray[np.float64]

#: Values of the shorter sample from one place to the next at which the distance is computed first.
_STEP = 64


def ks_statistic(first: Floats, second: Floats) -> float:
    """The largest distance between the distribution functions of two sorted samples without NaN, 0 to 1.

    Exact with ties, and symmetric. The distance is computed at every 64th value of the shorter sample first. Both
    functions rise, so that their values at two neighboring places bound the distance between these places. Only the
    values at which the bound exceeds the largest distance found so far are computed, usually a few of a hundred.

    Raises:
        ValueError: a sample is empty.
    """
    if not len(first) or not len(second):
        raise ValueError("a sample is empty; a two-sample test needs values on both sides")
    few, many = (first, second) if len(first) <= len(second) else (second, first)
    places = np.append(np.arange(0, len(few) - 1, _STEP), len(few) - 1)
    edges = few[places]
    edges = edges[np.append(True, edges[1:] != edges[:-1])]
    few_left, few_right, many_left, many_right = _sides(few, many, edges)
    found = _largest(few_left, few_right, many_left, many_right)
    # Between two edges, a function is at least its value at the left one and at most its limit at the right one.
    bound = np.maximum(few_left[1:] - many_right[:-1], many_left[1:] - few_right[:-1])
    within = np.flatnonzero(bound > found)
    if not len(within):
        return float(found)
    starts, ends = (np.rint(x * len(few)).astype(np.int64) for x in (few_right[within], few_left[within + 1]))
    values = few[ranges(starts, ends)]
    return float(max(found, _largest(*_sides(few, many, values))) if len(values) else found)


def _sides(few: Floats, many: Floats, values: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Both distribution functions just below some values and at them."""
    found = []
    for sample in (few, many):
        right = np.searchsorted(sample, values, "right")
        left = right.copy()
        tied = np.flatnonzero(sample[np.maximum(right - 1, 0)] == values)
        left[tied] = np.searchsorted(sample, values[tied], "left")
        found += [left / len(sample), right / len(sample)]
    return found[0], found[1], found[2], found[3]


def _largest(few_left: Floats, few_right: Floats, many_left: Floats, many_right: Floats) -> float:
    return float(max(np.abs(few_left - many_left).max(), np.abs(few_right - many_right).max()))


def ks_p_value(statistic: float, size: float) -> float:
    """The p-value of a distance at the effective size n m / (n + m); conservative with ties.

    Kolmogorov's limit (1933) with Stephens' correction for finite samples (1970).
    """
    from scipy.special import kolmogorov

    return float(kolmogorov(scaled(statistic, size)))


def scaled(statistic: float, size: float) -> float:
    """The distance in units of Kolmogorov's limit distribution, with Stephens' correction."""
    root = math.sqrt(size)
    return (root + 0.12 + 0.11 / root) * statistic
