"""How far a figure departs from its own past, if part of the scatter is sampling error."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

_TRIMMED = 0.1  # share of the past, rounded up, that is treated as earlier incidents


class Figure(NamedTuple):
    """A number, its standard error from sampling alone, and the value to display."""

    value: float
    error: float
    shown: float


class Departure(NamedTuple):
    """Deviation in standard errors of prediction, their degrees of freedom, and the median."""

    z: float
    freedom: float
    usual: float


def share(count: float, total: float) -> Figure:
    """A share on the scale where its sampling error does not depend on it (Anscombe 1948)."""
    angle = 2 * math.asin(math.sqrt(min((count + 0.375) / (total + 0.75), 1.0)))
    return Figure(angle, 1 / math.sqrt(total + 0.5), count / total if total else 0.0)


def departure(now: Figure, past: Sequence[Figure]) -> Departure:
    """The distance of `now` from the median of the past (at least three figures).

    The scatter of the past is the standard deviation about the median without the most extreme tenth,
    corrected for this trimming. The part beyond the figures' sampling errors counts as real variation. The
    sampling error of `now` is at least the mean sampling error of the past: a sample of a heavy-tailed column
    without its rare large values underestimates its error. The degrees of freedom are Satterthwaite's (1946):
    they are large if sampling error explains the scatter, and small if a short past shows real variation.
    Without any scatter, a change is infinite.
    """
    values = np.array([figure.value for figure in past])
    median = float(np.median(values))
    trimmed = math.ceil(_TRIMMED * len(values))
    deviations = np.sort(np.abs(values - median))[: len(values) - trimmed]
    freedom = len(deviations) - 1
    variance = float((deviations**2).sum()) / freedom / _variance_left(trimmed / len(values))
    sampling = float(np.mean([figure.error**2 for figure in past]))
    real = max(variance - sampling, 0.0)
    of_median = math.pi / 2 / len(values)
    total = max(now.error**2, sampling) + of_median * sampling + (1 + of_median) * real
    distance, usual = abs(now.value - median), float(np.median([figure.shown for figure in past]))
    if total == 0:
        return Departure(math.inf if distance > 1e-9 * abs(median) else 0.0, float(freedom), usual)
    effective = freedom * (total / ((1 + of_median) * real)) ** 2 if real else math.inf
    return Departure(distance / math.sqrt(total), effective, usual)


def critical(freedom: float, alpha: float) -> float:
    """The deviation that quiet figures reach with probability `alpha`, to either side (Student's t)."""
    from scipy.special import stdtrit

    # beyond 10⁶ degrees of freedom Student's t is the normal distribution
    return float(-stdtrit(min(freedom, 1e6), alpha / 2))


def _variance_left(trimmed: float) -> float:
    """Variance of a standard normal variable without its most extreme share."""
    normal = NormalDist()
    cut = normal.inv_cdf(1 - trimmed / 2)
    return 1 - 2 * cut * normal.pdf(cut) / (1 - trimmed)
