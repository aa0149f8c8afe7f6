"""Time: the one place that asks the machine for it, and the words in which times are written.

Every time in Tocsin is an aware `datetime` in UTC. Windows are `[start, end)`.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

#: No length of time in a configuration is longer: a hundred years.
LONGEST = timedelta(days=36_525)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_LENGTH = re.compile(r"(\d+)([smhdw])")


class Clock(Protocol):
    """Says what time it is."""

    def now(self) -> datetime:
        """The present, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds since some moment; never goes back, also where `now` is set back."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


class ScriptedClock:
    """A clock that stands where it is put: for scenarios, drills and the demo."""

    def __init__(self, now: datetime) -> None:
        self._now = now.astimezone(UTC)

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._now.timestamp()

    def set(self, now: datetime) -> None:
        """Put the clock at `now`, never backwards.

        Raises:
            ValueError: `now` lies before the time that the clock already shows.
        """
        if now < self._now:
            raise ValueError(f"the clock shows {format_time(self._now)} and cannot go back to {now}")
        self._now = now.astimezone(UTC)

    def advance(self, length: timedelta) -> None:
        """Move the clock on by `length`."""
        self.set(self._now + length)


def format_time(time: datetime) -> str:
    """RFC 3339 in UTC with its zone: `2026-11-23T06:00:00Z`, fractions only where there are some."""
    text = time.astimezone(UTC).isoformat(
        timespec="seconds"
        if time.microsecond == 0
        else "milliseconds"
        if time.microsecond % 1000 == 0
        else "microseconds"
    )
    return text.replace("+00:00", "Z")


def parse_time(text: str) -> datetime:
    """Read an RFC 3339 / ISO 8601 time; one without a zone is taken as UTC.

    Raises:
        ValueError: `text` is not a time.
    """
    try:
        time = datetime.fromisoformat(text)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):  # the latter at the ends of the calendar
        raise ValueError(
            f"{text!r} is not a time; write one like 2026-11-23 or 2026-11-23T06:00:00Z"
        ) from None


def parse_length(text: str) -> timedelta:
    """Read a length of time: `90s`, `5m`, `1h`, `14d`, `2w`, or a sum of them such as `1d12h`.

    Raises:
        ValueError: `text` is not a length.
    """
    parts = _LENGTH.findall(text) if isinstance(text, str) else ()
    if not parts or "".join(n + u for n, u in parts) != text:
        raise ValueError(f"{text!r} is not a length of time; write one like 30s, 5m, 1h, 14d or 2w")
    seconds = sum(int(n[:20]) * _UNITS[u] for n, u in parts)
    if seconds > LONGEST.total_seconds():
        raise ValueError(f"{text[:30]} is longer than {LONGEST.days}d, the longest length of time there is")
    return timedelta(seconds=seconds)


def format_length(length: timedelta) -> str:
    """The shortest sum of units, as `parse_length` reads it."""
    rest, words = int(length.total_seconds()), []
    for unit, seconds in sorted(_UNITS.items(), key=lambda item: -item[1]):
        if unit != "w" and rest >= seconds:
            count, rest = divmod(rest, seconds)
            words.append(f"{count}{unit}")
    return "".join(words) or "0s"


def floor_time(time: datetime, length: timedelta) -> datetime:
    """The start of the tumbling window of `length`, counted from 1970-01-01 UTC, that holds `time`.

    Weeks therefore begin on Thursdays; days and hours begin where UTC's do.
    """
    return time - (time - EPOCH) % length
