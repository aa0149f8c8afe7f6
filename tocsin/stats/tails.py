"""The upper tail of what is normal: how far beyond it a value lies, whatever the tail's shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Tail:
    """Peaks over a threshold (Pickands 1975): where the top fifth begins, and its mean excess.

    For an exponential tail the excess over `start`, in units of `excess`, passes z in 0.2·exp(−z) of
    cases; a short tail stays below that.
    """

    start: float
    excess: float

    @classmethod
    def of(cls, values: NDArray[np.float64], noise: float) -> Self:
        """Fit to normal values, at least two of them and finite.

        Args:
            values: one for each window.
            noise: the least excess that is believed, in the unit of the values: their sampling error.

        Raises:
            ValueError: there are fewer than two values.
        """
        if len(values) < 2:
            raise ValueError(f"{len(values)} normal values; a tail needs at least 2")
        ordered = np.sort(values)
        top = max(1, len(ordered) // 5)
        start = float(ordered[-top - 1])
        return cls(start, max(float(ordered[-top:].mean()) - start, noise, 1e-9))
