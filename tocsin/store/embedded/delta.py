"""The embedded store: one Delta Lake table for each stream, SQLite for the keyed state, no server.

Delivery: an append is one atomic Delta commit, which includes the source's checkpoint. Several processes on one
machine may read and write at once. Readers see the last commit. Writers of a stream are serialized by a file lock,
which the kernel releases when a writer dies.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Self

import polars as pl
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import DeltaError
from deltalake.transaction import AddAction, RemoveAction

from tocsin.clock import EPOCH, Clock, SystemClock, parse_length
from tocsin.contract.frames import TIME_TYPE, schema
from tocsin.contract.query import Measure, Where
from tocsin.contract.streams import ID, INGESTED, STREAMS, TIME
from tocsin.contract.windows import aggregate, matches
from tocsin.errors import StoreError
from tocsin.store import shared_ids
from tocsin.store.embedded import delta_files as files
from tocsin.store.embedded.known_ids import KnownIds
from tocsin.store.embedded.state import State
from tocsin.store.embedded.tables import Tables
from tocsin.store.private import private_files
from tocsin.store.protocol import Appended, Entry, check_rows
from tocsin.store.tumbling import count_by_window

_STAMP = "tocsin/ingested"  # id of the Delta transaction with the stream's last ingest time, in µs
_CONFIGURATION = {"delta.dataSkippingNumIndexedCols": "3"}  # event time, id and ingest time
_MICROSECOND = timedelta(microseconds=1)


class DeltaStore:
    """Implements `tocsin.store.protocol.Store` in a folder."""

    overlap = timedelta(0)  # one lock covers ingest time and commit: rows become visible in order

    def __init__(self, root: Path, namespace: str, clock: Clock, retention: Mapping[str, timedelta]) -> None:
        self.root, self.namespace, self._clock = root, namespace, clock
        self._retention = {s.name: parse_length(s.retention) for s in STREAMS.values()} | dict(retention)
        try:
            with private_files():
                for folder in ("streams", "locks", "kept"):
                    (root / folder).mkdir(parents=True, exist_ok=True)
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            raise StoreError(
                f"cannot create the store {root}: {why}; set `store.path` to a folder that Tocsin can write to"
            ) from error
        self._state = State(root / "state.db", namespace)
        self.put_all = self._state.put_all
        self._known: dict[str, tuple[int, KnownIds]] = {}
        self.tables = Tables(root)
        self._mutex = threading.RLock()

    @property
    def place(self) -> str:
        return str(self.root)

    @classmethod
    def open(
        cls,
        root: Path,
        namespace: str = "default",
        clock: Clock | None = None,
        retention: Mapping[str, timedelta] | None = None,
    ) -> Self:
        """Open the store in a folder, and create it if it does not exist.

        `retention` overrides the default retention of streams.

        Raises:
            StoreError: the folder cannot be written, or the store has another version or namespace.
        """
        return cls(root, namespace, clock or SystemClock(), retention or {})

    # Streams

    def append(
        self, stream: str, frame: pl.DataFrame, checkpoint: Mapping[str, int] | None = None
    ) -> Appended:
        check_rows(stream, frame)
        if frame.is_empty() and not checkpoint:
            return Appended(0, 0)
        with self._mutex, self._write_lock(stream), private_files():
            table = self._table(stream)
            known = self._known_ids(stream, table)
            new = frame.filter(pl.Series(known.find_new(frame, partial(files.ids_between, table))))
            shared = new.filter(pl.Series(known.find_shared(new)))
            shared_ids.note(self, stream, shared, self._clock.now())
            if len(new) or checkpoint:
                self._commit(stream, table, new, dict(checkpoint or {}))
                known.add(new)
                self._known.pop(stream, None)
                if table is not None:
                    self._known[stream] = table.version(), known
        return Appended(len(new), len(frame) - len(new), shared=len(shared))

    def _commit(self, stream: str, table: DeltaTable | None, rows: pl.DataFrame, ids: dict[str, int]) -> None:
        stamp = max(self._clock.now(), self.newest(stream) + _MICROSECOND)
        ids[_STAMP] = (stamp - EPOCH) // _MICROSECOND
        rows = rows.with_columns(
            pl.lit(stamp, dtype=TIME_TYPE).alias(INGESTED), pl.col(TIME).dt.date().alias(files.DAY)
        ).select(TIME, ID, INGESTED, pl.exclude(TIME, ID, INGESTED))
        transactions = [Transaction(id, number, None) for id, number in ids.items()]
        properties = CommitProperties(app_transactions=transactions)
        try:
            table = self._with_columns(stream, table, rows.head(0))
            added: list[AddAction | RemoveAction] = [
                files.part_file(self.tables.path(stream), day, part)
                for (day,), part in rows.group_by(files.DAY, maintain_order=True)
            ]
            table.create_write_transaction(
                added, "append", table.schema(), [files.DAY], commit_properties=properties
            )
            table.update_incremental()
            files.sync_to_disk(self.tables.commit_file(stream, table.version()))
        except (DeltaError, OSError, pl.exceptions.ComputeError) as error:
            raise StoreError(
                f"cannot append to stream {stream} in {self.root}: {error}; check the disk space and permissions"
            ) from error

    def _with_columns(self, stream: str, table: DeltaTable | None, empty: pl.DataFrame) -> DeltaTable:
        """The table with all columns of `empty`: create a missing table, or add columns that are new in the catalogue."""
        if table is None:
            path = str(self.tables.path(stream))
            write_deltalake(
                path, empty, mode="append", partition_by=[files.DAY], configuration=_CONFIGURATION
            )
            table = DeltaTable(path)
            self.tables.add(stream, table)
        elif files.columns(table) != set(empty.columns):
            write_deltalake(table, empty, mode="append", schema_mode="merge")
            table.update_incremental()
        return table

    def checkpoint(self, stream: str, key: str) -> int | None:
        table = self._table(stream)
        return None if table is None else self.tables.transaction(stream, table, key)

    def checkpoints(self, stream: str) -> Mapping[str, int]:
        table = self._table(stream)
        return {} if table is None else files.transactions(table, self.tables.path(stream), _STAMP)

    def scan(
        self,
        stream: str,
        start: datetime | None = None,
        end: datetime | None = None,
        columns: Sequence[str] | None = None,
        where: Where = (),
    ) -> pl.LazyFrame:
        wanted = schema(stream)
        table = self._table(stream)
        if table is None:
            rows = pl.LazyFrame(schema=wanted)
        else:
            rows = self.tables.rows(stream, table)
            if start is not None:
                rows = rows.filter(pl.col(files.DAY) >= start.date(), pl.col(TIME) >= start)
            if end is not None:
                rows = rows.filter(pl.col(files.DAY) <= end.date(), pl.col(TIME) < end)
        return rows.filter(*map(matches, where)).select(list(columns or wanted))

    def summarize(
        self,
        stream: str,
        start: datetime | None,
        end: datetime | None,
        by: Sequence[str],
        measures: Sequence[Measure],
        where: Where = (),
    ) -> pl.DataFrame:
        return aggregate(self.scan(stream, start, end, where=where), by, measures)

    def newest(self, stream: str) -> datetime:
        return EPOCH + (self.checkpoint(stream, _STAMP) or 0) * _MICROSECOND

    def windows(
        self,
        stream: str,
        length: timedelta,
        start: datetime | None = None,
        end: datetime | None = None,
        where: Where = (),
        after: Mapping[str, datetime] | None = None,
    ) -> pl.DataFrame:
        return count_by_window(self.scan(stream, start, end, where=where), length, after or {})

    def _table(self, stream: str) -> DeltaTable | None:
        return self.tables.open(stream)

    def _known_ids(self, stream: str, table: DeltaTable | None) -> KnownIds:
        version, known = self._known.get(stream) or (-1, KnownIds(internal=STREAMS[stream].internal))
        if table is None or version != table.version():
            known.clear()
        return known

    def _write_lock(self, stream: str) -> AbstractContextManager[None]:
        return files.locked(self.root / "locks" / f"{stream}.lock")

    # Keyed state and files

    def get(self, kind: str, key: str) -> Entry | None:
        return self._state.get(kind, key)

    def put(self, kind: str, key: str, value: Mapping[str, Any], expected: int | None = None) -> Entry | None:
        return self._state.put(kind, key, value, expected)

    def delete(self, kind: str, key: str, expected: int) -> bool:
        return self._state.delete(kind, key, expected)

    def entries(self, kind: str, prefix: str = "") -> list[Entry]:
        return self._state.entries(kind, prefix)

    def kinds(self) -> list[str]:
        return self._state.kinds()

    def raise_versions(self, above: int) -> None:
        self._state.raise_versions(above)

    def save_file(self, name: str, write: Callable[[str], None]) -> None:
        files.save(self.root / "kept" / name, write)

    @contextmanager
    def file_path(self, name: str) -> Iterator[str]:
        path = self.root / "kept" / name
        if not path.is_file():
            raise StoreError(f"the store {self.root} has no file {name}")
        yield str(path)

    def file_names(self) -> list[str]:
        return files.files_below(self.root / "kept")

    def maintain(self) -> Mapping[str, int]:
        done = {"compacted": 0, "dropped": 0}
        for stream in STREAMS:
            with self._mutex, self._write_lock(stream), private_files():
                table = self._table(stream)
                if table is None:
                    continue
                dropped, compacted = files.maintain(table, self._clock.now() - self._retention[stream])
                done["dropped"] += dropped
                done["compacted"] += compacted
        return done

    def close(self) -> None:
        self._state.close()
