"""The period of a report, and its events per bin. The store counts the events; none is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from tocsin.clock import Clock, floor_time, format_time
from tocsin.contract.query import COUNT
from tocsin.contract.streams import SOURCES
from tocsin.errors import InputError
from tocsin.store.protocol import Store

#: The default period of a report, up to now. It starts at the first event if that is later.
USUAL = timedelta(days=30)
HOURLY = "an hour"
_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)
#: The longest period, the length of its bins, and the name of one bin.
_BINS = (
    (2 * _DAY, _HOUR, HOURLY),
    (92 * _DAY, _DAY, "a day"),
    (timedelta(days=731), 7 * _DAY, "in 7 days"),
    (timedelta.max, 28 * _DAY, "in 28 days"),
)


@dataclass(frozen=True, slots=True)
class Period:
    """The time `[start, end)`. An `open` period ends now and includes every row written so far."""

    start: datetime
    end: datetime
    open: bool = False

    def holds(self, time: datetime) -> bool:
        """Whether the time of a stored row is in the period."""
        return self.start <= time and self.before_end(time)

    def before_end(self, time: datetime) -> bool:
        """Whether the time of a stored row is before the end of the period."""
        return self.open or time < self.end

    @property
    def options(self) -> str:
        """The period as options of a command."""
        return f"--from {format_time(self.start)} --to {format_time(self.end)}"


@dataclass(frozen=True, slots=True)
class Counted:
    """Events of each stream between one edge and the next. `unit` names the length of a bin."""

    edges: tuple[datetime, ...]
    by_stream: Mapping[str, tuple[int, ...]]
    unit: str

    @property
    def total(self) -> int:
        """The number of all events."""
        return sum(map(sum, self.by_stream.values()))

    @property
    def first(self) -> datetime | None:
        """The start of the first bin that holds an event."""
        bins = zip(self.edges, *self.by_stream.values(), strict=False)
        return next((edge for edge, *numbers in bins if any(numbers)), None)


def period(store: Store, clock: Clock, since: datetime | None, until: datetime | None) -> Period:
    """The requested period. Without `since` it is the default one, shortened to start at the first event.

    Raises:
        InputError: the period ends before it begins, or begins in the future.
    """
    now = clock.now()
    end = now if until is None else min(until, now)
    if since is not None:
        if since >= end:
            limit = "now, which is" if end == now else "its end,"
            raise InputError(
                f"the report would begin at {format_time(since)}, not before {limit} {format_time(end)}"
            )
        return Period(since, end, open=end == now)
    usual = Period(end - USUAL, end, open=end == now)
    first = count(store, usual).first
    return usual if first is None else Period(first, end, usual.open)


def count(store: Store, of: Period) -> Counted:
    """Events by stream and bin of a period."""
    length, unit = next((size, name) for most, size, name in _BINS if of.end - of.start <= most)
    first = floor_time(of.start, length)
    inner = (first + n * length for n in range(1, (of.end - first) // length + 1))
    edges = (of.start, *(edge for edge in inner if edge < of.end), of.end)
    return Counted(edges, {stream: _bins(store, stream, edges) for stream in SOURCES}, unit)


def _bins(store: Store, stream: str, edges: tuple[datetime, ...]) -> tuple[int, ...]:
    """Counts by halving the time until a part is empty or one bin: an empty stream costs one query."""
    total = _events(store, stream, edges[0], edges[-1])
    if total == 0 or len(edges) == 2:
        return (total,) + (0,) * (len(edges) - 2)
    if len(edges) > 8:
        middle = len(edges) // 2
        return _bins(store, stream, edges[: middle + 1]) + _bins(store, stream, edges[middle:])
    return tuple(_events(store, stream, *pair) for pair in pairwise(edges))


def _events(store: Store, stream: str, start: datetime, end: datetime) -> int:
    return int(store.summarize(stream, start, end, [], [COUNT])["count"].sum())
