"""Converts decoded values to Polars columns."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import polars as pl

from tocsin.contract.addresses import canonical_address
from tocsin.contract.frames import TIME_TYPE
from tocsin.contract.streams import UNMAPPED, Type
from tocsin.pipeline.ingesting.decode import columns_of

_PLAIN = r"^\d+\.\d+\.\d+\.\d+$"  # an address of IP version 4 has one spelling
_NULL = msgspec.Raw(b"null")


def to_frame(stream: str, columns: Sequence[Sequence[Any]]) -> pl.DataFrame:
    """A frame of the columns of `columns_of(stream)` that contain a value. Times and JSON are still text."""
    return pl.DataFrame(
        [
            _series(c.name, c.type, values)
            for c, values in zip(columns_of(stream), columns, strict=True)
            if values and (values[0] is not None or values.count(None) < len(values))
        ]
    )


def joined(stream: str, frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Concatenate frames of `to_frame`, and add the missing columns of the stream."""
    nothing = pl.DataFrame(schema={c.name: _TYPES[c.type] for c in columns_of(stream)})
    return pl.concat([nothing, *frames], how="diagonal", rechunk=True)


def to_times(texts: pl.Series) -> pl.Series:
    """Parse texts to times in UTC; null for a text that is not a time."""
    times = texts.str.to_datetime("%+", time_unit="us", time_zone="UTC", strict=False)
    return times if times.null_count() == texts.null_count() else _second_try(texts, times)


def with_addresses(stream: str, frame: pl.DataFrame) -> pl.DataFrame:
    """The same rows with each IP address in its one spelling, for frames that the fast decoder made."""
    for name in (c.name for c in columns_of(stream) if c.type is Type.IP):
        odd = frame[name].filter(~frame[name].str.contains(_PLAIN)).unique()
        spelled = {text: found for text in odd if (found := canonical_address(text)) not in (None, text)}
        if spelled:
            frame = frame.with_columns(pl.col(name).replace(spelled))
    return frame


def _series(name: str, type_: Type, values: Sequence[Any]) -> pl.Series:
    if type_ is Type.JSON and name != UNMAPPED:
        return pl.Series(
            name, [None if v is None or v == _NULL else bytes(v).decode() for v in values], dtype=pl.String
        )
    if type_ is Type.DOUBLES:
        return _vectors(name, values)
    return pl.Series(name, values, dtype=_TYPES[type_])


_TYPES = {
    Type.KEYWORD: pl.String(),
    Type.TEXT: pl.String(),
    Type.LONG: pl.Int64(),
    Type.DOUBLE: pl.Float64(),
    Type.BOOLEAN: pl.Boolean(),
    Type.DATE: pl.String(),
    Type.JSON: pl.String(),
    Type.IP: pl.String(),
    Type.KEYWORDS: pl.List(pl.String()),
    Type.DOUBLES: pl.List(pl.Float64()),
}


def _vectors(name: str, values: Sequence[list[float] | None]) -> pl.Series:
    """A column of lists. Lists of equal length are built from one flat array, which is ten times faster."""
    try:
        lengths = set(map(len, values))  # type: ignore[arg-type]
    except TypeError:  # one of the values is null
        lengths = set()
    if len(lengths) == 1 and 0 not in lengths:
        (length,) = lengths
        chained = itertools.chain.from_iterable(values)  # type: ignore[arg-type]
        flat = np.fromiter(chained, dtype=np.float64, count=len(values) * length)
        return pl.Series(name, flat).reshape((len(values), length)).arr.to_list()
    return pl.Series(name, values, dtype=pl.List(pl.Float64), strict=False)


def _second_try(texts: pl.Series, times: pl.Series) -> pl.Series:
    """Parse ISO 8601 times that RFC 3339 excludes: a date alone, a space instead of T, no zone (read as UTC)."""
    plain = texts.str.replace(r"([+-]\d\d):?(\d\d)$", "$1:$2").str.replace(" ", "T", literal=True)
    for suffix in ("", "Z", "T00:00:00Z", ":00Z"):
        more = (plain + suffix).str.to_datetime("%+", time_unit="us", time_zone="UTC", strict=False)
        times = pl.select(pl.coalesce(times, more.cast(TIME_TYPE))).to_series()
    return times
