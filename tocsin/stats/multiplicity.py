"""Multiple tests: p-values adjusted for the number of tests, and p-values as scores."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def benjamini_hochberg(p_values: ArrayLike) -> NDArray[np.float64]:
    """P-values adjusted for the false discovery rate (Benjamini & Hochberg 1995), in the given order.

    The smallest adjusted p-value is Simes' p-value (1986) of the hypothesis that all null hypotheses hold.

    Raises:
        ValueError: a p-value is outside [0, 1].
    """
    p = np.asarray(p_values, dtype=np.float64)
    if p.size and not (np.all(p >= 0) and np.all(p <= 1)):
        raise ValueError("p-values must be between 0 and 1")
    order = np.argsort(p, kind="stable")
    stepped = p[order] * p.size / np.arange(1, p.size + 1)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum.accumulate(stepped[::-1])[::-1]
    return np.minimum(adjusted, 1.0)


def log_benjamini_hochberg(log_p_values: ArrayLike) -> NDArray[np.float64]:
    """`benjamini_hochberg` for natural logarithms of p-values, which may be far below the smallest float.

    Raises:
        ValueError: a logarithm is above 0, or not a number.
    """
    log_p = np.asarray(log_p_values, dtype=np.float64)
    if log_p.size and not np.all(log_p <= 0):
        raise ValueError("logarithms of p-values must be at most 0")
    order = np.argsort(log_p, kind="stable")
    stepped = log_p[order] + np.log(log_p.size / np.arange(1, log_p.size + 1))
    adjusted = np.empty_like(log_p)
    adjusted[order] = np.minimum.accumulate(stepped[::-1])[::-1]
    return np.minimum(adjusted, 0.0)


def log_normal_deviate(log_p: float) -> float:
    """`normal_deviate` for the natural logarithm of a p-value. It has no upper bound.

    A threshold may be far above 2.6, if the baseline itself drifts. A bounded deviate could then never be twice the
    threshold.
    """
    from scipy.special import ndtri_exp

    return max(0.0, -float(ndtri_exp(log_p))) if log_p < 0 else 0.0


def normal_deviate(p: float) -> float:
    """The standard normal deviate that is exceeded with probability p; 0 for p of 0.5 or more, at most 37 (p = 1e-300).

    A severity is the ratio of a score to its threshold. On this scale, 1.5 times the deviate is far less probable
    (0.005 becomes 0.00006), so that severities separate chance results from real ones.
    """
    from scipy.special import ndtri

    return max(0.0, -float(ndtri(max(p, 1e-300))))
