"""Calibrates a threshold from the scores of quiet chunks and a target rate of false alarms."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

#: Minimum number of quiet scores: fewer do not determine a tail.
MIN_SCORES = 8


def calibrate(scores: Sequence[float], false_alarms: float) -> float:
    """The threshold that quiet scores reach with probability `false_alarms`.

    With 1 / `false_alarms` scores or more, the threshold is the order statistic that a new quiet score exceeds with
    at most that probability, for any distribution (split conformal; Lei et al. 2018). With fewer scores, the tail
    beyond the median is assumed to be exponential with the mean excess as its scale. The largest score is a lower
    bound, so that no score of the baseline exceeds the threshold.

    Args:
        scores: scores of chunks of the baseline that were not used to fit it.
        false_alarms: target probability, in (0, 0.5].

    Raises:
        ValueError: there are fewer than `MIN_SCORES` scores, or `false_alarms` is out of bounds.
    """
    if not 0 < false_alarms <= 0.5:
        raise ValueError(f"false_alarms is {false_alarms}; it must be above 0 and at most 0.5")
    if len(scores) < MIN_SCORES:
        raise ValueError(f"{len(scores)} quiet scores; a threshold needs at least {MIN_SCORES}")
    values = np.sort(np.asarray(scores, dtype=np.float64))
    place = math.ceil((len(values) + 1) * (1 - false_alarms) - 1e-9)
    if place <= len(values):
        return float(values[place - 1])
    median = float(np.median(values))
    excess = values[values > median] - median
    scale = float(excess.mean()) if len(excess) else 0.0
    return max(median + scale * math.log(0.5 / false_alarms), float(values[-1]))
