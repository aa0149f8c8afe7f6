"""Runs of consecutive whole numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Places = NDArray[np.int64]


def ranges(starts: Places, ends: Places) -> Places:
    """The numbers of all half-open ranges `[start, end)`, one range after the other; an empty range has none."""
    lengths = np.maximum(ends - starts, 0)
    before = np.cumsum(lengths) - lengths
    found: Places = np.arange(int(lengths.sum())) + np.repeat(starts - before, lengths)
    return found
