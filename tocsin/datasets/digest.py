"""Digests of datasets: SHA-256 over the canonical content. CSV and Parquet files with equal values have equal digests.

The hashed bytes are in format `tocsin.dataset.1`. Every number is little-endian:

1. The text `tocsin.dataset.1` and a line feed.
2. For each block of 65,536 rows in order (the last block may have fewer): the number of rows as uint64; then, for
   each column in order, a bitmap of the rows that have a value (one bit a row, lowest bit first, padded with zeros
   to a whole byte), followed by those values in the form of the column's canonical type.
3. The number 0 as uint64, then the columns as JSON, `[["name","type"],…]`, without spaces, in UTF-8.

| canonical type | source types | form of a value |
|---|---|---|
| integer | signed and unsigned integers | int64 |
| unsigned | integers above 2⁶³ - 1, none below zero | uint64 |
| number | floats, all widened | float64; -0.0 as 0.0; one NaN, 7ff8000000000000 |
| boolean | booleans | one byte, 0 or 1 |
| text | strings, categories | all lengths in bytes as uint64, then all bytes (UTF-8) |
| date, datetime, time, duration | temporal types; zoned times in UTC, others as if in UTC | microseconds as int64 |
| datetime[ns], time[ns], duration[ns] | the same, if a value has a fraction of a microsecond | nanoseconds as int64 |
| decimal, json, binary | decimals and wide integers, nested types, bytes | as text: digits, JSON, hex |
| null | columns without any value, whatever their type | nothing |

The digest depends on the names and order of columns and on the order of rows. It does not depend on row groups,
compression and file metadata.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import polars as pl

from tocsin.datasets.forms import PLAIN, Form
from tocsin.datasets.tables import FAULTS, read_error, read_snapshot
from tocsin.errors import SnapshotError

__all__ = [
    "BLOCK",
    "FORMAT",
    "Content",
    "content",
    "digest_file",
    "digest_frame",
    "read_snapshot",
    "verified_snapshot",
]

FORMAT = "tocsin.dataset.1"
BLOCK = 65_536


class Content(NamedTuple):
    """The content of a dataset: its digest, the number of rows, and its columns with their canonical types."""

    digest: str
    rows: int
    columns: tuple[tuple[str, str], ...]


def digest_frame(frame: pl.DataFrame) -> str:
    """The digest of a frame's rows: `sha256:` and 64 hexadecimal digits.

    Raises:
        SnapshotError: the type of a column has no canonical form.
    """
    return content(frame.lazy()).digest


def digest_file(path: Path | str) -> str:
    """The digest of the rows of a CSV or Parquet file.

    Raises:
        SnapshotError: the file does not exist, or cannot be read in the format that its suffix names.
    """
    rows = read_snapshot(path)
    try:
        return content(rows).digest
    except FAULTS as error:
        raise read_error(path, error) from None


def verified_snapshot(path: Path | str, digest: str, form: Form | None = None) -> pl.LazyFrame:
    """The rows of a file, after verification that they match the digest.

    Args:
        path: the file.
        digest: the digest of its rows.
        form: the form of a CSV file with which the digest was computed. If None, the file is read in the form that is
            found out, and then as version 0.2 read it.

    Raises:
        SnapshotError: the file does not exist, cannot be read, or contains other rows.
    """
    found = ""
    for form_ in (form,) if form else (Form(), PLAIN):
        try:
            rows = read_snapshot(path, form_)
            other = content(rows).digest
        except FAULTS as error:
            raise read_error(path, error) from None
        if other == digest:
            return rows
        found = found or other
    raise SnapshotError(
        f"{path}: the file has changed since the snapshot: the digest was {digest} and is now {found}"
    )


def content(rows: pl.LazyFrame) -> Content:
    """Read all rows block by block and compute their digest.

    Raises:
        SnapshotError: the type of a column has no canonical form.
    """
    types = _types(rows)
    sha = hashlib.sha256(f"{FORMAT}\n".encode())
    filled: set[str] = set()
    count = 0
    for block in _blocks(rows):
        count += len(block)
        sha.update(len(block).to_bytes(8, "little"))
        for series in block.iter_columns():
            present = series.drop_nulls()
            sha.update(np.packbits(series.is_not_null().to_numpy(), bitorder="little").tobytes())
            if len(present):
                filled.add(series.name)
                sha.update(_values(present, types[series.name]))
    columns = tuple((name, type_ if name in filled else "null") for name, type_ in types.items())
    sha.update((0).to_bytes(8, "little") + msgspec.json.encode(columns))
    return Content(f"sha256:{sha.hexdigest()}", count, columns)


def _blocks(rows: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    rest: pl.DataFrame | None = None
    for batch in rows.collect_batches(chunk_size=BLOCK, maintain_order=True):
        frame = batch if rest is None else pl.concat([rest, batch])
        whole = len(frame) - len(frame) % BLOCK
        for start in range(0, whole, BLOCK):
            yield frame[start : start + BLOCK]
        rest = frame[whole:]
    if rest is not None and len(rest):
        yield rest


def _types(rows: pl.LazyFrame) -> dict[str, str]:
    schema = rows.collect_schema()
    wide = [name for name, dtype in schema.items() if dtype in (pl.UInt64, pl.Int128, pl.UInt128)]
    fine = [name for name, dtype in schema.items() if _is_fine(dtype)]
    facts: dict[str, int] = {}
    if wide or fine:
        facts = (
            rows.select(
                *(pl.col(name).min().cast(pl.Int128).name.prefix("min ") for name in wide),
                *(pl.col(name).max().cast(pl.Int128).name.prefix("max ") for name in wide),
                *((pl.col(name).to_physical() % 1000 != 0).any().name.prefix("ns ") for name in fine),
            )
            .collect()
            .row(0, named=True)
        )
    types = {}
    for name, dtype in schema.items():
        if name in wide:
            types[name] = _wide(facts[f"min {name}"], facts[f"max {name}"])
        else:
            types[name] = _type(name, dtype) + ("[ns]" if facts.get(f"ns {name}") else "")
    return types


def _is_fine(dtype: pl.DataType) -> bool:
    return dtype == pl.Time or (isinstance(dtype, pl.Datetime | pl.Duration) and dtype.time_unit == "ns")


def _wide(least: int | None, most: int | None) -> str:
    if least is None or most is None or (least >= -(2**63) and most < 2**63):
        return "integer"
    return "unsigned" if least >= 0 and most < 2**64 else "decimal"


def _type(name: str, dtype: pl.DataType) -> str:
    if dtype.is_integer():
        return "integer"
    if dtype.is_float():
        return "number"
    if dtype.is_nested():
        return "json"
    for known, word in _WORDS.items():
        if dtype == known:
            return word
    raise SnapshotError(
        f"column {name!r}: type {dtype} has no canonical form; convert the column before the dataset is written"
    )


_WORDS: dict[type[pl.DataType], str] = {
    pl.Boolean: "boolean",
    pl.String: "text",
    pl.Categorical: "text",
    pl.Enum: "text",
    pl.Date: "date",
    pl.Datetime: "datetime",
    pl.Time: "time",
    pl.Duration: "duration",
    pl.Decimal: "decimal",
    pl.Binary: "binary",
    pl.Null: "null",
}


def _values(present: pl.Series, type_: str) -> bytes:
    match type_:
        case "integer" | "unsigned":
            dtype = pl.Int64 if type_ == "integer" else pl.UInt64
            return _bytes(present.cast(dtype).to_numpy(), "<i8" if type_ == "integer" else "<u8")
        case "number":
            array = present.cast(pl.Float64).to_numpy() + 0.0  # adding 0.0 converts -0.0 to 0.0
            array[np.isnan(array)] = np.nan
            return _bytes(array, "<f8")
        case "boolean":
            return _bytes(present.to_numpy(), "u1")
        case "date" | "datetime" | "time" | "duration":
            return _bytes(_microseconds(present).to_numpy(), "<i8")
        case "datetime[ns]" | "time[ns]" | "duration[ns]":
            return _bytes(present.to_physical().to_numpy(), "<i8")
        case "json":
            return _text(present.to_frame("v").select(pl.struct("v").struct.json_encode()).to_series())
        case "binary":
            return _text(present.bin.encode("hex"))
        case _:
            return _text(present.cast(pl.String))


def _microseconds(present: pl.Series) -> pl.Series:
    if present.dtype == pl.Time:
        return present.to_physical() // 1000
    if present.dtype == pl.Duration:
        return present.dt.total_microseconds()
    times = present.dt.timestamp("us")
    if times.null_count():
        raise ValueError("a date is out of range")
    return times


def _text(present: pl.Series) -> bytes:
    lengths = _bytes(present.str.len_bytes().to_numpy(), "<u8")
    joined: str = present.str.join("").item()
    return lengths + joined.encode()


def _bytes(array: np.ndarray[tuple[int, ...], np.dtype[np.generic]], dtype: str) -> bytes:
    return array.astype(dtype, copy=False).tobytes()
