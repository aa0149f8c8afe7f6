"""How far a count is from the number that a share of trials explains."""

from __future__ import annotations

import math

from scipy.special import rel_entr


def binomial_deviate(found: int, trials: int, share: float) -> float:
    """The signed root of the likelihood ratio (Wilks 1938) of `found` of `trials`; about standard normal if `share` holds.

    Negative below the expected number, 0 if there are no trials.
    """
    expected = trials * share
    ratio = rel_entr(found, expected) + rel_entr(trials - found, trials - expected)
    return math.copysign(math.sqrt(2 * max(float(ratio), 0.0)), found - expected)
