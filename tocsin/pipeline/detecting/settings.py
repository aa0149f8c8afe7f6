"""The settings of a configured detector."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tocsin.contract.early import Early
from tocsin.contract.plugin import FALSE_ALARMS, Detector
from tocsin.contract.severities import RATIOS, Severities


@dataclass(frozen=True, slots=True)
class Setting:
    """One configured detector."""

    detector: Detector[Any]
    false_alarms: float = FALSE_ALARMS
    lateness: timedelta = timedelta(0)
    rolling: bool | None = None  # None: only while no version is pinned
    refit: timedelta | None = None  # None: a quarter of the baseline's length

    early: bool = True  # evaluate windows that have not ended, if the detector can judge them

    @property
    def looks_early(self) -> Early | None:
        """What the detector declares about a window that has not ended. None: windows are evaluated only after their end."""
        return self.detector.early if self.early else None

    def due(self, start: datetime) -> datetime:
        """When the window that begins at `start` may be evaluated."""
        return start + self.detector.requires.window + self.lateness


def severities_of(settings: Iterable[Setting], detector: str) -> Severities:
    """The table of severities of a configured detector; the table of ratios of any other one."""
    return next((s.detector.severities for s in settings if s.detector.id == detector), RATIOS)
