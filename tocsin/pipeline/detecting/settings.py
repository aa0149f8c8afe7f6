"""The settings of a configured detector."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tocsin.contract.plugin import Detector


@dataclass(frozen=True, slots=True)
class Setting:
    """One configured detector."""

    detector: Detector[Any]
    false_alarms: float = 0.01
    lateness: timedelta = timedelta(0)
    rolling: bool | None = None  # None: only while no version is pinned
    refit: timedelta | None = None  # None: a quarter of the baseline's length

    def due(self, start: datetime) -> datetime:
        """When the window that begins at `start` may be evaluated."""
        return start + self.detector.requires.window + self.lateness
