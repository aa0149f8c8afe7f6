"""From the scores of quiet chunks to the threshold that a wanted rate of false alarms asks for."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

#: Fewer quiet scores than this say nothing about a tail.
MIN_SCORES = 8


def calibrate(scores: Sequence[float], false_alarms: float) -> float:
    """The threshold that quiet scores reach with probability `false_alarms`.

    With 1 / `false_alarms` scores or more it is the order statistic that a new quiet score passes with at most
    that probability, whatever their distribution (split conformal; Lei et al. 2018). With fewer, the tail
    beyond the median is taken as exponential, its scale the mean excess; the largest score seen is a lower
    bound, so that what the baseline did is never an alarm.

    Args:
        scores: scores of chunks of the baseline that were not used to fit it.
        false_alarms: wanted probability, in (0, 0.5].

    Raises:
        ValueError: there are fewer than `MIN_SCORES` scores, or `false_alarms` is out of bounds.
    """
    if not 0 < false_alarms <= 0.5:
        raise ValueError(f"false_alarms is {false_alarms}; it lies above 0 and at most at 0.5")
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
