"""Rows by the tumbling windows of event time that hold them. Windows are counted from 1970 on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

import polars as pl

from tocsin.contract.streams import INGESTED, TIME

#: The column with a window's start, and the one with how many rows it holds.
START, ROWS = "start", "rows"


def window_starts(length: timedelta) -> pl.Expr:
    """The start of the tumbling window that holds each row's event time."""
    step = length // timedelta(microseconds=1)
    return (pl.col(TIME).to_physical() // step * step).cast(pl.Datetime("us", "UTC")).alias(START)


def tumbled(rows: pl.LazyFrame, length: timedelta, after: Mapping[str, datetime]) -> pl.DataFrame:
    """What `Store.windows` gives, from the rows."""
    late = [(pl.col(INGESTED) > mark).sum().alias(name) for name, mark in after.items()]
    counted = rows.group_by(window_starts(length)).agg(pl.len().alias(ROWS), *late)
    return counted.select(pl.col(START), pl.exclude(START).cast(pl.Int64)).sort(START).collect()


def tumbling_schema(names: Iterable[str]) -> pl.Schema:
    """Types of the columns that `Store.windows` gives."""
    return pl.Schema({START: pl.Datetime("us", "UTC"), ROWS: pl.Int64(), **dict.fromkeys(names, pl.Int64())})
