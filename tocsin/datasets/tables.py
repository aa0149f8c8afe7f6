"""Reads CSV and Parquet files as frames. Column types depend on all values of a file, never on a sample."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Callable
from pathlib import Path

import polars as pl

from tocsin.errors import SnapshotError

#: Maximum decompressed size of a compressed CSV file, which is decompressed in memory.
LARGEST = 2 * 1024**3
#: A file of at most this many bytes is read into memory at once, so that it cannot change between two reads.
AT_ONCE = 64 * 1024**2
#: The exceptions that Polars raises for malformed files.
FAULTS: tuple[type[BaseException], ...] = (
    pl.exceptions.PolarsError,
    pl.exceptions.PanicException,
    OSError,
    ValueError,  # for example a date that does not exist
    OverflowError,
)

#: The suffixes of dataset files.
SUFFIXES = re.compile(r"\.(csv|csv\.gz|parquet|pq)$")
_CLOCK = r"\d\d:\d\d:\d\d"
_ZONE = r"(?:Z|[+-]\d\d:?\d\d)"
_MICRO = r"(?:\.\d{1,6}0{0,3})?"
_NANO = r"(?:\.\d{1,9})?"
_DAY, _NANO_DAY = r"\d{4}-\d\d-\d\d", r"(?:1[7-9]|2[01])\d\d-\d\d-\d\d"


def read_snapshot(path: Path | str) -> pl.LazyFrame:
    """The rows of a .csv, .csv.gz, .parquet or .pq file. Files of up to `AT_ONCE` bytes are read into memory.

    The type of a CSV column is inferred from all of its values: number, boolean, date or time in ISO 8601, else text.
    Empty fields are null.

    Raises:
        SnapshotError: the file does not exist, or cannot be read in the format that its suffix names.
    """
    match = SUFFIXES.search(Path(path).name)
    try:
        if match is None:
            raise SnapshotError(f"{path}: not a dataset; its name must end in .csv, .csv.gz, .parquet or .pq")
        if match[1] in ("parquet", "pq"):
            rows = _loaded_if_small(pl.scan_parquet(path, glob=False, hive_partitioning=False), path)
        else:
            source = _decompressed(Path(path)) if match[1] == "csv.gz" else Path(path)
            rows = pl.scan_csv(source, infer_schema_length=None, glob=False)
            rows = _with_times(_loaded_if_small(rows, path))
        rows.collect_schema()
    except FAULTS as error:
        raise read_error(path, error) from None
    return rows


def read_error(path: Path | str, error: BaseException) -> SnapshotError:
    """The SnapshotError for an exception of `FAULTS` that was raised while a file was read."""
    if isinstance(error, FileNotFoundError):
        return SnapshotError(f"{path}: the file does not exist; restore it or correct the path")
    reason = str(error).strip().partition("\n")[0] or type(error).__name__
    return SnapshotError(f"{path}: cannot be read as a dataset: {reason}")


def _loaded_if_small(rows: pl.LazyFrame, path: Path | str) -> pl.LazyFrame:
    return rows.collect().lazy() if Path(path).stat().st_size <= AT_ONCE else rows


def _with_times(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Convert text columns in which every value is a date or a time to that type."""
    names = [name for name, dtype in rows.collect_schema().items() if dtype == pl.String]
    if not names:
        return rows
    fits = rows.select(
        (pl.col(name).count() > 0)
        .and_(pl.col(name).str.contains(f"^(?:{pattern})$").all())
        .alias(f"{index} {name}")
        for name in names
        for index, (pattern, _) in enumerate(_TIMES)
    )
    verdicts = fits.collect().row(0, named=True)
    changed = []
    for name in names:
        read = next((read for i, (_, read) in enumerate(_TIMES) if verdicts[f"{i} {name}"]), None)
        if read is not None:
            changed.append(read(pl.col(name)).alias(name))
    if not changed:
        return rows
    # A column stays text if a value matches the pattern and is no valid time, such as 2026-02-30.
    lossy = rows.select((new.null_count() > pl.col(new.meta.output_name()).null_count()) for new in changed)
    lossless = [new for new, loses in zip(changed, lossy.collect().row(0), strict=True) if not loses]
    return rows.with_columns(lossless)


def _datetimes(format: str, unit: str) -> Callable[[pl.Expr], pl.Expr]:
    def read(column: pl.Expr) -> pl.Expr:
        text = column.str.replace(" ", "T", literal=True)
        return text.str.to_datetime(format, time_unit="ns" if unit == "ns" else "us", strict=False)

    return read


_TIMES: tuple[tuple[str, Callable[[pl.Expr], pl.Expr]], ...] = (
    (_DAY, lambda column: column.str.to_date("%Y-%m-%d", strict=False)),
    (f"{_CLOCK}{_NANO}", lambda column: column.str.to_time("%H:%M:%S%.f", strict=False)),
    (f"{_DAY}[ T]{_CLOCK}{_MICRO}", _datetimes("%Y-%m-%dT%H:%M:%S%.f", "us")),
    (f"{_DAY}[ T]{_CLOCK}{_MICRO}{_ZONE}", _datetimes("%Y-%m-%dT%H:%M:%S%.f%#z", "us")),
    (f"{_NANO_DAY}[ T]{_CLOCK}{_NANO}", _datetimes("%Y-%m-%dT%H:%M:%S%.f", "ns")),
    (f"{_NANO_DAY}[ T]{_CLOCK}{_NANO}{_ZONE}", _datetimes("%Y-%m-%dT%H:%M:%S%.f%#z", "ns")),
)


def _decompressed(path: Path) -> bytes:
    try:
        with gzip.open(path) as file:
            data = file.read(LARGEST + 1)
    except (EOFError, zlib.error) as error:
        raise SnapshotError(f"{path}: the gzip file is damaged or truncated: {error}") from None
    if len(data) > LARGEST:
        raise SnapshotError(
            f"{path}: is larger than {LARGEST >> 30} GiB after decompression; write it as Parquet instead"
        )
    return data
