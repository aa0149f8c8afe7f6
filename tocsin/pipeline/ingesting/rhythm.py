"""When each source speaks, and when it has been silent for longer than it ever is.

A source is one configured collector. What is learned: the longest silence of each of the last 28 days. A source is
silent when it has said nothing for 1.5 times the longest of them: nights and weekends are in them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tocsin.clock import Clock, format_time, parse_time
from tocsin.contract.findings import Score, Subject
from tocsin.store.protocol import Store

KIND = "source_rhythm"
_DAYS = 28
_KNOWN = 3  # days that must have been heard of before silence means anything
_SHORTEST = timedelta(minutes=15)
_FACTOR = 1.5


@dataclass(frozen=True, slots=True)
class Rhythm:
    """What is known of a source."""

    source: str
    last: datetime
    longest: timedelta | None  # None while too little is known

    @property
    def allowed(self) -> timedelta | None:
        """Silence that is nothing unusual."""
        return None if self.longest is None else max(self.longest * _FACTOR, _SHORTEST)


class Rhythms:
    """The rhythm of every source, in the keyed state."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock

    def record_activity(self, source: str) -> None:
        """A source said something."""
        now = self._clock.now()
        entry = self._store.get(KIND, source)
        value: Mapping[str, Any] = entry.value if entry else {"last": format_time(now), "days": {}}
        gap = max(now - parse_time(value["last"]), timedelta(0))
        allowed = _rhythm(source, value).allowed
        if allowed is not None:  # an outage is no lesson, but a rhythm that has changed is learned in time
            gap = min(gap, allowed)
        day = now.date().isoformat()
        days = {**value["days"], day: max(value["days"].get(day, 0.0), gap.total_seconds())}
        kept = dict(sorted(days.items())[-_DAYS:])
        self._store.put(
            KIND, source, {"last": format_time(now), "days": kept}, entry.version if entry else None
        )

    def all(self) -> list[Rhythm]:
        """Every source that was ever heard."""
        return [_rhythm(entry.key, entry.value) for entry in self._store.entries(KIND)]

    def scores(self, sources: Sequence[str]) -> Iterator[Score]:
        """How long each of these sources has been silent, in units of what is usual."""
        now = self._clock.now()
        for rhythm in self.all():
            if rhythm.source not in sources:  # it is no longer configured
                continue
            silent = now - rhythm.last
            if rhythm.allowed is None:
                yield Score(Subject("source", rhythm.source), 0.0, "its rhythm is not known yet")
                continue
            reason = f"nothing came for {_hours(silent)}; it was never silent for longer than {_hours(rhythm.longest)}"
            evidence = {"last": format_time(rhythm.last), "allowed": _hours(rhythm.allowed)}
            yield Score(Subject("source", rhythm.source), max(silent / rhythm.allowed, 0.0), reason, evidence)


def _rhythm(source: str, value: Mapping[str, Any]) -> Rhythm:
    days = value["days"]
    longest = timedelta(seconds=max(days.values())) if len(days) >= _KNOWN else None
    return Rhythm(source, parse_time(value["last"]), longest)


def _hours(length: timedelta | None) -> str:
    minutes = round((length or timedelta(0)).total_seconds() / 60)
    return f"{minutes // 60} h {minutes % 60} min"
