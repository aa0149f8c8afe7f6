"""The residual of each feature of a row after a prediction from the other features.

A row has large residuals if each value is usual but their combination is not. A comparison of residuals
feature by feature also identifies the feature that changed (conditional distribution tests; Kulinski,
Bagchi & Inouye, Feature Shift Detection, NeurIPS 2020).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Added to every variance (in units of itself), so that the matrix stays invertible if columns are copies of each other.
RIDGE = 1e-3


@dataclass(frozen=True, slots=True)
class NormalScores:
    """Converts values to normal scores: the normal quantile of a value's rank in a column of the baseline.

    Outliers therefore have no excess weight. `at` are the scores of the column's different values, `between`
    the scores of the gaps around these values.
    """

    values: Floats
    at: Floats
    between: Floats

    @classmethod
    def of(cls, column: Floats) -> Self:
        """Compute the scores from finite values."""
        from scipy.special import ndtri

        values, counts = np.unique(column, return_counts=True)
        below = np.concatenate(([0], np.cumsum(counts)))
        ranks = (below[:-1] + below[1:]) / 2
        at, between = (ndtri((rank + 0.5) / (len(column) + 1)) for rank in (ranks, below))
        return cls(values, at, between)

    def of_column(self, column: Floats) -> Floats:
        """The scores of a column; NaN and infinity are missing values with the score 0."""
        if not len(self.values):
            return np.zeros(len(column))
        place = np.searchsorted(self.values, column)
        nearest = np.minimum(place, len(self.values) - 1)
        scores = np.where(self.values[nearest] == column, self.at[nearest], self.between[place])
        scores[~np.isfinite(column)] = 0.0
        return scores


def normal_scores(matrix: Floats, baseline: Sequence[NormalScores]) -> Floats:
    """The normal scores of a matrix, rows by features; `baseline` has one entry for each feature."""
    columns = [known.of_column(column) for known, column in zip(baseline, matrix.T, strict=True)]
    return np.column_stack(columns) if columns else np.zeros(matrix.shape)


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
