"""Logarithms of upper tail probabilities, exact where the probability itself is too small for a float.

A p-value below 1e-308 is 0, so that all large changes would have the same score. Its logarithm has no such bound.
"""

from __future__ import annotations

import math

_SMALL = 1e-280  # below this, tail probabilities lose digits
_TERMS = 200  # of the continued fraction: 15 digits, where the probability is below `_SMALL`


def log_gamma_tail(shape: float, value: float) -> float:
    """Natural logarithm of the probability that a gamma variable of unit scale is at least `value` (0 or more).

    Legendre's continued fraction (Abramowitz & Stegun 1964, 6.5.31) where the probability is small.
    """
    from scipy.special import gammaincc

    p = float(gammaincc(shape, value))
    if p > _SMALL:
        return math.log(p)
    fraction = 0.0
    for k in range(_TERMS, 0, -1):
        fraction = k * (k - shape) / (value + 2 * k + 1 - shape - fraction)
    return shape * math.log(value) - value - math.lgamma(shape) - math.log(value + 1 - shape - fraction)


def log_chi_squared_tail(statistic: float, freedom: int) -> float:
    """Natural logarithm of the probability that a chi-squared variable is at least `statistic`; 0 without freedom."""
    return log_gamma_tail(freedom / 2, statistic / 2) if freedom else 0.0


def log_kolmogorov_tail(scaled: float) -> float:
    """Natural logarithm of the probability that Kolmogorov's limit distribution exceeds `scaled`."""
    from scipy.special import kolmogorov

    p = float(kolmogorov(scaled))
    return math.log(p) if p > _SMALL else math.log(2) - 2 * scaled * scaled


def log_mean_tail(z: float, skewness: float) -> float:
    """Natural logarithm of the probability that a standardized, right-skewed mean is at least `z`.

    The mean has a gamma distribution of the same skewness (Pearson's type III): the error of the normal tail for skewed
    terms is many times the probability. Without skewness, or with a negative one, the tail is normal.
    """
    from scipy.special import log_ndtr

    if skewness <= 1e-3:
        return float(log_ndtr(-z))
    shape = 4 / skewness**2
    value = shape + z * math.sqrt(shape)
    return log_gamma_tail(shape, value) if value > 0 else 0.0
