"""The chi-squared test that two histograms over the same bins come from one distribution.

Its statistic is the likelihood ratio (Wilks 1938) with Williams' correction (1976). Pearson's sum of squares
finds tables that are one in 100,000 twice as often as they are, since counts in rare bins are skewed, and
where hundreds of histograms are compared just such tails decide.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

#: Bins in which a sample expects fewer counts than this are pooled (Cochran 1954).
MIN_EXPECTED = 5.0


class ChiSquared(NamedTuple):
    """The statistic, its degrees of freedom, and the p-value."""

    statistic: float
    freedom: int
    p: float


def chi_squared(first: ArrayLike, second: ArrayLike) -> ChiSquared:
    """Compare two vectors of counts; symmetric. Without two bins to compare, p is 1.

    Rare bins are pooled into one; where even that one is rare it joins the smallest of the others.
    Pooling looks at both samples together, so it takes no side.

    Raises:
        ValueError: the two have different lengths.
    """
    table = np.stack((np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)))
    total = table.sum()
    sizes = table.sum(axis=1, keepdims=True)
    if total == 0 or sizes.min() == 0:
        return ChiSquared(0.0, 0, 1.0)
    table = _pooled(table, MIN_EXPECTED * total / float(sizes.min()))
    bins = table.sum(axis=0)
    expected = sizes * bins / total
    freedom = table.shape[1] - 1
    if freedom < 1:
        return ChiSquared(0.0, 0, 1.0)
    seen = table > 0
    ratio = 2 * float((table[seen] * np.log(table[seen] / expected[seen])).sum())
    spread = (float((total / sizes).sum()) - 1) * (float((total / bins).sum()) - 1)
    statistic = max(ratio, 0.0) / (1 + spread / (6 * total * freedom))
    return ChiSquared(statistic, freedom, _upper_tail(statistic, freedom))


def _pooled(table: np.ndarray, least: float) -> np.ndarray:
    both = table.sum(axis=0)
    rare = both < least
    kept = table[:, ~rare]
    rest = table[:, rare].sum(axis=1, keepdims=True)
    if rest.sum() == 0:
        return kept
    if rest.sum() >= least or kept.shape[1] == 0:
        return np.hstack((kept, rest))
    kept[:, [int(np.argmin(kept.sum(axis=0)))]] += rest
    return kept


def _upper_tail(statistic: float, freedom: int) -> float:
    from scipy.special import chdtrc

    return float(chdtrc(freedom, statistic))
