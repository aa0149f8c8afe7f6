"""A store with a spool: appends are buffered on this machine's disk while the store is unreachable.

Delivery: an append that returned is durable, in the store or in the spool. Buffered appends are written to the store
in order. A segment is deleted after the store has accepted it, so a crash in between repeats the append, and its rows
count as duplicates. If the spool is full, an append fails and the checkpoint of its source does not advance.
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

#: Creates rows of the dead-letter stream from rows of another stream that the store refused.
MakeDeadLetters = Callable[[str, pl.DataFrame, Sequence[Refused]], pl.DataFrame]
_DEAD_LETTERS = "dead_letter"
log = logging.getLogger("tocsin")


class SpooledStore:
    """Implements `tocsin.store.protocol.Appends` on a store, for ingest. It is safe to use from several threads.

    Args:
        store: the store. Its appends must raise `StoreAway` after a short time if it is unreachable.
        folder: the folder of the spool. It is locked at the first use. If another process has locked it, appends go
            directly to the store.
        clock: measures the time since the last failure.
        make_dead_letters: creates dead letters from buffered rows that the store refuses.
        max_bytes: maximum total size of the segments.
        pause: time after a failure during which the store is not contacted.
    """

    def __init__(
        self,
        store: Store,
        folder: Path,
        clock: Clock,
        make_dead_letters: MakeDeadLetters,
        max_bytes: int = 4 << 30,
        pause: timedelta = timedelta(seconds=5),
    ) -> None:
        self.namespace, self.overlap = store.namespace, store.overlap
        self.store, self._folder, self._clock = store, folder, clock
        self.make_dead_letters = make_dead_letters
        self._max_bytes, self._pause = max_bytes, pause
        self._segments: Segments | None = None
        self._failed: float | None = (
            None  # monotonic time of the last failure; None after a successful append
        )
        self._warned = False
        #: By stream and key: the store's checkpoints that this process has read or written.
        self._checkpoints: dict[tuple[str, str], int | None] = {}
        self._mutex = threading.RLock()

    @property
    def place(self) -> str:
        return self.store.place

    # The spool

    @property
    def bytes(self) -> int:
        """Total size of the segments in the spool."""
        return self._segments.bytes if self._segments else 0

    @property
    def events(self) -> int:
        """Number of events in the spool."""
        return sum(segment.events for segment in self._buffered)

    @property
    def segments(self) -> int:
        """Number of appends in the spool."""
        return len(self._buffered)

    @property
    def oldest(self) -> datetime | None:
        """When the oldest append was written to the spool; None if the spool is empty."""
        buffered = self._buffered
        return buffered[0].written if buffered else None

    @property
    def _buffered(self) -> tuple[Segment, ...]:
        return self._segments.all if self._segments else ()

    def _open_spool(self) -> Segments | None:
        with self._mutex:
            if self._segments is None:
                self._segments = Segments.open(self._folder, self._max_bytes)
            return self._segments

    def drain(self) -> int:
        """Write all buffered appends to the store, oldest first, and return the number of their events.

        Raises:
            StoreAway: the store is unreachable. Segments that it has not accepted stay in the spool.
            StoreError: the store refused an append as a whole.
        """
        with self._mutex:
            spool = self._open_spool()
            try:
                return self._drain(spool) if spool else 0
            except StoreAway as error:
                self._record_failure(error)
                raise

    def _drain(self, spool: Segments) -> int:
        events, buffered = 0, len(spool.all)
        while spool.all:
            segment = spool.all[0]
            frame = spool.read(segment)
            if frame is None:
                continue
            done = self._write(segment.stream, frame, segment.checkpoint)
            if done.refused and segment.stream != _DEAD_LETTERS:
                dead_letters = self.make_dead_letters(segment.stream, frame, done.refused)
                self.store.append(_DEAD_LETTERS, dead_letters)
            spool.remove(segment)
            events += segment.events
        if buffered:
            log.info("the spool %s is empty again: %d events were written to the store", self._folder, events)
        return events

    def _write(self, stream: str, frame: pl.DataFrame, checkpoint: Mapping[str, int]) -> Appended:
        done = self.store.append(stream, frame, checkpoint)
        self._checkpoints.update({(stream, key): number for key, number in checkpoint.items()})
        self._failed, self._warned = None, False
        return done

    def _warn_once(self, message: str, *arguments: object) -> None:
        """Log a warning, at most once until the next successful append."""
        if not self._warned:
            log.warning(message, *arguments)
        self._warned = True

    def _record_failure(self, error: StoreAway) -> None:
        self._warn_once(
            "%s; events are buffered in %s until the store accepts them", str(error), self._folder
        )
        self._failed = self._clock.monotonic()

    @property
    def is_backing_off(self) -> bool:
        """Whether the last failure is so recent that the store is not contacted."""
        since = None if self._failed is None else self._clock.monotonic() - self._failed
        return since is not None and since < self._pause.total_seconds()

    # Streams

    def append(
        self, stream: str, frame: pl.DataFrame, checkpoint: Mapping[str, int] | None = None
    ) -> Appended:
        check_rows(stream, frame)
        with self._mutex:
            spool, numbers = self._open_spool(), checkpoint or {}
            if spool is None:
                self._warn_once(
                    "another process uses the spool %s: events are written without it", self._folder
                )
                return self.store.append(stream, frame, numbers)
            if not self.is_backing_off:
                try:
                    self._drain(spool)
                    return self._write(stream, frame, numbers)
                except StoreAway as error:
                    self._record_failure(error)
            if len(frame) or numbers:
                spool.write(stream, frame, numbers, self._clock.now())
            return Appended(0, 0, spooled=len(frame))

    def checkpoint(self, stream: str, key: str) -> int | None:
        """The newest checkpoint for a key: from the spool, else from the store, else as last read from the store.

        While the store is unreachable, an unknown key counts as new if this process has read another checkpoint of
        its stream. New files are therefore still collected. If a file was read before, its events are duplicates.

        Raises:
            StoreAway: the store is unreachable, and this process has read no checkpoint of the stream.
        """
        with self._mutex:
            spool = self._open_spool()
            buffered = spool.checkpoint(stream, key) if spool else None
            if buffered is not None:
                return buffered
            if not self.is_backing_off:
                try:
                    self._checkpoints[stream, key] = self.store.checkpoint(stream, key)
                except StoreAway as error:
                    self._record_failure(error)
            if (stream, key) in self._checkpoints:
                return self._checkpoints[stream, key]
            if any(known == stream for known, _ in self._checkpoints):
                return None
        raise StoreAway(
            f"the store is unreachable, and the checkpoints of stream {stream} are unknown; "
            "collectors of this stream wait until the store is reachable"
        )

    def close(self) -> None:
        """Release the spool and close the store."""
        with self._mutex:
            if self._segments is not None:
                self._segments.close()
                self._segments = None
            self.store.close()
