"""Opens the Delta tables of a store, and names the file if a table is missing a file or has a damaged one.

Delta and Polars report a damaged file late and without its name, or panic. All files of a table are therefore compared
with the sizes in its log before the table is read. The content of a file is read twice only after an error.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import polars as pl
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from tocsin.contract.frames import schema
from tocsin.datasets.tables import FAULTS
from tocsin.errors import StoreError
from tocsin.store.embedded import delta_files as files

_MAGIC = b"PAR1"
_ADVICE = "restore the file from a backup, and find out who changed it"


class Tables:
    """The tables of the streams in a folder, each at its newest commit."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._tables: dict[str, DeltaTable] = {}
        self._logs: dict[str, int] = {}
        self._scans: dict[str, tuple[int, pl.LazyFrame]] = {}
        self._transactions: dict[str, tuple[int, dict[str, int | None]]] = {}
        self._whole: dict[
            str, set[tuple[str, int]]
        ] = {}  # by stream: the files that were checked, with their sizes
        self._mutex = threading.RLock()

    def path(self, stream: str) -> Path:
        """The folder of a stream's table."""
        return self.root / "streams" / stream

    def commit_file(self, stream: str, version: int) -> Path:
        """The file of one commit."""
        return self.path(stream) / "_delta_log" / f"{version:020}.json"

    def add(self, stream: str, table: DeltaTable) -> None:
        """Remember a table that was created."""
        self._tables[stream] = table

    def open(self, stream: str) -> DeltaTable | None:
        """The stream's table at its newest commit, or None. Reads only the commits since the last call.

        Raises:
            StoreError: a file of the table's log is missing, damaged or not readable.
        """
        try:
            with self._mutex:
                table = self._tables.get(stream)
                changed = (self.path(stream) / "_delta_log").stat().st_mtime_ns
                if table is None:
                    table = self._tables[stream] = DeltaTable(str(self.path(stream)))
                    self._check_newest(stream, table)
                elif (
                    changed != self._logs.get(stream)
                    or self.commit_file(stream, table.version() + 1).exists()
                ):
                    table.update_incremental()
                self._logs[stream] = changed
            return table
        except (FileNotFoundError, TableNotFoundError):
            if next(self.path(stream).glob(f"{files.DAY}=*/*.parquet"), None) is None:
                return None
            raise self._error(stream, "its rows are there, but the log of its commits is missing") from None
        except (DeltaError, OSError) as error:
            damaged = _damaged_commit(self.path(stream))
            if damaged:
                raise self._error(stream, damaged) from error
            raise StoreError(
                f"cannot read stream {stream} in {self.root}: {error}; check the permissions of its files"
            ) from error

    def rows(self, stream: str, table: DeltaTable) -> pl.LazyFrame:
        """All rows of the table. Columns that are newer than the table's schema are filled with null.

        Raises:
            StoreError: a file of the table is missing, or has another size than its commit says.
        """
        version = table.version()
        with self._mutex:
            known, rows = self._scans.get(stream, (-1, None))
            if rows is None or known != version:
                self._check(stream, table)
                wanted = schema(stream)
                later = wanted.keys() - files.columns(table)
                rows = pl.scan_delta(table).with_columns(
                    pl.lit(None, dtype=wanted[name]).alias(name) for name in later
                )
                self._scans[stream] = version, rows
        return rows

    def transaction(self, stream: str, table: DeltaTable, id: str) -> int | None:
        """The version of an application transaction. deltalake needs milliseconds for it: kept until the next commit."""
        version = table.version()
        with self._mutex:
            known, numbers = self._transactions.get(stream, (-1, {}))
            if known != version:
                numbers = {}
                self._transactions[stream] = version, numbers
            if id not in numbers:
                numbers[id] = table.transaction_version(id)
            return numbers[id]

    def _check_newest(self, stream: str, table: DeltaTable) -> None:
        """Check that no commit was emptied: Delta would take the commit before it for the newest one."""
        for version in (table.version(), table.version() + 1):
            path = self.commit_file(stream, version)
            if path.exists() and not path.stat().st_size:
                raise self._error(stream, f"the file {path} is damaged: it is empty")

    def _check(self, stream: str, table: DeltaTable) -> None:
        """Compare the files that were not checked yet with the table's log, and the others for their existence."""
        known, whole = self._whole.get(stream, set()), set[tuple[str, int]]()
        for name, size in _listed(table):
            path = self.path(stream) / name
            try:
                found = path.stat().st_size
                with contextlib.ExitStack() as opened:
                    file = None if (name, found) in known else opened.enter_context(path.open("rb"))
                    begins = file is None or file.read(len(_MAGIC)) == _MAGIC
            except OSError as error:
                missing = isinstance(error, FileNotFoundError)
                raise self._error(
                    stream, f"the file {path} {'is missing' if missing else error.strerror}"
                ) from error
            if found != size or not begins:
                raise self._error(
                    stream, f"the file {path} is damaged: {found:,} bytes, {size:,} were written"
                )
            whole.add((name, size))
        self._whole[stream] = whole

    def damaged(self) -> str:
        """Read every file of every table, and return what is wrong with the first damaged one; empty if all are whole."""
        for folder in sorted((self.root / "streams").iterdir()):
            try:
                table = self.open(folder.name)
                if table is not None:
                    self._check(folder.name, table)
            except StoreError as error:
                return str(error)
            for name, _ in _listed(table) if table else ():
                try:
                    pl.read_parquet(folder / name, hive_partitioning=False)
                except FAULTS as error:
                    why = f"the file {folder / name} is damaged: {str(error).partition(chr(10))[0]}"
                    return str(self._error(folder.name, why))
        return ""

    def _error(self, stream: str, why: str) -> StoreError:
        return StoreError(f"the store cannot be read: stream {stream}: {why}; {_ADVICE}")


def _listed(table: DeltaTable) -> Iterator[tuple[str, int]]:
    """The files of a table relative to its folder, with their sizes in bytes."""
    added = pl.DataFrame(table.get_add_actions(flatten=True))
    return iter(added.select("path", "size_bytes").iter_rows())


def _damaged_commit(folder: Path) -> str:
    """Which file of the log is missing or damaged; empty if none is."""
    log = folder / "_delta_log"
    commits = sorted(log.glob("[0-9]*[0-9].json"))
    first = (
        -1 if next(log.glob("*.checkpoint*.parquet"), None) is None else None
    )  # older commits may be deleted
    before = [first, *(int(path.stem) for path in commits)]
    for last, path in zip(before, commits, strict=False):
        if last is not None and int(path.stem) != last + 1:
            return f"the file {path.with_stem(f'{last + 1:020}')} is missing"
        try:
            lines = path.read_text().splitlines()
            for line in lines:
                json.loads(line)
        except (OSError, ValueError) as error:
            return f"the file {path} is damaged: {error}"
        if not lines:
            return f"the file {path} is damaged: it is empty"
    return ""
