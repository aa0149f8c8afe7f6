"""The Wasserstein-1 distance: how far values moved on average, in their own unit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Places = NDArray[np.int64]


def wasserstein(first: Floats, second: Floats) -> float:
    """The exact Wasserstein-1 (earth mover's) distance of two sorted, finite samples.

    It is the integral of the distance between the two quantile functions, which are flat between the
    levels i/n and j/m.

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
    """Which places of samples of n < m values meet between two levels, and the width of each step."""
    levels = np.arange(1, n + 1) * m  # of the shorter sample; the longer one's are the multiples of n
    is_few = np.zeros(n + m, dtype=np.int64)
    is_few[np.arange(n) + (levels - 1) // n] = 1
    at_few = np.cumsum(is_few) - is_few
    at_many = np.arange(n + m) - at_few
    steps = np.where(is_few, (at_few + 1) * m, (at_many + 1) * n)
    return np.minimum(at_few, n - 1), np.minimum(at_many, m - 1), np.diff(steps, prepend=0) / (n * m)
