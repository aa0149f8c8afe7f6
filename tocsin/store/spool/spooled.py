"""A store behind a spool: what comes while the store is away waits on this machine's disk, and is written in order.

Delivery: an append that returned is durable, in the store or in the spool. A segment is removed after the store has
taken it, so that a crash in between repeats an append, whose rows then count as duplicates. What finds no room in the
spool is not taken, and its source's checkpoint stays where it is.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

from tocsin.clock import Clock
from tocsin.errors import StoreAway
from tocsin.store.protocol import Appended, Refused, Store, check_rows
from tocsin.store.spool.segments import Segment, Segments

#: Rows of the dead-letter stream for rows of a stream that the store refused.
Letters = Callable[[str, pl.DataFrame, Sequence[Refused]], pl.DataFrame]
_LETTERS = "dead_letter"
log = logging.getLogger("tocsin")


class SpooledStore:
    """Implements `tocsin.store.protocol.Appends` on a store, for ingest. Threads may share it.

    Args:
        store: the store, whose appends raise `StoreAway` soon.
        folder: the spool's; only one process at a time uses it. It is taken when it is first needed, and done
            without where another process has it.
        clock: says how long ago the store was away.
        letters: makes dead letters of what the store refuses from the spool.
        max_bytes: of the spool's segments.
        pause: how long the store is not tried again after it was away.
    """

    def __init__(
        self,
        store: Store,
        folder: Path,
        clock: Clock,
        letters: Letters,
        max_bytes: int = 4 << 30,
        pause: timedelta = timedelta(seconds=5),
    ) -> None:
        self.namespace, self.overlap = store.namespace, store.overlap
        self.store, self._folder, self._clock, self.letters = store, folder, clock, letters
        self._max_bytes, self._pause = max_bytes, pause
        self._segments: Segments | None = None
        self._failed: float | None = None  # when the store was away, if it took nothing since
        self._warned = False
        self._known: dict[
            tuple[str, str], int | None
        ] = {}  # the store's checkpoints, as far as they were read
        self._mutex = threading.RLock()

    @property
    def place(self) -> str:
        return self.store.place

    # The spool

    @property
    def bytes(self) -> int:
        """Bytes of what waits in the spool."""
        return self._segments.bytes if self._segments else 0

    @property
    def events(self) -> int:
        """Events that wait in the spool."""
        return sum(segment.events for segment in self._waiting)

    @property
    def segments(self) -> int:
        """Appends that wait in the spool."""
        return len(self._waiting)

    @property
    def oldest(self) -> datetime | None:
        """When the oldest append came into the spool, if one waits."""
        waiting = self._waiting
        return waiting[0].written if waiting else None

    @property
    def _waiting(self) -> tuple[Segment, ...]:
        return self._segments.all if self._segments else ()

    def _taken(self) -> Segments | None:
        with self._mutex:
            if self._segments is None:
                self._segments = Segments.open(self._folder, self._max_bytes)
            return self._segments

    def drain(self) -> int:
        """Write what waits to the store, the oldest first; gives how many events that were.

        Raises:
            StoreAway: the store is away, still or again; what it did not take waits on.
            StoreError: it refused an append as a whole.
        """
        with self._mutex:
            spool = self._taken()
            try:
                return self._drain(spool) if spool else 0
            except StoreAway as error:
                self._is_away(error)
                raise

    def _drain(self, spool: Segments) -> int:
        events, waiting = 0, len(spool.all)
        while spool.all:
            segment = spool.all[0]
            frame = spool.read(segment)
            if frame is None:
                continue
            done = self._write(segment.stream, frame, segment.checkpoint)
            if done.refused and segment.stream != _LETTERS:
                self.store.append(_LETTERS, self.letters(segment.stream, frame, done.refused))
            spool.remove(segment)
            events += segment.events
        if waiting:
            log.info("the spool %s is empty again: %d events were written", self._folder, events)
        return events

    def _write(self, stream: str, frame: pl.DataFrame, checkpoint: Mapping[str, int]) -> Appended:
        done = self.store.append(stream, frame, checkpoint)
        self._known.update({(stream, key): number for key, number in checkpoint.items()})
        self._failed, self._warned = None, False
        return done

    def _warn(self, message: str, *what: object) -> None:
        """Say once what is said until the store takes something."""
        if not self._warned:
            log.warning(message, *what)
        self._warned = True

    def _is_away(self, error: StoreAway) -> None:
        self._warn("%s; until the store takes them, events wait in %s", str(error), self._folder)
        self._failed = self._clock.monotonic()

    @property
    def rests(self) -> bool:
        """Whether the store was away so lately that it is not tried."""
        since = None if self._failed is None else self._clock.monotonic() - self._failed
        return since is not None and since < self._pause.total_seconds()

    # Streams

    def append(
        self, stream: str, frame: pl.DataFrame, checkpoint: Mapping[str, int] | None = None
    ) -> Appended:
        check_rows(stream, frame)
        with self._mutex:
            spool, marks = self._taken(), checkpoint or {}
            if spool is None:
                self._warn("another process uses the spool %s: events are written without it", self._folder)
                return self.store.append(stream, frame, marks)
            if not self.rests:
                try:
                    self._drain(spool)
                    return self._write(stream, frame, marks)
                except StoreAway as error:
                    self._is_away(error)
            if len(frame) or marks:
                spool.write(stream, frame, marks, self._clock.now())
            return Appended(0, 0, spooled=len(frame))

    def checkpoint(self, stream: str, key: str) -> int | None:
        """The newest number for a key: in the spool, else in the store, else as it was there.

        While the store is away, a key that this process never asked for counts as new if others of its stream
        were asked for: files that appear meanwhile are read, and if one was read before, its events are duplicates.

        Raises:
            StoreAway: the store is away, and was when this process began: where the source is, is not known.
        """
        with self._mutex:
            spool = self._taken()
            waiting = spool.checkpoint(stream, key) if spool else None
            if waiting is not None:
                return waiting
            if not self.rests:
                try:
                    self._known[stream, key] = self.store.checkpoint(stream, key)
                except StoreAway as error:
                    self._is_away(error)
            if (stream, key) in self._known:
                return self._known[stream, key]
            if any(known == stream for known, _ in self._known):
                return None
        raise StoreAway(f"the store is away and has the checkpoints of stream {stream}: its sources wait")

    def close(self) -> None:
        """Let go of the spool, and close the store."""
        with self._mutex:
            if self._segments is not None:
                self._segments.close()
                self._segments = None
            self.store.close()
