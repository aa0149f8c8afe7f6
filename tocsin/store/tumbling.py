"""Counts rows by tumbling windows of event time. Windows are aligned to 1970-01-01 UTC."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

import polars as pl

from tocsin.contract.streams import INGESTED, TIME

#: The columns with the start of a window and with its number of rows.
START, ROWS = "start", "rows"


def window_starts(length: timedelta) -> pl.Expr:
    """The start of the tumbling window that contains each row's event time."""
    step = length // timedelta(microseconds=1)
    return (pl.col(TIME).to_physical() // step * step).cast(pl.Datetime("us", "UTC")).alias(START)


def count_by_window(rows: pl.LazyFrame, length: timedelta, after: Mapping[str, datetime]) -> pl.DataFrame:
    """The result of `Store.windows`, computed from rows."""
    late = [(pl.col(INGESTED) > mark).sum().alias(name) for name, mark in after.items()]
    counted = rows.group_by(window_starts(length)).agg(pl.len().alias(ROWS), *late)
    return counted.select(pl.col(START), pl.exclude(START).cast(pl.Int64)).sort(START).collect()


def tumbling_schema(names: Iterable[str]) -> pl.Schema:
    """The schema of the result of `Store.windows`."""
    return pl.Schema({START: pl.Datetime("us", "UTC"), ROWS: pl.Int64(), **dict.fromkeys(names, pl.Int64())})
