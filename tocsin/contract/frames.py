"""Polars schemas of streams, and conversion of frames to them."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import polars as pl

from tocsin.contract.blanks import without_blank_names
from tocsin.contract.streams import FENCE, INGESTED, STREAMS, Type
from tocsin.errors import InputError

TIME_TYPE = pl.Datetime("us", "UTC")
#: Sort keys for revisions of one record: by the number of the claim they were written under, then by ingest time.
#: The last revision is the valid one.
NEWEST_LAST = (pl.col(FENCE).fill_null(0), pl.col(INGESTED))

_POLARS: Mapping[Type, pl.DataType] = {
    Type.KEYWORD: pl.String(),
    Type.TEXT: pl.String(),
    Type.LONG: pl.Int64(),
    Type.DOUBLE: pl.Float64(),
    Type.BOOLEAN: pl.Boolean(),
    Type.DATE: TIME_TYPE,
    Type.IP: pl.String(),
    Type.JSON: pl.String(),
    Type.KEYWORDS: pl.List(pl.String()),
    Type.DOUBLES: pl.List(pl.Float64()),
}


def schema(stream: str) -> pl.Schema:
    """The Polars schema of a stream.

    Raises:
        InputError: no such stream exists.
    """
    if stream not in STREAMS:
        raise InputError(f"unknown stream {stream!r}; use one of {', '.join(STREAMS)}")
    return pl.Schema({c.name: _POLARS[c.type] for c in STREAMS[stream].columns})


@functools.cache
def empty(stream: str) -> pl.DataFrame:
    """A frame with the columns of a stream and no rows."""
    return pl.DataFrame(schema=schema(stream))


def conform(frame: pl.DataFrame, stream: str) -> pl.DataFrame:
    """Convert a frame to a stream's schema: missing columns are filled with null, unknown columns are dropped.

    A principal's name without a visible character becomes null.

    Use it for frames that are built in a notebook or a test, and for rows that Tocsin itself writes. Events from
    collectors go through `tocsin.pipeline` instead, which keeps unknown fields in `tocsin.unmapped`.

    Raises:
        InputError: a column cannot be converted to its type.
    """
    nothing, given = empty(stream), frame.schema
    wanted = nothing.schema
    known = [name for name in wanted if name in given]
    other = {name: wanted[name] for name in known if given[name] != wanted[name]}
    converted = [
        _as_time(frame, name) if isinstance(dtype, pl.Datetime) else pl.col(name).cast(dtype)
        for name, dtype in other.items()
    ]
    try:
        rows = frame[known]
        rows = rows.with_columns(converted) if converted else rows
        # Appended to a frame without rows, because an expression for each missing column is slow for small frames.
        return without_blank_names(pl.concat([nothing, rows], how="diagonal", rechunk=False))
    except pl.exceptions.PolarsError as error:
        raise InputError(f"stream {stream}: {error}") from error


def _as_time(frame: pl.DataFrame, name: str) -> pl.Expr:
    dtype = frame.schema[name]
    if dtype == pl.String:
        return pl.col(name).str.to_datetime("%+", time_unit="us", time_zone="UTC")
    if isinstance(dtype, pl.Datetime) and dtype.time_zone is None:
        return pl.col(name).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    return pl.col(name).cast(TIME_TYPE)
