"""Types of the text columns of a CSV file: numbers, booleans and times, if every value of a column is one.

The type depends on all values, never on a sample. Outer spaces and markers of missing values do not count. Thousands may be
grouped by comma, point, space or apostrophe. Where a column fits both decimal marks (1,500), the form of the file decides;
without evidence in the file, the comma groups thousands, except in files separated by semicolons.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import polars as pl

from tocsin.datasets.forms import Form

_CLOCK = r"[0-9]{2}:[0-9]{2}:[0-9]{2}"
_ZONE = r"(?:Z|[+-][0-9]{2}:?[0-9]{2})"
_MICRO = r"(?:\.[0-9]{1,6}0{0,3})?"
_NANO = r"(?:\.[0-9]{1,9})?"
_DAY, _NANO_DAY = r"[0-9]{4}-[0-9]{2}-[0-9]{2}", r"(?:1[7-9]|2[01])[0-9]{2}-[0-9]{2}-[0-9]{2}"
_EXPONENT = r"(?:[eE][+-]?[0-9]{1,3})?"
_WHOLE = r"[+-]?[0-9]{1,18}"
_SPACES = " '’\u00a0\u202f"
_MOST = 0.9  # from this share of numbers on, a column of text is nearly one of numbers


class _Kind(NamedTuple):
    """A pattern that every value matches, and the conversion of such a column."""

    pattern: str
    read: Callable[[pl.Expr], pl.Expr]


def _datetimes(format: str, unit: str) -> Callable[[pl.Expr], pl.Expr]:
    def read(column: pl.Expr) -> pl.Expr:
        text = column.str.replace(" ", "T", literal=True)
        return text.str.to_datetime(format, time_unit="ns" if unit == "ns" else "us", strict=False)

    return read


def _numbers(dtype: type[pl.DataType], groups: str = "", decimal: str = ".") -> Callable[[pl.Expr], pl.Expr]:
    def read(column: pl.Expr) -> pl.Expr:
        for mark in groups:
            column = column.str.replace_all(mark, "", literal=True)
        text = column.str.replace(decimal, ".", literal=True).str.strip_prefix("+")
        return text.cast(dtype, strict=False)

    return read


def _grouped(groups: str, decimal: str) -> list[_Kind]:
    """Whole numbers and numbers with a decimal mark, whose thousands may be grouped."""
    point = f"[{decimal}]"
    whole = rf"[+-]?(?:[1-9][0-9]{{0,2}}(?:[{groups}][0-9]{{3}})+|[0-9]{{1,18}})"
    number = rf"{whole}(?:{point}[0-9]*)?{_EXPONENT}|[+-]?{point}[0-9]+{_EXPONENT}"
    return [
        _Kind(whole, _numbers(pl.Int64, groups)),
        _Kind(number, _numbers(pl.Float64, groups, decimal)),
    ]


_POINT, _COMMA = _grouped("," + _SPACES, "."), _grouped("." + _SPACES, ",")
_BOOLEAN = _Kind("(?i:true|false)", lambda column: column.str.to_lowercase() == "true")
_TIMES = (
    _Kind(_DAY, lambda column: column.str.to_date("%Y-%m-%d", strict=False)),
    _Kind(f"{_CLOCK}{_NANO}", lambda column: column.str.to_time("%H:%M:%S%.f", strict=False)),
    _Kind(f"{_DAY}[ T]{_CLOCK}{_MICRO}", _datetimes("%Y-%m-%dT%H:%M:%S%.f", "us")),
    _Kind(f"{_DAY}[ T]{_CLOCK}{_MICRO}{_ZONE}", _datetimes("%Y-%m-%dT%H:%M:%S%.f%#z", "us")),
    _Kind(f"{_NANO_DAY}[ T]{_CLOCK}{_NANO}", _datetimes("%Y-%m-%dT%H:%M:%S%.f", "ns")),
    _Kind(f"{_NANO_DAY}[ T]{_CLOCK}{_NANO}{_ZONE}", _datetimes("%Y-%m-%dT%H:%M:%S%.f%#z", "ns")),
)


def typed(rows: pl.LazyFrame, form: Form) -> pl.LazyFrame:
    """Convert text columns in which every value is a number, a boolean or a time. Markers of missing values become null."""
    names = [name for name, dtype in rows.collect_schema().items() if dtype == pl.String]
    if not names:
        return rows
    kinds = _TIMES if form.plain else [_BOOLEAN, *_number_kinds(form), *_TIMES]
    texts = {name: pl.col(name) if form.plain else pl.col(name).str.strip_chars() for name in names}
    absent = {name: text.is_in([] if form.plain else form.markers) for name, text in texts.items()}
    filled = {name: ~absent[name] & (text != "") | form.plain for name, text in texts.items()}
    values = {name: pl.when(filled[name]).then(text) for name, text in texts.items()}
    changed = _chosen(rows, values, kinds)
    converted = [changed.get(n, pl.when(~absent[n]).then(pl.col(n))).alias(n) for n in names]
    return rows.with_columns(converted)


def nearly_numbers(rows: pl.LazyFrame, form: Form) -> dict[str, list[str]]:
    """Text columns of which most values are numbers, and up to three of the other values."""
    names = [name for name, dtype in rows.collect_schema().items() if dtype == pl.String]
    pattern = f"^(?:{'|'.join(kind.pattern for kind in _number_kinds(form))})$"
    number = {name: pl.col(name).str.strip_chars().str.contains(pattern) for name in names}
    if not names:
        return {}
    shares = rows.select(number[name].mean().alias(name) for name in names).collect().row(0, named=True)
    odd = [name for name, share in shares.items() if share is not None and share >= _MOST]
    return {
        name: rows.select(pl.col(name).filter(~number[name]).head(3)).collect().to_series().to_list()
        for name in odd
    }


def numbers_in(column: pl.Series, form: Form) -> pl.Series:
    """The numbers in a text column; other values are left out."""
    text, name = pl.col(column.name).str.strip_chars(), column.name
    wholes = column.to_frame().select(
        pl.coalesce(
            pl.when(text.str.contains(f"^(?:{kind.pattern})$")).then(kind.read(text).cast(pl.Float64))
            for kind in _number_kinds(form)
        ).alias(name)
    )
    return wholes.to_series().drop_nulls()


def from_text(value: str) -> pl.Expr:
    """One value, with the type that a column of it would have."""
    series = typed(pl.LazyFrame({"value": [value]}), Form()).collect().to_series()
    return pl.lit(series.item(), dtype=series.dtype)


def _number_kinds(form: Form) -> Sequence[_Kind]:
    if form.decimal == ",":
        return _COMMA
    if form.decimal == ".":
        return _POINT
    return [*_COMMA, *_POINT] if form.separator == ";" else [*_POINT, *_COMMA]


def _chosen(rows: pl.LazyFrame, values: Mapping[str, pl.Expr], kinds: Sequence[_Kind]) -> dict[str, pl.Expr]:
    """The conversion of each column of which every value matches a pattern, by the first such pattern."""
    fits = rows.select(
        (text.count() > 0).and_(text.str.contains(f"^(?:{kind.pattern})$").all()).alias(f"{index} {name}")
        for name, text in values.items()
        for index, kind in enumerate(kinds)
    )
    verdicts = fits.collect().row(0, named=True)
    found = {}
    for name, text in values.items():
        kind = next((kind for i, kind in enumerate(kinds) if verdicts[f"{i} {name}"]), None)
        if kind is not None:
            found[name] = kind.read(text)
    if not found:
        return {}
    # A column stays text if a value matches the pattern and is no valid time, such as 2026-02-30.
    lossy = rows.select((new.null_count() > values[n].null_count()).alias(n) for n, new in found.items())
    loses = lossy.collect().row(0, named=True)
    return {name: new for name, new in found.items() if not loses[name]}
