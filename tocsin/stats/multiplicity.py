"""Many tests at once: p-values adjusted so that their number raises no false alarm, and as a score."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def benjamini_hochberg(p_values: ArrayLike) -> NDArray[np.float64]:
    """P-values adjusted for the false discovery rate (Benjamini & Hochberg 1995), in the given order.

    The smallest of them is Simes' p-value (1986) of the hypothesis that nothing at all happened.

    Raises:
        ValueError: a p-value lies outside [0, 1].
    """
    p = np.asarray(p_values, dtype=np.float64)
    if p.size and not (np.all(p >= 0) and np.all(p <= 1)):
        raise ValueError("p-values lie between 0 and 1")
    order = np.argsort(p, kind="stable")
    stepped = p[order] * p.size / np.arange(1, p.size + 1)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum.accumulate(stepped[::-1])[::-1]
    return np.minimum(adjusted, 1.0)


def normal_deviate(p: float) -> float:
    """A p-value as the standard normal deviate that is exceeded with this probability; 0 from a half on.

    On this scale half as much again is far rarer (0.005 becomes 0.00006), so severities, which are ratios of a
    score to its threshold, tell what may happen by chance from what does not. At most 37 (p = 1e-300).
    """
    from scipy.special import ndtri

    return max(0.0, -float(ndtri(max(p, 1e-300))))
