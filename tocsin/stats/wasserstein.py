"""The Wasserstein-1 distance: the mean shift of values, in the unit of the values."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Places = NDArray[np.int64]


def wasserstein(first: Floats, second: Floats) -> float:
    """The exact Wasserstein-1 (earth mover's) distance of two sorted, finite samples.

    The distance is the integral of the difference between the two quantile functions, which are constant between
    the levels i/n and j/m.

    Raises:
        ValueError: a sample is empty.
    """
    few, many = (first, second) if len(first) <= len(second) else (second, first)
    if not len(few):
        raise ValueError("a sample is empty; a distance needs values on both sides")
    if len(few) == len(many):
        return float(np.abs(few - many).mean())
    at_few, at_many, weights = _coupling(len(few), len(many))
    return float((np.abs(few[at_few] - many[at_many]) * weights).sum())


def _coupling(n: int, m: int) -> tuple[Places, Places, Floats]:
    """The indexes of the values of samples of n < m values on each step between levels, and the step's width."""
    levels = (
        np.arange(1, n + 1) * m
    )  # of the shorter sample; the levels of the longer sample are the multiples of n
    is_few = np.zeros(n + m, dtype=np.int64)
    is_few[np.arange(n) + (levels - 1) // n] = 1
    at_few = np.cumsum(is_few) - is_few
    at_many = np.arange(n + m) - at_few
    steps = np.where(is_few, (at_few + 1) * m, (at_many + 1) * n)
    return np.minimum(at_few, n - 1), np.minimum(at_many, m - 1), np.diff(steps, prepend=0) / (n * m)
