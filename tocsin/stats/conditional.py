"""Each feature given the others: what is left of it when the rest of the row predicts it.

A row whose values are all usual one by one but do not go together has large residuals. Comparing
residuals feature by feature also says which one moved (conditional distribution tests; Kulinski,
Bagchi & Inouye, Feature Shift Detection, NeurIPS 2020).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Added to every variance (in units of itself), so that columns that copy each other do no harm.
RIDGE = 1e-3


def normal_scores(matrix: Floats, baseline: Sequence[Floats]) -> Floats:
    """Each value's rank in the baseline as a normal quantile, so that no outlier carries weight.

    Args:
        matrix: rows by features; NaN and infinity are missing and become 0.
        baseline: the baseline's sorted values of each feature.
    """
    from scipy.special import ndtri

    scores = np.zeros(matrix.shape)
    for place, values in enumerate(baseline):
        column = matrix[:, place]
        rank = (np.searchsorted(values, column, "left") + np.searchsorted(values, column, "right")) / 2
        scores[:, place] = np.where(np.isfinite(column), ndtri((rank + 0.5) / (len(values) + 1)), 0.0)
    return scores


def conditional_weights(scores: Floats) -> Floats:
    """The square matrix W for which `scores @ W` are the residuals, up to a constant.

    Column j has 1 at place j and minus the coefficients of the linear regression of feature j on all
    others elsewhere. It comes from the inverse of the correlation matrix.
    """
    covariance = np.atleast_2d(np.cov(scores, rowvar=False))
    spread = np.sqrt(np.diag(covariance))
    spread[spread == 0] = 1.0
    correlation = covariance / np.outer(spread, spread)
    precision = np.linalg.inv(correlation + RIDGE * np.eye(len(spread)))
    weights: Floats = precision / np.diag(precision) * spread / spread[:, None]
    return weights
