"""The protocol that every store implements. `tests/store/conformance.py` tests it for each store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Protocol

import polars as pl

from tocsin.contract.frames import schema
from tocsin.contract.query import Measure, Where
from tocsin.contract.streams import ID, TIME
from tocsin.errors import StoreError


class Refused(NamedTuple):
    """A row that the store rejected: its `event.id` and the reason."""

    id: str
    reason: str


class Appended(NamedTuple):
    """The result of one append: every row is either accepted, a duplicate, refused, or spooled.

    Spooled rows are on this machine's disk. They are written to the store when it is reachable again. `shared` rows are
    accepted rows whose id and time another source has used; see `tocsin.store.shared_ids`.
    """

    accepted: int
    duplicates: int
    refused: tuple[Refused, ...] = ()
    spooled: int = 0
    shared: int = 0


@dataclass(frozen=True, slots=True)
class Entry:
    """One record of the keyed state. `version` increases with every write; no version is ever reused."""

    kind: str
    key: str
    value: Mapping[str, Any]
    version: int


def check_rows(stream: str, frame: pl.DataFrame) -> None:
    """Check rows before an append.

    Raises:
        StoreError: the frame does not have the stream's schema, or a row has no time or no id.
    """
    if frame.schema != schema(stream):
        raise StoreError(
            f"the rows do not have the schema of stream {stream}, but {frame.schema}; "
            "convert them with tocsin.contract.frames.conform"
        )
    if frame[TIME].null_count() or frame[ID].null_count():
        raise StoreError(f"every row of stream {stream} must have an @timestamp and an event.id")


class Appends(Protocol):
    """The part of a store that ingest uses."""

    def append(
        self, stream: str, frame: pl.DataFrame, checkpoint: Mapping[str, int] | None = None
    ) -> Appended:
        """Append rows with the stream's schema. Rows whose event is already stored are counted as duplicates.

        An event of a source is the same if its source, its id and its time are the same; an event that Tocsin itself
        writes, if its id is the same.

        Sets `event.ingested` to a time later than every ingest time in the stream. The checkpoint (a number for each
        key) is never visible before the rows are. It is also written if there are no rows.

        Raises:
            StoreAway: the store cannot be reached; some of the rows may have been written.
            StoreError: the frame does not have the stream's schema, or the rows cannot be written.
        """
        ...

    def checkpoint(self, stream: str, key: str) -> int | None:
        """The committed checkpoint for a key of a stream, or None."""
        ...


class Store(Appends, Protocol):
    """Append-only streams and a small keyed state.

    Delivery: an append that returned is durable. An append that a crash interrupted can be repeated: `event.id` is
    the key, so rows that are already stored are duplicates.
    """

    namespace: str
    #: Rows can become visible with an ingest time up to this much older than the newest visible one.
    overlap: timedelta

    @property
    def place(self) -> str:
        """The location of the store for messages: a folder or a URL."""
        ...

    def checkpoints(self, stream: str) -> Mapping[str, int]:
        """All committed checkpoints of a stream, by key."""
        ...

    def scan(
        self,
        stream: str,
        start: datetime | None = None,
        end: datetime | None = None,
        columns: Sequence[str] | None = None,
        where: Where = (),
    ) -> pl.LazyFrame:
        """Rows with `start <= @timestamp < end` that match all conditions, each event once."""
        ...

    def summarize(
        self,
        stream: str,
        start: datetime | None,
        end: datetime | None,
        by: Sequence[str],
        measures: Sequence[Measure],
        where: Where = (),
    ) -> pl.DataFrame:
        """One row for each group: the columns of `by`, then one column for each measure."""
        ...

    def newest(self, stream: str) -> datetime:
        """The newest visible ingest time of a stream, or 1970-01-01 if the stream is empty.

        A store with `overlap` may return a time up to a millisecond later.
        """
        ...

    def windows(
        self,
        stream: str,
        length: timedelta,
        start: datetime | None = None,
        end: datetime | None = None,
        where: Where = (),
        after: Mapping[str, datetime] | None = None,
    ) -> pl.DataFrame:
        """The tumbling windows of a length that contain rows of `scan`, oldest first.

        The columns are `start`, `rows` (the number of rows), and for each name in `after` the number of rows that
        were ingested after its time.
        """
        ...

    def get(self, kind: str, key: str) -> Entry | None:
        """A record of the keyed state, or None."""
        ...

    def put(self, kind: str, key: str, value: Mapping[str, Any], expected: int | None = None) -> Entry | None:
        """Write a record if its version is still `expected` (None: it must not exist yet).

        Returns:
            The new entry, or None if another writer changed the record first.
        """
        ...

    def put_all(
        self, kind: str, writes: Sequence[tuple[str, Mapping[str, Any], int | None]]
    ) -> list[Entry | None]:
        """Write many records as `put` does, in their order: for each, its key, value and expected version.

        Returns:
            For each write the new entry, or None if another writer changed the record first. A crash may leave a
            part of the writes undone.
        """
        ...

    def delete(self, kind: str, key: str, expected: int) -> bool:
        """Delete a record if its version is still `expected`. Return whether it was deleted."""
        ...

    def entries(self, kind: str, prefix: str = "") -> list[Entry]:
        """All records of a kind whose key begins with `prefix`, sorted by key."""
        ...

    def kinds(self) -> list[str]:
        """The kinds of the records in the keyed state, sorted."""
        ...

    def raise_versions(self, above: int) -> None:
        """Assign only versions higher than `above` from now on, so that versions copied from another store are older."""
        ...

    def save_file(self, name: str, write: Callable[[str], None]) -> None:
        """Store a file, such as the frames of a baseline, under a name. `write` gets a path to write the content to."""
        ...

    def file_path(self, name: str) -> AbstractContextManager[str]:
        """A context with a path at which a stored file can be read.

        Raises:
            StoreError: no file has this name.
        """
        ...

    def file_names(self) -> list[str]:
        """The names of all stored files, sorted."""
        ...

    def maintain(self) -> Mapping[str, int]:
        """Compact small files and delete expired rows. Return the number of files compacted and dropped."""
        ...

    def close(self) -> None:
        """Release all resources, such as connections and file handles."""
        ...
