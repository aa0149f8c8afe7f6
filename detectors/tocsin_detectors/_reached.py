"""Which scores may be findings: others need no cause and no evidence, which take long to compute."""

from __future__ import annotations

from tocsin.contract.early import MARGIN
from tocsin.contract.findings import Score
from tocsin.contract.windows import Window


def is_reached(window: Window, score: Score) -> bool:
    """Whether a score may be a finding, of a detector whose score can fall again.

    While a threshold is calibrated, none is.
    """
    threshold = window.baseline.threshold if window.baseline else None
    if threshold is None:
        return False
    return score.value >= threshold * (1 if window.changed is None else MARGIN)
