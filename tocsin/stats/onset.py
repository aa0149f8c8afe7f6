"""When a mean began to be higher: the change point of a series."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_ROUNDS = 4
_LIKELY = 3.0  # in log-likelihood: places that are less likely by no more than this belong to the interval


class Onset(NamedTuple):
    """The first changed row, and the first and last row that it may be."""

    place: int
    first: int
    last: int


def onset(values: Floats, usual: float) -> Onset:
    """The most likely place from which the mean is higher than `usual`, for independent values of one variance.

    The mean after the change is estimated together with the place (Hinkley 1970), in a few rounds. Linear in the rows.

    Raises:
        ValueError: there are no values.
    """
    if not len(values):
        raise ValueError("an onset needs values")
    place, gains = 0, np.zeros(len(values))
    for _ in range(_ROUNDS):
        after = float(values[place:].mean())
        step = max(after - usual, 1e-12)
        variance = max(float(np.var(values[place:])), 1e-12)
        single = step * (values - (usual + after) / 2) / variance
        gains = np.cumsum(single[::-1])[::-1]  # log-likelihood of a change at each place, against none
        found = int(np.argmax(gains))
        if found == place:
            break
        place = found
    near = np.flatnonzero(gains >= gains[place] - _LIKELY)
    return Onset(place, int(near[0]), int(near[-1]))
