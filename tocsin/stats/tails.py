"""The upper tail of normal values, as the scale of the excess of larger values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Tail:
    """Peaks over a threshold (Pickands 1975): the start of the top fifth of values, and its mean excess.

    For an exponential tail, the excess over `start`, in units of `excess`, exceeds z with probability
    0.2·exp(−z); for a short tail, the probability is lower.
    """

    start: float
    excess: float

    @classmethod
    def of(cls, values: NDArray[np.float64], noise: float) -> Self:
        """Fit to normal values, at least two of them and finite.

        Args:
            values: one value for each window.
            noise: the lower bound of the excess, in the unit of the values: their sampling error.

        Raises:
            ValueError: there are fewer than two values.
        """
        if len(values) < 2:
            raise ValueError(f"{len(values)} normal values; a tail needs at least 2")
        ordered = np.sort(values)
        top = max(1, len(ordered) // 5)
        start = float(ordered[-top - 1])
        return cls(start, max(float(ordered[-top:].mean()) - start, noise, 1e-9))
