"""Rows and values of any library as Python's own: numpy, pandas, Polars, scipy, lists, mappings.

Standard library only, Python 3.9 or newer.
"""

from __future__ import annotations

import math
from collections import UserString
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta, timezone
from itertools import islice
from typing import Any, NamedTuple, Union

#: What stands for a value that is neither a number nor a text.
UNREADABLE = object()
_MISSING = frozenset({"NAType", "NaTType"})  # the null values of pandas
TEXT = (str, bytes, bytearray, UserString)
_NESTED = (list, tuple)
_DEEPEST = 6  # dimensions of a row; a list may contain itself

#: The names (or none) and values of a row; or why it has no values.
Row = Union[tuple[Sequence[str], Sequence[object]], str]


class Seen(NamedTuple):
    """The input of one call, copied: the number of rows, the first of them, and the names of their columns."""

    total: int | None  # None: unknown
    rows: Any
    names: Any = ()
    absent: str = ""  # why there are no rows


def seen(rows: Any, limit: int) -> Seen:
    """The first rows of a model's input, which later code cannot change. Reads no iterator and no generator."""
    shape = getattr(rows, "shape", None)
    if shape is None:
        if isinstance(rows, TEXT):
            return Seen(1, (rows,))
        if isinstance(rows, Mapping):
            return _mapped(rows, limit)
        if not isinstance(rows, Sequence) and not hasattr(rows, "__array__"):
            return Seen(None, None, absent=type(rows).__name__)
    total = shape[0] if shape is not None else len(rows)
    if not total:
        return Seen(0, None, absent="no rows")
    return Seen(total, copied(rows, min(total, limit)), _columns(rows, shape))


def _columns(rows: Any, shape: Any) -> Any:
    """The names of the columns: of a frame, or of the fields of a structured array."""
    if shape is not None and len(shape) == 2 and hasattr(rows, "columns"):
        return rows.columns
    return getattr(getattr(rows, "dtype", None), "names", None) or ()


def _mapped(rows: Mapping[Any, Any], limit: int) -> Seen:
    """A mapping: of columns of one length, or else one row."""
    columns = list(rows.values())
    if columns and all(hasattr(c, "__len__") and not isinstance(c, (*TEXT, Mapping)) for c in columns):
        lengths = {len(column) for column in columns}
        if len(lengths) == 1:
            parts = [listed(copied(column, limit)) for column in columns]
            return Seen(lengths.pop(), list(zip(*parts)), tuple(rows))
    return Seen(1, (dict(rows),))


def copied(values: Any, count: int) -> Any:
    """A copy of the first values, which later code cannot change."""
    if isinstance(values, _NESTED):
        return [_copied_row(row) for row in values[:count]]
    shape: Any = getattr(values, "shape", None)
    whole = bool(shape) and shape[0] <= count
    if hasattr(values, "clone"):  # first, because an absent attribute of a Polars frame costs 2 µs
        return (values if whole else values[:count]).clone()
    if hasattr(values, "iloc"):
        return values.iloc[:count].to_numpy(copy=True)
    if hasattr(values, "tocsr"):
        values = values.tocsr()
    part = values if whole else values[:count]
    return part.copy() if hasattr(part, "copy") else part


def _copied_row(row: Any) -> Any:
    if isinstance(row, list):
        return tuple(row)
    if isinstance(row, (*TEXT, tuple, float, int, date)):
        return row
    if isinstance(row, Mapping):
        return dict(row)
    if hasattr(row, "dtype"):
        return row.copy() if hasattr(row, "copy") else row
    fields = getattr(row, "__dict__", None)  # an object's attributes are the keys of a row
    return {k: v for k, v in fields.items() if not k.startswith("_")} if isinstance(fields, dict) else row


def listed(values: Any) -> Sequence[Any]:
    """Values of an array, a frame or a column as a list of Python values."""
    if hasattr(values, "tocsr"):
        return _Sparse(values)
    kind = getattr(getattr(values, "dtype", None), "kind", "")
    if kind in ("M", "m"):  # numpy turns nanoseconds to integers, microseconds to times
        values = values.astype(f"{kind}8[us]")
    for method in ("to_pylist", "rows", "to_list", "tolist", "numpy"):
        if hasattr(values, method):
            values = getattr(values, method)()
    return values if isinstance(values, Sequence) else list(islice(values, len(values)))


class _Sparse(Sequence[Any]):
    """The rows of a sparse matrix. One row at a time is dense."""

    def __init__(self, matrix: Any) -> None:
        self._matrix = matrix.tocsr()

    def __len__(self) -> int:
        return int(self._matrix.shape[0])

    def __getitem__(self, place: Any) -> Any:
        if place >= len(self):
            raise IndexError(place)
        return self._matrix[place : place + 1].toarray().ravel().tolist()


def row_of(row: Any, names: Sequence[str]) -> Row:
    """The names and values of one row. A text has none: a code for each of its characters would be the text."""
    if isinstance(row, TEXT):
        return "text"
    if hasattr(row, "dtype") or hasattr(row, "tolist"):
        row = row.item() if getattr(row, "shape", None) == () else listed(row)
    if isinstance(row, _NESTED):
        for _ in range(_DEEPEST):  # an image or a sequence of vectors
            if not row or names or not all(isinstance(v, _NESTED) or getattr(v, "ndim", 0) for v in row):
                break
            row = [value for inner in row for value in inner]
        return names or getattr(row, "_fields", ()), row
    if isinstance(row, Mapping):
        return tuple(map(str, row)), tuple(row.values())
    if isinstance(row, Sequence):
        return names, tuple(row)
    content = read(row)
    if content is None:
        return "missing"
    return type(row).__name__ if content is UNREADABLE else (names, (row,))


def rows_of(rows: Any, names: Sequence[str]) -> Iterator[tuple[Sequence[str], Sequence[object]]]:
    """The rows that have values."""
    for row in rows:
        found = row_of(row, names)
        if not isinstance(found, str):
            yield found


def read(value: Any) -> Any:
    """A value as a float, a text, None if it is missing or not a number, or `UNREADABLE`.

    A time is the seconds since 1970. A list or mapping within a row is a text, so that different ones stay different.

    Raises:
        OverflowError: an integer is larger than any float.
    """
    if value is None or type(value).__name__ in _MISSING:
        return None
    if isinstance(value, (float, int)):
        number = float(value)
        return number if number == number else None  # noqa: PLR0124 - NaN
    if isinstance(value, (str, UserString)):
        return str(value)
    if isinstance(value, date):
        moment = value if isinstance(value, datetime) else datetime.combine(value, time())
        return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, (*_NESTED, dict)):
        return repr(value)
    return _read_foreign(value)


def _read_foreign(value: Any) -> Any:
    """A scalar or an array of another library, or a number of another type, such as `Decimal`."""
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    if kind in ("M", "m"):
        value = value.astype(f"{kind}8[us]")
    if hasattr(value, "tolist"):
        inner = value.tolist()
        return UNREADABLE if hasattr(inner, "tolist") else read(inner)
    try:
        return read(float(value)) if hasattr(type(value), "__float__") else UNREADABLE
    except (TypeError, ValueError):
        return UNREADABLE


def number_in(text: str) -> float | None:
    """The finite number that a text spells, or None."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
