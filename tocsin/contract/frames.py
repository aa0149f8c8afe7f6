"""Polars frames of streams: their schema, and bringing any frame to it."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from tocsin.contract.streams import FENCE, INGESTED, STREAMS, Type
from tocsin.errors import InputError

TIME_TYPE = pl.Datetime("us", "UTC")
#: What detection says of the same thing, in order: what was written under a later claim counts, then what came later.
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
        InputError: there is no such stream.
    """
    if stream not in STREAMS:
        raise InputError(f"there is no stream {stream!r}; the streams are {', '.join(STREAMS)}")
    return pl.Schema({c.name: _POLARS[c.type] for c in STREAMS[stream].columns})


def empty(stream: str) -> pl.DataFrame:
    """No rows of a stream."""
    return pl.DataFrame(schema=schema(stream))


def conform(frame: pl.DataFrame, stream: str) -> pl.DataFrame:
    """Bring a frame to a stream's schema: missing columns are null, extra ones are dropped.

    For frames that a person builds in a notebook or a test, and for rows that Tocsin writes itself;
    what collectors read goes through `tocsin.pipeline`, which loses nothing.

    Raises:
        InputError: a column cannot be read as its type.
    """
    columns: list[pl.Expr] = []
    for name, dtype in schema(stream).items():
        if name not in frame.columns:
            columns.append(pl.lit(None, dtype=dtype).alias(name))
        elif frame.schema[name] == dtype:
            columns.append(pl.col(name))
        elif isinstance(dtype, pl.Datetime):
            columns.append(_as_time(frame, name))
        else:
            columns.append(pl.col(name).cast(dtype))
    try:
        return frame.select(columns)
    except pl.exceptions.PolarsError as error:
        raise InputError(f"stream {stream}: {error}") from error


def _as_time(frame: pl.DataFrame, name: str) -> pl.Expr:
    dtype = frame.schema[name]
    if dtype == pl.String:
        return pl.col(name).str.to_datetime("%+", time_unit="us", time_zone="UTC")
    if isinstance(dtype, pl.Datetime) and dtype.time_zone is None:
        return pl.col(name).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    return pl.col(name).cast(TIME_TYPE)
