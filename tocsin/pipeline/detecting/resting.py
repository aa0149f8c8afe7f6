"""Which values of an open window need no early evaluation for a while: those whose finding is already critical.

A finding cannot become worse than critical. Until its evidence has grown by a quarter, another early evaluation of a client
that continues to query, or of a model that keeps drifting, would tell a person nothing new. The memory is that of one
worker: another worker, or the same one after a restart, evaluates such a value once more.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from tocsin.contract.early import GROWTH
from tocsin.contract.findings import Severity
from tocsin.pipeline.detecting.records import Run


class _Window(NamedTuple):
    start: datetime
    judged: Mapping[str | None, int]  # rows of each value that is being judged
    critical: dict[str | None, int]  # rows of each value when its finding was recorded as critical


class Resting:
    """The values of each detector's newest open window whose finding is critical."""

    def __init__(self) -> None:
        self._windows: dict[str, _Window] = {}

    def rests(self, detector: str, start: datetime, value: str | None, rows: int) -> bool:
        """Whether a value with so many rows in the window is not judged again yet."""
        window = self._windows.get(detector)
        if window is None or window.start != start or value not in window.critical:
            return False
        return rows < GROWTH * window.critical[value]

    def judging(self, detector: str, start: datetime, rows: Mapping[str | None, int]) -> None:
        """Note how many rows the values have that an evaluation judges."""
        window = self._windows.get(detector)
        critical = window.critical if window is not None and window.start == start else {}
        self._windows[detector] = _Window(start, rows, critical)

    def recorded(self, run: Run) -> None:
        """Note the critical findings of an evaluation that was recorded."""
        window = self._windows.get(run.detector)
        if window is None or window.start != run.start or not run.early:
            return
        for finding in run.findings:
            value = finding.subject.id
            if finding.severity is Severity.CRITICAL and not finding.aspect and value in window.judged:
                window.critical[value] = window.judged[value]
