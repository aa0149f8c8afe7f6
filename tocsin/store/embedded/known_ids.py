"""Detection of events that a stream already contains, over its whole history and with bounded memory.

An event from a source is identified by id and event time. If the source repeats the event, both are the same, so a
duplicate can only be among the events of the same hour. Sources that number their events from 1 do not collide. An
event that Tocsin itself writes is identified by its id, which is unique, because it may get a later time when it is
written again after a crash. A duplicate is searched in its day and the day before.

For each span (hour or day) that is written to, a sorted array of 64-bit hashes is held in memory. The hash seed is
random in each process, so that an attacker cannot construct collisions. The least recently used spans are evicted,
and loaded from the stream when they are needed again. The probability that two of n events in a span collide is
n² / 2⁶⁵: 3 in 10⁸ for a million events.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tocsin.contract.streams import ID, TIME

_HOUR = 3_600_000_000  # µs
_DAY = 24 * _HOUR
_CAPACITY = 4_000_000  # hashes in memory: 32 MB

Hashes = NDArray[np.uint64]
Load = Callable[[datetime, datetime], pl.DataFrame]


class KnownIds:
    """The ids of one stream. After another process has written to the stream, call `clear`."""

    def __init__(self, *, internal: bool = False, capacity: int = _CAPACITY) -> None:
        self._seed = secrets.randbits(63)
        self._spans: OrderedDict[int, Hashes] = OrderedDict()
        self._capacity = capacity
        self._internal = internal
        self._width = _DAY if internal else _HOUR

    def clear(self) -> None:
        """Remove all ids from memory. They are loaded from the stream when they are needed."""
        self._spans.clear()

    def find_new(self, frame: pl.DataFrame, load: Load) -> NDArray[np.bool_]:
        """Mark the rows whose event is neither in the stream nor in an earlier row of the frame.

        Args:
            frame: rows with `@timestamp` and `event.id`.
            load: returns `@timestamp` and `event.id` of the stream's events in `[start, end)`.
        """
        spans, hashes = self._keys(frame)
        new = np.zeros(len(hashes), dtype=bool)
        new[np.unique(hashes, return_index=True)[1]] = True
        touched = np.unique(spans)
        self._load(np.unique(np.concatenate([touched, touched - 1])) if self._internal else touched, load)
        for span, places in _groups(spans):
            for known in (self._spans[s] for s in ((span, span - 1) if self._internal else (span,))):
                if len(known):
                    at = np.searchsorted(known, hashes[places])
                    at[at == len(known)] = 0
                    new[places] &= known[at] != hashes[places]
        return new

    def add(self, frame: pl.DataFrame) -> None:
        """Add the ids of rows that were appended."""
        spans, hashes = self._keys(frame)
        for span, places in _groups(spans):
            self._spans[span] = np.sort(np.concatenate([self._spans[span], hashes[places]]))
            self._spans.move_to_end(span)
        while len(self._spans) > 2 and sum(map(len, self._spans.values())) > self._capacity:
            self._spans.popitem(last=False)

    def _keys(self, frame: pl.DataFrame) -> tuple[NDArray[np.int64], Hashes]:
        times = frame[TIME].to_physical().to_numpy()
        hashes = frame[ID].hash(self._seed).to_numpy()
        if not self._internal:
            hashes = hashes ^ (times.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15))
        return times // self._width, hashes

    def _load(self, spans: NDArray[np.int64], load: Load) -> None:
        missing = np.array([span for span in spans.tolist() if span not in self._spans], dtype=np.int64)
        empty = np.empty(0, dtype=np.uint64)
        for run in np.split(missing, np.flatnonzero(np.diff(missing) > 1) + 1):
            if not len(run):
                continue
            ends = pl.Series([int(run[0]) * self._width, (int(run[-1]) + 1) * self._width])
            start, end = ends.cast(pl.Datetime("us", "UTC"))
            found_spans, hashes = self._keys(load(start, end))
            found = dict(_groups(found_spans))
            for span in run.tolist():
                self._spans[span] = np.sort(hashes[found[span]]) if span in found else empty


def _groups(spans: NDArray[np.int64]) -> list[tuple[int, NDArray[np.int64]]]:
    if len(spans) == 0:
        return []
    order = np.argsort(spans, kind="stable")
    values, starts = np.unique(spans[order], return_index=True)
    return list(zip(values.tolist(), np.split(order, starts[1:]), strict=True))
