"""Time: ranges as a dashboard writes them, and the interval that Grafana makes of a range and a width."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.dashboards.datasources import NotEmulated

#: Points across a panel that says nothing of it: its width in pixels.
WIDTH = 1000
SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
UNITS = {"ms": 1, "s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY, "w": 7 * DAY, "M": 30 * DAY, "y": 365 * DAY}
#: Below each limit an interval is rounded to the value beside it.
_LIMITS = (
    10, 15, 35, 75, 150, 350, 750, 1_500, 3_500, 7_500, 12_500, 17_500, 25_000, 45_000, 90_000, 210_000, 450_000,
    750_000, 1_050_000, 1_500_000, 2_700_000, 5_400_000, 9_000_000, 16_200_000, 32_400_000, DAY, 2 * DAY, 7 * DAY,
    21 * DAY, 42 * DAY,
)  # fmt: skip
_ROUNDED = (
    1, 10, 20, 50, 100, 200, 500, SECOND, 2 * SECOND, 5 * SECOND, 10 * SECOND, 15 * SECOND, 20 * SECOND, 30 * SECOND,
    MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE, 20 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 3 * HOUR,
    6 * HOUR, 12 * HOUR, DAY, DAY, 7 * DAY, 30 * DAY, 365 * DAY,
)  # fmt: skip
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdwMy])")
_RELATIVE = re.compile(r"(?:now-)?(\d+)([smhdwMy])")


@dataclass(frozen=True, slots=True)
class Range:
    """A range of time in milliseconds since 1970, both ends in it."""

    start: int
    end: int

    @property
    def length(self) -> int:
        """Milliseconds from one end to the other."""
        return self.end - self.start

    def of_panel(self, panel: Mapping[str, Any]) -> Range:
        """The range that a panel asks for: its own `timeFrom` and `timeShift` come before the dashboard's.

        Raises:
            NotEmulated: they are written in a way that is not emulated.
        """
        start, end = self.start, self.end
        if panel.get("timeFrom"):
            start = end - _relative(panel["timeFrom"])
        if panel.get("timeShift"):
            shift = _relative(panel["timeShift"])
            start, end = start - shift, end - shift
        return Range(start, end)


@dataclass(frozen=True, slots=True)
class Interval:
    """How far apart the points of a query are."""

    milliseconds: int

    @property
    def text(self) -> str:
        """As `$__interval` has it: in its largest unit, the rest cut off."""
        for unit in ("y", "d", "h", "m", "s"):
            if count := self.milliseconds // UNITS[unit]:
                return f"{count}{unit}"
        return f"{self.milliseconds}ms"


def interval(of: Range, points: int | None = None, least: str | None = None) -> Interval:
    """The interval of a range that is drawn with so many points, rounded, and `least` at the least."""
    rounded = _ROUNDED[bisect_right(_LIMITS, of.length / (points or WIDTH))]
    return Interval(max(rounded, milliseconds(least) if least else 1))


def of_panel(panel: Mapping[str, Any], of: Range) -> Interval:
    """The interval of a panel's queries."""
    return interval(of, panel.get("maxDataPoints"), panel.get("interval"))


def milliseconds(duration: str) -> int:
    """`10s`, `>1m`, `1h` as milliseconds.

    Raises:
        NotEmulated: it is no duration.
    """
    found = _DURATION.fullmatch(duration.removeprefix(">"))
    if not found:
        raise NotEmulated(f"the duration {duration!r}")
    return int(float(found[1]) * UNITS[found[2]])


def _relative(text: str) -> int:
    found = _RELATIVE.fullmatch(text)
    if not found:
        raise NotEmulated(f"the relative time {text!r}")
    return int(found[1]) * UNITS[found[2]]
