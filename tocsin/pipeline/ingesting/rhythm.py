"""Learns how often each source delivers events, and detects when a source is silent for unusually long.

A source is one configured collector. The longest silence of each of the last 28 days is stored. A source counts as silent
when no event has arrived for 1.5 times the longest of these silences, which include nights and weekends.
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
_KNOWN = 3  # days with events that are required before silence is judged
_SHORTEST = timedelta(minutes=15)
_FACTOR = 1.5


@dataclass(frozen=True, slots=True)
class Rhythm:
    """The last activity and the longest silence of a source."""

    source: str
    last: datetime
    longest: timedelta | None  # None until enough days are known

    @property
    def allowed(self) -> timedelta | None:
        """The longest silence that is not reported."""
        return None if self.longest is None else max(self.longest * _FACTOR, _SHORTEST)


class Rhythms:
    """The rhythm of every source, in the keyed state."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock

    def record_activity(self, source: str) -> None:
        """Record that a source delivered events."""
        now = self._clock.now()
        entry = self._store.get(KIND, source)
        value: Mapping[str, Any] = entry.value if entry else {"last": format_time(now), "days": {}}
        gap = max(now - parse_time(value["last"]), timedelta(0))
        allowed = _rhythm(source, value).allowed
        if (
            allowed is not None
        ):  # limits what one outage can teach; a lasting change is still learned over time
            gap = min(gap, allowed)
        day = now.date().isoformat()
        days = {**value["days"], day: max(value["days"].get(day, 0.0), gap.total_seconds())}
        kept = dict(sorted(days.items())[-_DAYS:])
        self._store.put(
            KIND, source, {"last": format_time(now), "days": kept}, entry.version if entry else None
        )

    def all(self) -> list[Rhythm]:
        """The rhythm of every source that ever delivered events."""
        return [_rhythm(entry.key, entry.value) for entry in self._store.entries(KIND)]

    def scores(self, sources: Sequence[str]) -> Iterator[Score]:
        """How long each of these sources has been silent, relative to its allowed silence."""
        now = self._clock.now()
        for rhythm in self.all():
            if rhythm.source not in sources:  # the source is no longer configured
                continue
            silent = now - rhythm.last
            if rhythm.allowed is None:
                yield Score(
                    Subject("source", rhythm.source),
                    0.0,
                    f"not judged yet: fewer than {_KNOWN} days with events",
                )
                continue
            reason = (
                f"no event for {_hours(silent)}; the longest silence in the last {_DAYS} days with events "
                f"was {_hours(rhythm.longest)}"
            )
            evidence = {"last": format_time(rhythm.last), "allowed": _hours(rhythm.allowed)}
            yield Score(Subject("source", rhythm.source), max(silent / rhythm.allowed, 0.0), reason, evidence)


def _rhythm(source: str, value: Mapping[str, Any]) -> Rhythm:
    days = value["days"]
    longest = timedelta(seconds=max(days.values())) if len(days) >= _KNOWN else None
    return Rhythm(source, parse_time(value["last"]), longest)


def _hours(length: timedelta | None) -> str:
    minutes = round((length or timedelta(0)).total_seconds() / 60)
    return f"{minutes // 60} h {minutes % 60} min"
