"""The files of a Delta table: writing one for a day, compacting many, dropping what is old."""

from __future__ import annotations

import fcntl
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
from deltalake import DeltaTable
from deltalake.transaction import AddAction

from tocsin.contract.frames import TIME_TYPE
from tocsin.contract.streams import ID, INGESTED, TIME

DAY = "day"  # partition: the UTC date of the event time
#: A day with more files than this is compacted.
_FILES_A_DAY = 24


def part_file(table: Path, day: object, rows: pl.DataFrame) -> AddAction:
    """Write the rows of one day as a Parquet file, which a commit then adds.

    Polars writes it with a fifth of the memory that deltalake takes.
    """
    name = f"{DAY}={day}/part-{uuid.uuid4()}.parquet"
    path = table / name
    path.parent.mkdir(exist_ok=True)
    rows.drop(DAY).write_parquet(path, compression="zstd", compression_level=1, row_group_size=131_072)
    durable(path)
    stats = {
        "numRecords": len(rows),
        "minValues": {c: _stat(rows[c].min()) for c in (TIME, INGESTED)},
        "maxValues": {c: _stat(rows[c].max()) for c in (TIME, INGESTED)},
        "nullCount": {TIME: 0, INGESTED: 0},
    }
    size, changed = path.stat().st_size, int(path.stat().st_mtime * 1000)
    return AddAction(name, size, {DAY: str(day)}, changed, True, json.dumps(stats))  # noqa: FBT003


def upkeep(table: DeltaTable, oldest: datetime) -> tuple[int, int]:
    """Drop the days before `oldest` and compact days of many files.

    Returns:
        How many files were dropped, and how many were compacted.
    """
    dropped, compacted = _drop(table, oldest), 0
    days = pl.Series(f.rpartition("/")[0] for f in table.file_uris()).value_counts()
    if len(days) and (days["count"].max() or 0) > _FILES_A_DAY:  # type: ignore[operator]
        compacted = int(table.optimize.compact()["numFilesRemoved"])
    if dropped or compacted:
        table.vacuum(24, dry_run=False, enforce_retention_duration=False)
    return dropped, compacted


def _drop(table: DeltaTable, oldest: datetime) -> int:
    """Drop the days that lie before `oldest` and of which nothing was ingested since then.

    What is taken in late, such as the logs of an old incident, is kept as long as all else.
    """
    days = pl.scan_delta(table).filter(pl.col(DAY) < oldest.date()).group_by(DAY).agg(pl.col(INGESTED).max())
    gone = days.filter(pl.col(INGESTED) < oldest).collect()[DAY]
    if gone.is_empty():
        return 0
    words = ", ".join(f"'{day.isoformat()}'" for day in gone.sort())
    return int(table.delete(f"{DAY} IN ({words})")["num_removed_files"])


def transactions(table: DeltaTable, folder: Path, leave_out: str) -> dict[str, int]:
    """The version of every application transaction of a table, but for one; deltalake tells them only one by one.

    The protocol keeps them all in the log: in the last checkpoint, and in the commits since.
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
    numbers = {name: table.transaction_version(name) for name in sorted(names - {leave_out})}
    return {name: number for name, number in numbers.items() if number is not None}


def columns(table: DeltaTable) -> set[str]:
    """Names of a table's columns."""
    return {field.name for field in table.schema().fields}


def ids_between(table: DeltaTable | None, start: datetime, end: datetime) -> pl.DataFrame:
    """Event times and ids of a table's rows of `start <= @timestamp < end`."""
    if table is None:
        return pl.DataFrame(schema={TIME: TIME_TYPE, ID: pl.String})
    rows = pl.scan_delta(table).filter(pl.col(DAY) >= start.date(), pl.col(DAY) <= end.date())
    return rows.filter(pl.col(TIME) >= start, pl.col(TIME) < end).select(TIME, ID).collect()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file of this machine; the kernel frees it when its holder dies."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def files_below(folder: Path) -> list[str]:
    """Relative paths of the files in a folder and those below; without unfinished ones."""
    found = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return sorted(str(path.relative_to(folder)) for path in found)


def durable(path: Path) -> None:
    """Bring a file and its name to the disk, so that it outlives a power cut."""
    for place in (path, path.parent):
        descriptor = os.open(place, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _stat(value: object) -> str:
    """A time as Delta's statistics write it: milliseconds, which readers widen."""
    assert isinstance(value, datetime)
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
