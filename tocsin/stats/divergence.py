"""Distances of two histograms over the same bins: effect sizes, which do not depend on the sample size."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def psi(first: ArrayLike, second: ArrayLike) -> float:
    """The population stability index of two vectors of counts: 0 or more, symmetric.

    It is Jeffreys' divergence (Jeffreys 1946). Half a count is added to every bin, so that an empty
    bin results in a large value and not in infinity.

    Raises:
        ValueError: the two have different lengths.
    """
    p, q = _shares(first, 0.5), _shares(second, 0.5)
    _same_bins(p, q)
    return float(np.sum((p - q) * np.log(p / q)))


def jensen_shannon(first: ArrayLike, second: ArrayLike) -> float:
    """The Jensen-Shannon distance of two vectors of counts, to base 2: 0 to 1, a metric (Lin 1991).

    Raises:
        ValueError: the two have different lengths, or one of them has no counts.
    """
    p, q = _shares(first, 0.0), _shares(second, 0.0)
    _same_bins(p, q)
    middle = (p + q) / 2
    divergence = (_relative_entropy(p, middle) + _relative_entropy(q, middle)) / 2
    return float(np.sqrt(min(max(divergence, 0.0), 1.0)))


def _relative_entropy(p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
    some = p > 0
    return float(np.sum(p[some] * np.log2(p[some] / q[some])))


def _same_bins(p: NDArray[np.float64], q: NDArray[np.float64]) -> None:
    if p.shape != q.shape:
        raise ValueError(f"histograms of {p.size} and {q.size} bins; compare counts over the same bins")


def _shares(counts: ArrayLike, added: float) -> NDArray[np.float64]:
    smoothed = np.asarray(counts, dtype=np.float64) + added
    total = smoothed.sum()
    if total <= 0:
        raise ValueError("a histogram has no counts")
    shares: NDArray[np.float64] = smoothed / total
    return shares
