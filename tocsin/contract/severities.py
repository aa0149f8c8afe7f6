"""Severities: from which multiple of its threshold on a score is `medium`, `high` or `critical`.

Every detector has a table of three multiples. A detector that declares the shape of its scores' upper tail
(`Detector.tail`) has a calibrated table: a quiet window reaches a severity at most as often as `RATES` states. Other
detectors have the table `RATIOS`. A rule states the consequence of what it found by its score, in the same table.

Sources: the extrapolation of a tail from a quantile that data support (Pickands 1975); `benchmarks/severity_null.py`
measures how often quiet windows reach each multiple.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from enum import StrEnum
from statistics import NormalDist
from typing import NamedTuple, Self

from tocsin.contract.findings import Severity

#: The probability that a score of a quiet window reaches a severity, in a calibrated table.
RATES = {Severity.MEDIUM: 1e-3, Severity.HIGH: 1e-5, Severity.CRITICAL: 1e-7}
_MOST = 0.49  # probability of a threshold that is not 0
#: The worst severity that a tail learned from so many quiet scores supports, and the least number of them.
_SUPPORT = ((100, Severity.CRITICAL), (30, Severity.HIGH), (0, Severity.MEDIUM))


class Tail(StrEnum):
    """The shape of a score's upper tail in quiet windows. Its scale follows from the threshold."""

    NORMAL = "normal"  # normal deviates, for example of p-values
    EXPONENTIAL = "exponential"  # sums and maxima with a constant rate of decay; half of the scores may be 0

    def quantile(self, p: float) -> float:
        """The value that is exceeded with probability `p` (below 0.5), up to a scale.

        Raises:
            ValueError: `p` is not between 0 and 0.5.
        """
        if not 0 < p < 0.5:
            raise ValueError(f"p is {p}; it must be above 0 and below 0.5")
        if self is Tail.EXPONENTIAL:
            return math.log(0.5 / p)
        return -NormalDist().inv_cdf(p)


class Severities(NamedTuple):
    """The multiples of the threshold from which on a finding is `medium`, `high` and `critical`; from 1 on it is `low`."""

    medium: float = 1.5
    high: float = 2.0
    critical: float = 3.0

    @classmethod
    def calibrated(cls, tail: Tail, false_alarms: float) -> Self:
        """The multiples that quiet windows reach with `RATES`, if they reach the threshold with `false_alarms`.

        A threshold that quiet windows reach more rarely than a severity has at least that severity from 1 on.

        Raises:
            ValueError: `false_alarms` is not above 0 and at most 0.5.
        """
        unit = tail.quantile(min(false_alarms, _MOST))
        return cls(*(max(tail.quantile(rate) / unit, 1.0) for rate in RATES.values()))

    def of(self, score: float, threshold: float) -> Severity | None:
        """The severity of a score, or None if the score is below the threshold."""
        for severity, multiple in self.worst_first():
            if score >= multiple * threshold * (1 - 1e-9):  # the tolerance counts 0.6 as three times 0.2
                return severity
        return None

    def placed(self, multiple: float) -> float:
        """The multiple in this table that has the severity, and the place within it, of a multiple in `RATIOS`.

        A rule whose score is added to one with a tail states its consequence in the words of `RATIOS`. It never counts
        less than it states, although a severity may begin earlier in this table.
        """
        known, here = (0.0, 1.0, *RATIOS), (0.0, 1.0, *self)
        place = max(i for i, least in enumerate(known) if multiple >= least)
        if place + 1 == len(known):
            return here[place] + multiple - known[place]
        share = (multiple - known[place]) / (known[place + 1] - known[place])
        return max(here[place] + share * (here[place + 1] - here[place]), multiple)

    def worst_first(self) -> Iterator[tuple[Severity, float]]:
        """Each severity with the multiple from which on a finding has it, `critical` first."""
        yield Severity.CRITICAL, self.critical
        yield Severity.HIGH, self.high
        yield Severity.MEDIUM, self.medium
        yield Severity.LOW, 1.0

    def to_words(self) -> str:
        """The table in words, for captions."""
        return f"low to {self.medium:.3g}, medium to {self.high:.3g}, high to {self.critical:.3g}, critical above"


#: The table of detectors that declare no tail.
RATIOS = Severities()


def supported(scores: int) -> Severity:
    """The worst severity of a finding if the tail was learned from so many quiet scores.

    The scale of a tail that is estimated from n scores has a standard error of 1/sqrt(n/2) of its size: with 100 scores, a
    score at the multiple of 1 in 10^7 may be one of 1 in 10^5.
    """
    return next(severity for least, severity in _SUPPORT if scores >= least)
