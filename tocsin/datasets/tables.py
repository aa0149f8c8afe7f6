"""Reads CSV and Parquet files as frames. Column types depend on all values of a file, never on a sample."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import NamedTuple

import polars as pl

from tocsin.datasets.columns import from_text, typed
from tocsin.datasets.forms import PLAIN, Form, encoding_of, read_text, with_marks
from tocsin.datasets.names import SUFFIXES, partitions
from tocsin.errors import SnapshotError

__all__ = [
    "AT_ONCE",
    "FAULTS",
    "LARGEST",
    "SUFFIXES",
    "Opened",
    "open_snapshot",
    "read_error",
    "read_snapshot",
]

#: Maximum decompressed size of a CSV file that is compressed or not in UTF-8, which is decoded in memory.
LARGEST = 2 * 1024**3
#: A file of at most this many bytes is read into memory at once, so that it cannot change between two reads.
AT_ONCE = 64 * 1024**2
_HEAD = 1024**2  # bytes of a larger file from which its form is found out
#: The exceptions that Polars raises for malformed files.
FAULTS: tuple[type[BaseException], ...] = (
    pl.exceptions.PolarsError,
    pl.exceptions.PanicException,
    OSError,
    ValueError,  # for example a date that does not exist
    OverflowError,
)
_NO_PARTITION = "__HIVE_DEFAULT_PARTITION__"


class Opened(NamedTuple):
    """The rows of a dataset file.

    `form` is that of a CSV file with everything found out, and None for Parquet. `keys` are the columns from Hive folders.
    """

    rows: pl.LazyFrame
    form: Form | None
    keys: tuple[str, ...] = ()


def read_snapshot(path: Path | str, form: Form | None = None) -> pl.LazyFrame:
    """The rows of a dataset file; see `open_snapshot`.

    Raises:
        SnapshotError: the file does not exist, or cannot be read in the format that its suffix names.
    """
    return open_snapshot(path, form).rows


def open_snapshot(path: Path | str, form: Form | None = None) -> Opened:
    """Open a .csv, .csv.gz, .parquet or .pq file. Files of up to `AT_ONCE` bytes are read into memory.

    The type of a CSV column is inferred from all of its values: number, boolean, date or time in ISO 8601, else text.
    Empty fields and markers of missing values are null; outer spaces of column names are dropped. The keys of Hive folders
    in the path (`dt=2026-11-26`) become the last columns, unless the file has columns of these names.

    Args:
        path: the file.
        form: what is declared about a CSV file. What it leaves open is found out.

    Raises:
        SnapshotError: the file does not exist, or cannot be read in the format that its suffix names.
    """
    path, form = Path(path), form or Form()
    match = SUFFIXES.search(path.name)
    try:
        if match is None:
            raise SnapshotError(f"{path}: not a dataset; its name must end in .csv, .csv.gz, .parquet or .pq")
        if path.exists() and not path.is_file():  # events of others may name a pipe, which would never end
            raise SnapshotError(f"{path}: not a regular file; write the rows to a file")
        if match[1] in ("parquet", "pq"):
            opened = Opened(
                _loaded_if_small(pl.scan_parquet(path, glob=False, hive_partitioning=False), path), None
            )
        else:
            opened = _csv(path, form, compressed=match[1] == "csv.gz")
        if not form.plain:
            opened = _with_partitions(opened, path)
        opened.rows.collect_schema()
    except FAULTS as error:
        raise read_error(path, error) from None
    return opened


def read_error(path: Path | str, error: BaseException) -> SnapshotError:
    """The SnapshotError for an exception of `FAULTS` that was raised while a file was read."""
    if isinstance(error, FileNotFoundError):
        return SnapshotError(f"{path}: the file does not exist; restore it or correct the path")
    reason = str(error).strip().partition("\n")[0] or type(error).__name__
    return SnapshotError(f"{path}: cannot be read as a dataset: {reason}")


def _csv(path: Path, form: Form, *, compressed: bool) -> Opened:
    size = path.stat().st_size
    if form.plain:
        rows = pl.scan_csv(_decompressed(path) if compressed else path, infer_schema_length=None, glob=False)
        return Opened(typed(_loaded_if_small(rows, path), PLAIN), PLAIN)
    if compressed or size <= AT_ONCE:
        return _from_memory(path, _decompressed(path) if compressed else path.read_bytes(), form)
    with path.open("rb") as file:
        head = file.read(_HEAD)
    head = head[: head.rfind(b"\n") + 1]
    if head and (form.encoding or _encoding(path, head)) in ("utf-8", "utf8"):
        found = with_marks(head.decode(errors="ignore"), form, "utf-8")
        try:
            return Opened(_read(path, found, at_once=False), found)
        except pl.exceptions.ComputeError as error:
            if "utf" not in str(error).lower():
                raise
    if size > LARGEST:
        raise SnapshotError(
            f"{path}: is larger than {LARGEST >> 30} GiB and not UTF-8; write it as Parquet instead"
        )
    return _from_memory(path, path.read_bytes(), form)


def _from_memory(path: Path, data: bytes, form: Form) -> Opened:
    try:
        text = read_text(data, form)
    except SnapshotError as error:
        raise SnapshotError(f"{path}: cannot be read as a dataset: {error}") from None
    return Opened(_read(text.data, text.form, at_once=len(data) <= AT_ONCE), text.form)


def _encoding(path: Path, head: bytes) -> str:
    try:
        return encoding_of(head)
    except SnapshotError as error:
        raise SnapshotError(f"{path}: cannot be read as a dataset: {error}") from None


def _read(source: Path | bytes, form: Form, *, at_once: bool) -> pl.LazyFrame:
    """The rows with the types that Polars infers. If it cannot read its own types, `typed` alone decides on all columns.

    Polars takes digits of every script, and whole numbers of any length, for numbers, and then fails on them. One such cell
    must not make a file unreadable.
    """
    rows = _scanned(source, form)
    try:
        if at_once:
            return rows.collect().lazy()
        rows.select(pl.all().null_count()).collect()
    except pl.exceptions.ComputeError:
        rows = _scanned(source, form, infer=False)
    return rows.collect().lazy() if at_once else rows


def _scanned(source: Path | bytes, form: Form, *, infer: bool = True) -> pl.LazyFrame:
    rows = pl.scan_csv(
        source,
        separator=form.separator,
        null_values=[marker for marker in form.markers if marker != "NaN"],  # a number to Polars
        infer_schema=infer,
        infer_schema_length=None,
        decimal_comma=form.decimal == "," and form.separator != ",",
        glob=False,
    )
    names = rows.collect_schema().names()
    stripped = [name.strip() for name in names]
    if stripped != names and len(set(stripped)) == len(names):
        rows = rows.rename(dict(zip(names, stripped, strict=True)))
    return typed(rows, form)


def _with_partitions(opened: Opened, path: Path) -> Opened:
    known = opened.rows.collect_schema().names()
    keys = {key: value for key, value in partitions(path.resolve()) if key not in known}
    columns = (
        (pl.lit(None) if value == _NO_PARTITION else from_text(value)).alias(key)
        for key, value in keys.items()
    )
    return Opened(opened.rows.with_columns(columns) if keys else opened.rows, opened.form, tuple(keys))


def _loaded_if_small(rows: pl.LazyFrame, path: Path) -> pl.LazyFrame:
    return rows.collect().lazy() if path.stat().st_size <= AT_ONCE else rows


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
