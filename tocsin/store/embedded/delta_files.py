"""The files of a Delta table: writes one for a day, compacts small files, and drops expired days."""

from __future__ import annotations

import fcntl
import json
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
from deltalake import DeltaTable
from deltalake.transaction import AddAction

from tocsin.contract.frames import TIME_TYPE
from tocsin.contract.streams import ID, INGESTED, SOURCE, TIME
from tocsin.store.private import private_files

DAY = "day"  # partition column: the UTC date of the event time
#: The table is compacted if a day has more files than this.
_FILES_A_DAY = 24


def part_file(table: Path, day: object, rows: pl.DataFrame) -> AddAction:
    """Write the rows of one day as a Parquet file, and return the action that adds the file to a commit.

    Polars writes the file with a fifth of the memory that deltalake uses.
    """
    name = f"{DAY}={day}/part-{uuid.uuid4()}.parquet"
    path = table / name
    path.parent.mkdir(exist_ok=True)
    rows.drop(DAY).write_parquet(path, compression="zstd", compression_level=1, row_group_size=131_072)
    sync_to_disk(path)
    stats = {
        "numRecords": len(rows),
        "minValues": {c: _stat(rows[c].min()) for c in (TIME, INGESTED)},
        "maxValues": {c: _stat(rows[c].max()) for c in (TIME, INGESTED)},
        "nullCount": {TIME: 0, INGESTED: 0},
    }
    size, changed = path.stat().st_size, int(path.stat().st_mtime * 1000)
    return AddAction(name, size, {DAY: str(day)}, changed, True, json.dumps(stats))  # noqa: FBT003


def maintain(table: DeltaTable, oldest: datetime) -> tuple[int, int]:
    """Drop days before `oldest`, and compact days with many files.

    Returns:
        The number of files that were dropped, and the number that were compacted.
    """
    dropped, compacted = _drop(table, oldest), 0
    days = pl.Series(f.rpartition("/")[0] for f in table.file_uris()).value_counts()
    if len(days) and (days["count"].max() or 0) > _FILES_A_DAY:  # type: ignore[operator]
        compacted = int(table.optimize.compact()["numFilesRemoved"])
    if dropped or compacted:
        table.vacuum(24, dry_run=False, enforce_retention_duration=False)
    return dropped, compacted


def _drop(table: DeltaTable, oldest: datetime) -> int:
    """Drop the days before `oldest` for which no event was ingested after `oldest`.

    Events that are ingested late, such as the logs of an old incident, are thereby retained as long as all others.
    """
    days = pl.scan_delta(table).filter(pl.col(DAY) < oldest.date()).group_by(DAY).agg(pl.col(INGESTED).max())
    expired = days.filter(pl.col(INGESTED) < oldest).collect()[DAY]
    if expired.is_empty():
        return 0
    dates = ", ".join(f"'{day.isoformat()}'" for day in expired.sort())
    return int(table.delete(f"{DAY} IN ({dates})")["num_removed_files"])


def transactions(table: DeltaTable, folder: Path, excluded: str) -> dict[str, int]:
    """The version of every application transaction of a table, except `excluded`.

    deltalake returns the version of a transaction only if its id is known. The ids are in the table's log: in the last
    checkpoint and in the commits since.
    https://github.com/delta-io/delta/blob/master/PROTOCOL.md#transaction-identifiers
    """
    log, version, names = folder / "_delta_log", 0, set[str]()
    pointer = log / "_last_checkpoint"
    if pointer.exists():
        version = json.loads(pointer.read_bytes())["version"]
        for part in log.glob(f"{version:020}.checkpoint*.parquet"):
            found = pl.scan_parquet(part).select(pl.col("txn").struct.field("appId")).drop_nulls()
            names |= set(found.collect().to_series())
    for number in range(version, table.version() + 1):
        commit = log / f"{number:020}.json"
        lines = commit.read_bytes().splitlines() if commit.exists() else []
        names |= {json.loads(line)["txn"]["appId"] for line in lines if line.startswith(b'{"txn"')}
    numbers = {name: table.transaction_version(name) for name in sorted(names - {excluded})}
    return {name: number for name, number in numbers.items() if number is not None}


def columns(table: DeltaTable) -> set[str]:
    """The names of a table's columns."""
    return {field.name for field in table.schema().fields}


def ids_between(table: DeltaTable | None, start: datetime, end: datetime) -> pl.DataFrame:
    """The event times, ids and sources of a table's rows with `start <= @timestamp < end`."""
    if table is None:
        return pl.DataFrame(schema={TIME: TIME_TYPE, ID: pl.String, SOURCE: pl.String})
    rows = pl.scan_delta(table).filter(pl.col(DAY) >= start.date(), pl.col(DAY) <= end.date())
    return rows.filter(pl.col(TIME) >= start, pl.col(TIME) < end).select(TIME, ID, SOURCE).collect()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file. The kernel releases the lock if this process dies."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def save(target: Path, write: Callable[[str], None]) -> None:
    """Write a file as a whole: a crash leaves the old file or the new one."""
    unfinished = target.with_name(f".{target.name}.{os.getpid()}")
    with private_files():
        target.parent.mkdir(parents=True, exist_ok=True)
        write(str(unfinished))
    sync_to_disk(unfinished)
    unfinished.replace(target)
    sync_to_disk(target)


def files_below(folder: Path) -> list[str]:
    """The relative paths of all files in a folder and its subfolders, except files that are still being written."""
    found = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return sorted(str(path.relative_to(folder)) for path in found)


def sync_to_disk(path: Path) -> None:
    """Flush a file and its directory entry to disk, so that the file survives a power failure."""
    for place in (path, path.parent):
        descriptor = os.open(place, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _stat(value: object) -> str:
    """A time in the form of Delta's file statistics."""
    assert isinstance(value, datetime)
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
