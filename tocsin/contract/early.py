"""Early evaluation: what a detector declares about a window that has not ended, and when such a window is evaluated.

The words are those of stream processors (Akidau et al. 2015): a window is evaluated early whenever a trigger fires, and
finally when it ends.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

#: An early score that may fall again must reach this multiple of the threshold to be a finding. The threshold of the final
#: evaluation then need not change: interim evaluations at a stricter boundary hardly add to the false alarms (Haybittle
#: 1971; Peto et al. 1976). `benchmarks/early_null.py` measures them: with 1, the false alarms of the drift detectors triple;
#: with 1.25, they rise by 0.1 windows in a hundred at most.
MARGIN = 1.25
#: Up to this number of rows, each new row is a trigger. Beyond it, the rows must grow by `GROWTH`.
EACH, GROWTH = 500, 1.25


@dataclass(frozen=True, slots=True)
class Early:
    """How a detector judges a window that has not ended.

    Attributes:
        by: the column of the detector's streams whose values the detector judges independently of one another. An early
            evaluation judges only values with new rows (`Window.changed`). Empty: every trigger judges the whole window.
        rows: minimum number of rows of a value before the first trigger.
        grows: a score that has reached the threshold does not fall when events arrive, like a count. An early score then
            counts as a final one does. Otherwise, an early score must reach `MARGIN` times the threshold.
        whole: each event describes a complete thing, such as a dataset snapshot. Aspects are reported early, too.
        growth: beyond 500 rows of a value, the next trigger comes when its rows have grown by this factor. 1: every new row
            is a trigger, because a single one may matter, like a deletion.
    """

    by: str = ""
    rows: int = 1
    grows: bool = False
    whole: bool = False
    growth: float = GROWTH

    @property
    def margin(self) -> float:
        """The multiple of the threshold that an early score must reach."""
        return 1.0 if self.grows else MARGIN

    def triggered(self, before: int, now: int) -> bool:
        """Whether a trigger lies between two numbers of rows: above the first, at most the second."""
        if now < max(self.rows, 1) or now <= before:
            return False
        if self.growth <= 1 or before < self.rows or before < EACH:
            return True
        return _steps(now, self.growth) > _steps(before, self.growth)


def _steps(rows: int, growth: float) -> int:
    """The number of times that `EACH` rows have grown by the factor."""
    return math.floor(math.log(rows / EACH, growth) + 1e-9)
