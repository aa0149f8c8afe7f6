"""What a store promises. `tests/store/conformance.py` holds every store to it."""

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
    """A row that the store cannot hold, by its `event.id`, and why."""

    id: str
    reason: str


class Appended(NamedTuple):
    """What became of the rows of one append: every row is accepted, a duplicate, refused, or spooled.

    What is spooled is on this machine's disk, and is written when the store is back.
    """

    accepted: int
    duplicates: int
    refused: tuple[Refused, ...] = ()
    spooled: int = 0


@dataclass(frozen=True, slots=True)
class Entry:
    """One record of the keyed state. `version` rises with every write and is never used again."""

    kind: str
    key: str
    value: Mapping[str, Any]
    version: int


def check_rows(stream: str, frame: pl.DataFrame) -> None:
    """Refuse rows that no store takes.

    Raises:
        StoreError: the frame has not the stream's schema, or a row has no time or no id.
    """
    if frame.schema != schema(stream):
        raise StoreError(f"rows for stream {stream} have not its schema: {frame.schema}")
    if frame[TIME].null_count() or frame[ID].null_count():
        raise StoreError(f"rows for stream {stream} must all have an @timestamp and an event.id")


class Appends(Protocol):
    """What ingest needs of a store."""

    def append(
        self, stream: str, frame: pl.DataFrame, checkpoint: Mapping[str, int] | None = None
    ) -> Appended:
        """Append rows of a stream's schema; rows whose `event.id` is already there are duplicates.

        Stamps `event.ingested`, later than every stamp before it in the stream. The checkpoint
        (a number for each key) becomes visible with the rows, in the same commit, even without rows.

        Raises:
            StoreAway: the store cannot be reached now; some of the rows may be there.
            StoreError: the frame has not the stream's schema, or the rows cannot be written.
        """
        ...

    def checkpoint(self, stream: str, key: str) -> int | None:
        """The committed number for a key of a stream, or None."""
        ...


class Store(Appends, Protocol):
    """Append-only streams and a small keyed state.

    Delivery: an append that returned is durable; one that was cut off by a crash is either wholly
    there or not at all, and doing it again changes nothing, since `event.id` is the key.
    """

    namespace: str
    #: How far behind the newest ingest time of a stream rows may still come into sight.
    overlap: timedelta

    @property
    def place(self) -> str:
        """Where it is, for people: a folder or a URL."""
        ...

    def checkpoints(self, stream: str) -> Mapping[str, int]:
        """Every committed number of a stream, by its key."""
        ...

    def scan(
        self,
        stream: str,
        start: datetime | None = None,
        end: datetime | None = None,
        columns: Sequence[str] | None = None,
        where: Where = (),
    ) -> pl.LazyFrame:
        """Rows with `start <= @timestamp < end` that meet every condition, each event once."""
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
        """One row a group: the columns of `by`, then one column a measure."""
        ...

    def newest(self, stream: str) -> datetime:
        """The newest ingest time that is in sight, or up to a millisecond later where a store has `overlap`; 1970
        where a stream is empty.
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
        """The tumbling windows of a length that hold rows of `scan`, oldest first: `start`, `rows`, and for each name
        in `after` how many of them were ingested after that time.
        """
        ...

    def get(self, kind: str, key: str) -> Entry | None:
        """A record of the keyed state, or None."""
        ...

    def put(self, kind: str, key: str, value: Mapping[str, Any], expected: int | None = None) -> Entry | None:
        """Write a record if its version is still `expected` (None: it must not exist yet).

        Returns:
            The new entry, or None where another writer was first.
        """
        ...

    def delete(self, kind: str, key: str, expected: int) -> bool:
        """Remove a record if its version is still `expected`."""
        ...

    def entries(self, kind: str, prefix: str = "") -> list[Entry]:
        """All records of a kind whose key begins with `prefix`, by key."""
        ...

    def kinds(self) -> list[str]:
        """The kinds of which the keyed state holds a record, in order."""
        ...

    def raise_versions(self, above: int) -> None:
        """Give only versions higher than this from now on: those that another store gave stay the older ones."""
        ...

    def keep(self, name: str, write: Callable[[str], None]) -> None:
        """Keep a file (a baseline's frames) under a name, atomically; `write` gets a path to fill."""
        ...

    def kept(self, name: str) -> AbstractContextManager[str]:
        """A path at which a kept file can be read.

        Raises:
            StoreError: nothing is kept under that name.
        """
        ...

    def kept_names(self) -> list[str]:
        """The name of every kept file, in order."""
        ...

    def maintain(self) -> Mapping[str, int]:
        """Compact small files and drop what is past its retention; says how much of each."""
        ...

    def close(self) -> None:
        """Release what the store holds open."""
        ...
