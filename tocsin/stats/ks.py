"""The two-sample Kolmogorov-Smirnov test, exact from sorted samples."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def ks_statistic(first: Floats, second: Floats) -> float:
    """The largest distance between the distribution functions of two sorted samples without NaN, 0 to 1.

    Exact with ties, and symmetric. Only the values of the shorter sample are searched in the longer one, so that a long
    window takes little more time than it takes to sort it.

    Raises:
        ValueError: a sample is empty.
    """
    if not len(first) or not len(second):
        raise ValueError("a sample is empty; a two-sample test needs values on both sides")
    few, many = (first, second) if len(first) <= len(second) else (second, first)
    # Between two neighbors in `few`, its distribution function is constant and the other function rises,
    # so that the largest distance is at one of the neighbors.
    last = np.append(np.flatnonzero(few[1:] != few[:-1]), len(few) - 1)
    values = few[last]
    upto = (last + 1) / len(few)
    below = np.concatenate(([0.0], upto[:-1]))
    right = np.searchsorted(many, values, "right")
    left = right.copy()
    tied = np.flatnonzero(many[np.maximum(right - 1, 0)] == values)
    left[tied] = np.searchsorted(many, values[tied], "left")
    return float(max(np.abs(right / len(many) - upto).max(), np.abs(left / len(many) - below).max()))


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
