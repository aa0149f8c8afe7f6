"""Whether the mean of a sample moved."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tocsin.stats.histogram import quantiles

#: Values beyond these shares of the baseline count as if they stood there, so that no single one decides.
WINSOR = (0.001, 0.999)


def mean_shift_p_value(
    baseline: NDArray[np.float64], current: NDArray[np.float64], row_limit: float = math.inf
) -> float:
    """Two-sided p-value that two sorted samples have one mean (z-test on winsorized values).

    No test is more powerful against a shift of class shares, where the values are calibrated
    probabilities: their mean is then the likelihood ratio. The spread is the baseline's.

    Args:
        baseline: sorted, finite values.
        current: sorted, finite values.
        row_limit: a longer `current` counts as this many values.

    Raises:
        ValueError: a sample is empty.
    """
    from scipy.special import ndtr

    bounds = quantiles(baseline, WINSOR)
    normal, now = np.clip(baseline, bounds[0], bounds[-1]), np.clip(current, bounds[0], bounds[-1])
    difference = abs(float(now.mean()) - float(normal.mean()))
    error = math.sqrt(float(normal.var()) * (1 / len(normal) + 1 / min(len(now), row_limit)))
    if error == 0:
        return 1.0
    return float(2 * ndtr(-difference / error))
