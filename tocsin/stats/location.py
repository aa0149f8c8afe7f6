"""A test for a change of the mean."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tocsin.stats.histogram import quantiles

#: Values beyond these quantiles of the baseline are replaced by the quantile, so that no single value decides.
WINSOR = (0.001, 0.999)


def mean_shift_p_value(
    baseline: NDArray[np.float64], current: NDArray[np.float64], row_limit: float = math.inf
) -> float:
    """Two-sided p-value for equal means of two sorted samples (z-test on winsorized values).

    If the values are calibrated probabilities, no test is more powerful against a shift of class shares, because
    the mean is then the likelihood ratio. The standard deviation is the baseline's.

    Args:
        baseline: sorted, finite values.
        current: sorted, finite values.
        row_limit: a longer `current` is treated as if it had this number of values.

    Raises:
        ValueError: a sample is empty.
    """
    return math.exp(log_mean_shift(baseline, current, row_limit))


def log_mean_shift(
    baseline: NDArray[np.float64], current: NDArray[np.float64], row_limit: float = math.inf
) -> float:
    """The natural logarithm of `mean_shift_p_value`, for p-values below the smallest float.

    Raises:
        ValueError: a sample is empty.
    """
    from scipy.special import log_ndtr

    bounds = quantiles(baseline, WINSOR)
    normal, now = np.clip(baseline, bounds[0], bounds[-1]), np.clip(current, bounds[0], bounds[-1])
    difference = abs(float(now.mean()) - float(normal.mean()))
    error = math.sqrt(float(normal.var()) * (1 / len(normal) + 1 / min(len(now), row_limit)))
    if error == 0:
        return 0.0
    return min(math.log(2) + float(log_ndtr(-difference / error)), 0.0)
