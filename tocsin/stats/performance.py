"""The performance of a binary classifier: realized with labels, and estimated without.

The estimate is confidence-based (CBPE): calibrated probabilities say how many answers are expected to be right (Guo et
al., On Calibration of Modern Neural Networks, ICML 2017; the method is that of NannyML). It holds while the probabilities
stay calibrated. It does not see that the relation between rows and labels changes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_LEAST = 1e-3  # calibrated probabilities keep this distance from 0 and 1
_FOLDS = 5


class Estimate(NamedTuple):
    """A figure and its standard error."""

    value: float
    error: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """The probability of the positive class as a rising, piecewise linear function of the score."""

    at: Floats
    p: Floats

    @classmethod
    def of(cls, scores: Floats, positive: Bools) -> Self:
        """Isotonic regression (Zadrozny & Elkan, KDD 2002) on finite scores and their labels, at least one."""
        from sklearn.isotonic import IsotonicRegression

        fitted = IsotonicRegression(y_min=_LEAST, y_max=1 - _LEAST, out_of_bounds="clip")
        fitted.fit(scores, positive.astype(np.float64))
        at, p = fitted.X_thresholds_, fitted.y_thresholds_
        return cls(np.asarray(at, dtype=np.float64), np.asarray(p, dtype=np.float64))

    def of_scores(self, scores: Floats) -> Floats:
        """The calibrated probability of each score."""
        found: Floats = np.interp(scores, self.at, self.p)
        return found


def out_of_fold(scores: Floats, positive: Bools) -> Floats:
    """Each row's probability, calibrated on four fifths of the rows without it: as for new rows."""
    fold = np.random.default_rng(0).permutation(len(scores)) % _FOLDS
    p = np.empty(len(scores))
    for k in range(_FOLDS):
        others = fold != k
        p[~others] = Calibration.of(scores[others], positive[others]).of_scores(scores[~others])
    return p


def log_loss(p: Floats, positive: Bools) -> Floats:
    """The logarithmic loss of each row, in nats."""
    loss: Floats = -np.log(np.where(positive, p, 1 - p))
    return loss


def auc(scores: Floats, positive: Floats | Bools) -> Estimate:
    """The area under the ROC curve; with probabilities as `positive`, its expectation.

    Ties count half. The standard error is that of Hanley & McNeil (1982). Without both classes the figure is NaN.

    Args:
        scores: one for each row.
        positive: whether a row is positive, or the probability that it is.
    """
    weight = np.asarray(positive, dtype=np.float64)
    ones, zeros = float(weight.sum()), float((1 - weight).sum())
    if ones <= 0 or zeros <= 0:
        return Estimate(math.nan, math.nan)
    values, place = np.unique(scores, return_inverse=True)
    up = np.bincount(place, weight, len(values))
    down = np.bincount(place, 1 - weight, len(values))
    below = np.cumsum(down) - down / 2
    area = float((up * below).sum()) / (ones * zeros)
    first, second = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + (ones - 1) * (first - area**2) + (zeros - 1) * (second - area**2)
    return Estimate(area, math.sqrt(max(variance, area * (1 - area), 1e-12) / (ones * zeros)))


def expected_accuracy(p: Floats, answered: Bools, learned: int) -> Estimate:
    """The share of answers that is expected to be right.

    Args:
        p: the calibrated probability of the positive class of each row, at least one.
        answered: whether the model answered with the positive class.
        learned: number of rows that the calibration is from: part of the error.
    """
    right = np.where(answered, p, 1 - p)
    noise = float((right * (1 - right)).mean())
    return Estimate(float(right.mean()), math.sqrt(noise * (1 / len(p) + 1 / learned)))
