"""The Wasserstein-1 distance: the mean shift of values, in the unit of the values."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tocsin.stats.runs import ranges

Floats = NDArray[np.float64]
Places = NDArray[np.int64]

#: Values of the shorter sample in a block.
_STEP = 32
#: Values that are subtracted at a time: few enough for the processor's cache.
_CHUNK = 32_768


def wasserstein(first: Floats, second: Floats) -> float:
    """The exact Wasserstein-1 (earth mover's) distance of two sorted, finite samples.

    The distance is the integral of the difference between the two quantile functions, which are constant between
    the levels i/n and j/m. Both functions rise: where one of them is below the other in a whole block of levels, the
    integral is the difference of two sums. Only the other blocks are computed step by step.

    Raises:
        ValueError: a sample is empty.
    """
    few, many = (first, second) if len(first) <= len(second) else (second, first)
    n, m = len(few), len(many)
    if not n:
        raise ValueError("a sample is empty; a distance needs values on both sides")
    if n == m:
        chunks = range(0, n, _CHUNK)
        return float(sum(np.abs(few[i : i + _CHUNK] - many[i : i + _CHUNK]).sum() for i in chunks) / n)
    starts = np.arange(0, n, _STEP)
    ends = np.append(starts[1:], n)
    first_of, part = np.divmod(
        starts * m, n
    )  # where the blocks start in the longer sample: a value, and a part of it
    last_of = np.append((starts[1:] * m - 1) // n, m - 1)
    above, below = few[starts] >= many[last_of], few[ends - 1] <= many[first_of]
    cut = many[first_of] * (part / n)
    of_many = np.add.reduceat(many, first_of) - cut + np.append(cut[1:], 0.0)
    sums = np.abs(np.add.reduceat(few, starts) / n - of_many / m)
    decided = above | below
    total = float(sums[decided].sum())
    if decided.all():
        return total
    return total + _stepwise(few, many, starts[~decided], ends[~decided])


def _stepwise(few: Floats, many: Floats, starts: Places, ends: Places) -> float:
    """The integral over blocks of the shorter sample, over each step between levels. A level is counted in 1/(n m)."""
    n, m = len(few), len(many)
    begins = (
        starts[np.append(True, starts[1:] != ends[:-1])] * m
    )  # of blocks without a block just before them
    of_few = (ranges(starts, ends) + 1) * m
    of_many = (ranges(starts * m // n, (ends * m - 1) // n) + 1) * n
    levels = np.sort(np.concatenate((begins, of_few, of_many)))
    widths = np.diff(levels, prepend=levels[0])
    widths[np.searchsorted(levels, begins)] = 0
    upto = levels - 1
    here = widths > 0
    steps = np.abs(few[upto[here] // m] - many[upto[here] // n]) * widths[here]
    return float(steps.sum() / (n * m))
