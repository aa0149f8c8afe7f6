"""The profile of a dataset: what is in each column, without the values of a person.

A column's profile is a JSON object: `type` (number, text, boolean or time), `nulls` (missing values, NaN
among them), `distinct`; for numbers `min`, `max`, `mean`, `std` (of the population) and `quantiles` (the
11 deciles, minimum and maximum included) over the finite values, and `infinite` where there are such; for
times `min` and `max`; `top`, `[[value, count], …]`, the 20 most frequent values, only of the label and of
columns with at most 20 distinct values that occur twice on average: other values may be personal data. A text
column of a CSV file of which at least nine tenths are numbers also has the facts of its numbers, and `numbers`,
how many there are.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Collection
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl

from tocsin.clock import format_time
from tocsin.datasets.columns import nearly_numbers, numbers_in
from tocsin.datasets.forms import Form
from tocsin.datasets.labels import canonical_label

_TOP = 20
_LABELS = 100
_DECILES = np.linspace(0, 1, 11)


def profile(
    rows: pl.LazyFrame, label: str | None, form: Form | None = None, keys: Collection[str] = ()
) -> dict[str, dict[str, Any]]:
    """The profile of each column; one column at a time is in memory.

    Args:
        rows: the dataset.
        label: the label column.
        form: the form of a CSV file.
        keys: columns from Hive folders. They are constant in a file and differ between files, so that only type, nulls and
            distinct values are facts.
    """
    schema = rows.collect_schema()
    found = {n: _column(rows.select(n).collect().to_series(), keep=n == label) for n in schema.names()}
    for name in nearly_numbers(rows, form) if form else ():
        numbers = numbers_in(rows.select(name).collect().to_series(), form or Form())
        found[name] |= {"numbers": len(numbers), **_numbers(numbers)}
    for name in set(keys) - {label}:
        found[name] = {fact: found[name][fact] for fact in ("type", "nulls", "distinct")}
    return found


def label_counts(rows: pl.LazyFrame, label: str) -> dict[str, int] | None:
    """How often each label occurs; None where there are more than 100 (it is no label, but a measure)."""
    labels = rows.select(label).collect().to_series()
    if labels.dtype.is_float():
        labels = labels.fill_nan(None)
    counts: dict[str, int] = {}
    for value, count in _counts(labels.drop_nulls()):
        word = canonical_label(_word(value))
        counts[word] = counts.get(word, 0) + count
    return counts if len(counts) <= _LABELS else None


def _column(series: pl.Series, *, keep: bool) -> dict[str, Any]:
    if series.dtype.is_float():
        series = series.fill_nan(None)
    elif series.dtype.is_nested():
        series = series.to_frame("v").select(pl.struct("v").struct.json_encode()).to_series()
    elif series.dtype == pl.Duration:
        series = series.dt.total_microseconds() / 1e6
    present = series.drop_nulls()
    kind, distinct = _kind(series.dtype), present.n_unique()
    facts: dict[str, Any] = {"type": kind, "nulls": len(series) - len(present), "distinct": distinct}
    if kind == "number":
        facts |= _numbers(present)
    elif kind == "boolean" and len(present):
        facts["mean"] = present.mean()
    elif kind == "time" and len(present):
        facts |= {"min": _plain(present.min()), "max": _plain(present.max())}
    if distinct and (keep or (distinct <= _TOP and 2 * distinct <= len(present))):
        facts["top"] = [[value, count] for value, count in _counts(present)[:_TOP]]
    return facts


def _kind(dtype: pl.DataType) -> str:
    if dtype.is_numeric():
        return "number"
    if dtype == pl.Boolean:
        return "boolean"
    return "time" if dtype.is_temporal() else "text"


def _numbers(present: pl.Series) -> dict[str, Any]:
    values = present.cast(pl.Float64).to_numpy()
    finite = np.isfinite(values)
    infinite = len(values) - int(finite.sum())
    if infinite:
        present, values = present.filter(pl.Series(finite)), values[finite]
    facts: dict[str, Any] = {"infinite": infinite} if infinite else {}
    if len(values):
        with np.errstate(over="ignore", invalid="ignore"):
            moments = {"mean": float(values.mean()), "std": float(values.std())}
            quantiles = np.quantile(np.sort(values), _DECILES)
        facts |= {"min": _plain(present.min()), "max": _plain(present.max())}
        facts |= {name: value for name, value in moments.items() if math.isfinite(value)}
        if np.isfinite(quantiles).all():
            facts["quantiles"] = quantiles.tolist()
    return facts


def _counts(present: pl.Series) -> list[tuple[Any, int]]:
    """Each value and how often it occurs, the most frequent first; ties in the order of their text."""
    counted = present.alias("value").value_counts().iter_rows()
    return sorted(((_plain(v), n) for v, n in counted), key=lambda c: (-c[1], _word(c[0])))


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    match value:
        case dt.datetime():
            return format_time(value if value.tzinfo else value.replace(tzinfo=dt.UTC))
        case dt.date() | dt.time():
            return value.isoformat()
        case Decimal():
            return float(value)
        case bytes():
            return value.hex()
        case float():
            return value if math.isfinite(value) else str(value)
        case int() if abs(value) >= 2**63:
            return float(value)
    return value


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
