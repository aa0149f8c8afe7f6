"""Knows which sources cannot be read, learns how often each source delivers, and detects an unusually long silence.

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
_FAULT = "source_fault"  # kind of the records of sources that could not be read at the last try
_DAYS = 28
_KNOWN = 3  # days with events that are required before silence is judged
_SHORTEST = timedelta(minutes=15)
_FACTOR = 1.5
_LONGEST, _SENTENCE = 2000, 200  # characters of a reason that is stored, and of one that is shown


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

    def record_state(self, source: str, fault: str) -> None:
        """Record why a source could not be read completely, or with an empty `fault` that it could."""
        entry = self._store.get(_FAULT, source)
        if not fault:
            if entry is not None:
                self._store.delete(_FAULT, source, entry.version)
            return
        since = entry.value["since"] if entry else format_time(self._clock.now())
        value = {"since": since, "reason": fault[:_LONGEST]}
        if entry is None or entry.value != value:
            self._store.put(_FAULT, source, value, entry.version if entry else None)

    def all(self) -> list[Rhythm]:
        """The rhythm of every source that ever delivered events."""
        return [_rhythm(entry.key, entry.value) for entry in self._store.entries(KIND)]

    def scores(self, sources: Sequence[str]) -> Iterator[Score]:
        """2 for a source that could not be read; else how long it has been silent, relative to its allowed silence."""
        now = self._clock.now()
        faults = {e.key: e.value for e in self._store.entries(_FAULT) if e.key in sources}
        for source, fault in sorted(faults.items()):
            reason = f"could not be read since {fault['since']}: {fault['reason']}"
            yield Score(Subject("source", source), 2.0, _short(reason), dict(fault))
        for rhythm in self.all():
            if rhythm.source in faults or rhythm.source not in sources:  # or it is no longer configured
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


def _short(reason: str) -> str:
    return reason if len(reason) <= _SENTENCE else f"{reason[: _SENTENCE - 1]}…"


def _hours(length: timedelta | None) -> str:
    minutes = round((length or timedelta(0)).total_seconds() / 60)
    return f"{minutes // 60} h {minutes % 60} min"
