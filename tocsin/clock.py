"""Clocks, and reading and formatting of times and lengths of time. No other module reads the machine's clock.

Every time in Tocsin is a timezone-aware `datetime` in UTC. Windows are `[start, end)`.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

#: The maximum length of time that a configuration may set: a hundred years.
LONGEST = timedelta(days=36_525)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_LENGTH = re.compile(r"(\d+)([smhdw])")


class Clock(Protocol):
    """A source of the current time."""

    def now(self) -> datetime:
        """The current time, timezone-aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds since an arbitrary point. The value never decreases, even if `now` is set back."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


class ScriptedClock:
    """A clock that changes only when it is set: for scenarios, drills and the demo."""

    def __init__(self, now: datetime) -> None:
        self._now = now.astimezone(UTC)

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._now.timestamp()

    def set(self, now: datetime) -> None:
        """Set the clock to `now`.

        Raises:
            ValueError: `now` is earlier than the clock's current time.
        """
        if now < self._now:
            raise ValueError(f"the clock is at {format_time(self._now)} and cannot be set back to {now}")
        self._now = now.astimezone(UTC)

    def advance(self, length: timedelta) -> None:
        """Move the clock forward by `length`."""
        self.set(self._now + length)


def format_time(time: datetime) -> str:
    """A time as RFC 3339 text in UTC: `2026-11-23T06:00:00Z`. A fraction of a second is written only if it is not 0."""
    text = time.astimezone(UTC).isoformat(
        timespec="seconds"
        if time.microsecond == 0
        else "milliseconds"
        if time.microsecond % 1000 == 0
        else "microseconds"
    )
    return text.replace("+00:00", "Z")


def parse_time(text: str) -> datetime:
    """Parse an RFC 3339 or ISO 8601 time. A time without a zone is taken as UTC.

    Raises:
        ValueError: `text` is not a time.
    """
    try:
        time = datetime.fromisoformat(text)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):  # OverflowError: a conversion to UTC leaves the years 1 to 9999
        raise ValueError(
            f"{text!r} is not a time; write one like 2026-11-23 or 2026-11-23T06:00:00Z"
        ) from None


def parse_length(text: str) -> timedelta:
    """Parse a length of time: `90s`, `5m`, `1h`, `14d`, `2w`, or a sum of these such as `1d12h`.

    Raises:
        ValueError: `text` is not a length of time, or is longer than `LONGEST`.
    """
    parts = _LENGTH.findall(text) if isinstance(text, str) else ()
    if not parts or "".join(n + u for n, u in parts) != text:
        raise ValueError(f"{text!r} is not a length of time; write one like 30s, 5m, 1h, 14d or 2w")
    seconds = sum(int(n[:20]) * _UNITS[u] for n, u in parts)
    if seconds > LONGEST.total_seconds():
        raise ValueError(f"{text[:30]} is too long; a length of time can be at most {LONGEST.days}d")
    return timedelta(seconds=seconds)


def format_length(length: timedelta) -> str:
    """A length as the shortest sum of days, hours, minutes and seconds; `parse_length` parses the result."""
    rest, terms = int(length.total_seconds()), []
    for unit, seconds in sorted(_UNITS.items(), key=lambda item: -item[1]):
        if unit != "w" and rest >= seconds:
            count, rest = divmod(rest, seconds)
            terms.append(f"{count}{unit}")
    return "".join(terms) or "0s"


def floor_time(time: datetime, length: timedelta) -> datetime:
    """The start of the tumbling window of `length` that contains `time`.

    Windows are aligned to 1970-01-01 UTC. Windows of a week therefore start on a Thursday; windows of a day or an
    hour start with the UTC day or hour.
    """
    return time - (time - EPOCH) % length
