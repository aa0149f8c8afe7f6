"""Detection of events that a stream already contains, over its whole history and with bounded memory.

An event from a source is identified by source, id and event time. If the source repeats the event, all are the same, so
a duplicate can only be among the events of the same hour. Sources that number their events from 1 do not collide, and no
source can send the id of another source's next event to have that event dropped. An event that Tocsin itself writes is
identified by its id, which is unique, because it may get a later time when it is written again after a crash. A
duplicate is searched in its day and the day before.

For each span (hour or day) that is written to, 64-bit hashes are held in memory: of an event from a source one hash
without the source and one with it, which is needed only if another event has the id. The hash seeds are
random in each process, so that an attacker cannot construct collisions. The least recently used spans are evicted,
and loaded from the stream when they are needed again. The probability that two of n events in a span collide is
n² / 2⁶⁵: 3 in 10⁸ for a million events.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tocsin.contract.streams import ID, SOURCE, TIME

_HOUR = 3_600_000_000  # µs
_DAY = 24 * _HOUR
_CAPACITY = 4_000_000  # events in memory: 64 MB

Hashes = NDArray[np.uint64]
Load = Callable[[datetime, datetime], pl.DataFrame]


class KnownIds:
    """The ids of one stream. After another process has written to the stream, call `clear`."""

    def __init__(self, *, internal: bool = False, capacity: int = _CAPACITY) -> None:
        self._seed, self._source_seed = secrets.randbits(63), secrets.randbits(63)
        self._spans: OrderedDict[int, Hashes] = OrderedDict()
        self._own_hashes: dict[
            int, list[Hashes]
        ] = {}  # by span, with the source; sorted when they are needed
        self._unshared = True
        self._capacity = capacity
        self._internal = internal
        self._width = _DAY if internal else _HOUR

    def clear(self) -> None:
        """Remove all ids from memory. They are loaded from the stream when they are needed."""
        self._spans.clear()
        self._own_hashes.clear()

    def find_new(self, frame: pl.DataFrame, load: Load) -> NDArray[np.bool_]:
        """Mark the rows whose event is neither in the stream nor in an earlier row of the frame.

        Args:
            frame: rows with `@timestamp`, `event.id` and, if they are from a source, `tocsin.source.id`.
            load: returns these columns of the stream's events in `[start, end)`.
        """
        spans, hashes = self._keys(frame)
        touched = np.unique(spans)
        self._load(np.unique(np.concatenate([touched, touched - 1])) if self._internal else touched, load)
        known = self._known(spans, hashes, self._spans)
        if self._internal or not known.any():  # an id that no source has used is new
            self._unshared = True
            return ~known
        self._unshared = False
        for span in touched.tolist():
            self._own_hashes[span] = [np.sort(np.concatenate(self._own_hashes[span]))]
        by_span = {span: self._own_hashes[span][0] for span in touched.tolist()}
        return ~self._known(spans, self._own(frame, hashes), by_span)

    def find_shared(self, frame: pl.DataFrame) -> NDArray[np.bool_]:
        """Mark the rows whose id and time are those of an event of another source.

        Args:
            frame: the rows that `find_new` has just marked. They are not added yet.
        """
        if self._unshared:
            return np.zeros(len(frame), dtype=bool)
        return self._known(*self._keys(frame), self._spans)

    def _known(
        self, spans: NDArray[np.int64], hashes: Hashes, by_span: Mapping[int, Hashes]
    ) -> NDArray[np.bool_]:
        """Mark the hashes that are in memory or that an earlier row has."""
        found = np.ones(len(hashes), dtype=bool)
        found[np.unique(hashes, return_index=True)[1]] = False
        for span, places in _groups(spans):
            for known in (by_span[s] for s in ((span, span - 1) if self._internal else (span,))):
                if len(known):
                    at = np.searchsorted(known, hashes[places])
                    at[at == len(known)] = 0
                    found[places] |= known[at] == hashes[places]
        return found

    def add(self, frame: pl.DataFrame) -> None:
        """Add the ids of rows that were appended."""
        spans, hashes = self._keys(frame)
        own = hashes if self._internal else self._own(frame, hashes)
        for span, places in _groups(spans):
            self._spans[span] = np.sort(np.concatenate([self._spans[span], hashes[places]]))
            self._spans.move_to_end(span)
            if not self._internal:
                self._own_hashes[span].append(own[places])
        while len(self._spans) > 2 and sum(map(len, self._spans.values())) > self._capacity:
            self._own_hashes.pop(self._spans.popitem(last=False)[0], None)

    def _keys(self, frame: pl.DataFrame) -> tuple[NDArray[np.int64], Hashes]:
        """The span of each row, and the hash of its id, with its time if it is from a source."""
        times = frame[TIME].to_physical().to_numpy()
        hashes = frame[ID].hash(self._seed).to_numpy()
        if not self._internal:
            hashes = hashes ^ (times.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15))
        return times // self._width, hashes

    def _own(self, frame: pl.DataFrame, hashes: Hashes) -> Hashes:
        """The hash that identifies each row: with its source, if it is from a source."""
        if self._internal or SOURCE not in frame.columns:
            return hashes
        sources: Hashes = frame[SOURCE].fill_null("").hash(self._source_seed).to_numpy()
        return hashes ^ sources

    def _load(self, spans: NDArray[np.int64], load: Load) -> None:
        missing = np.array([span for span in spans.tolist() if span not in self._spans], dtype=np.int64)
        empty = np.empty(0, dtype=np.uint64)
        for run in np.split(missing, np.flatnonzero(np.diff(missing) > 1) + 1):
            if not len(run):
                continue
            ends = pl.Series([int(run[0]) * self._width, (int(run[-1]) + 1) * self._width])
            start, end = ends.cast(pl.Datetime("us", "UTC"))
            rows = load(start, end)
            found_spans, hashes = self._keys(rows)
            own, found = self._own(rows, hashes), dict(_groups(found_spans))
            for span in run.tolist():
                self._spans[span] = np.sort(hashes[found[span]]) if span in found else empty
                self._own_hashes[span] = [own[found[span]] if span in found else empty]


def _groups(spans: NDArray[np.int64]) -> list[tuple[int, NDArray[np.int64]]]:
    if len(spans) == 0:
        return []
    order = np.argsort(spans, kind="stable")
    values, starts = np.unique(spans[order], return_index=True)
    return list(zip(values.tolist(), np.split(order, starts[1:]), strict=True))
