"""Converts JSON values to the types of a stream's columns."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import msgspec

from tocsin.clock import EPOCH, format_time
from tocsin.contract.addresses import canonical_address
from tocsin.contract.streams import Column, Type


class EventError(ValueError):
    """The reason why an input is not a valid event of its stream."""


def cast(column: Column, value: Any) -> Any:
    """Convert a value to the type of its column.

    Raises:
        EventError: the value is not of the column's type; the message names both.
    """
    if value is None:
        return None
    try:
        return _CASTS[column.type](value)
    except (TypeError, ValueError, OverflowError):
        shown = repr(value) if len(repr(value)) <= 60 else f"{repr(value)[:57]}…"
        raise EventError(f"{column.name}: {column.type.value} is needed, not {kind(value)} {shown}") from None


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        value.encode()  # raises for a lone surrogate, which no store can write
        return value
    if isinstance(value, int | float):
        return str(value)
    raise TypeError


def _long(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        raise TypeError
    if not -(2**63) <= value < 2**63:
        raise OverflowError
    return int(value)


def _double(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError
    return float(value)


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _date(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise TypeError
    if isinstance(value, int):  # Elasticsearch's numeric date format: milliseconds since 1970
        return format_time(EPOCH + timedelta(milliseconds=value))
    return _text(value)


def _address(value: Any) -> str:
    text = _text(value)
    return canonical_address(text) or text


def _keywords(value: Any) -> list[str]:
    return [_text(item) for item in (value if isinstance(value, list | tuple) else [value])]


def _doubles(value: Any) -> list[float]:
    if not isinstance(value, list | tuple):
        raise TypeError
    return [math.nan if item is None else _double(item) for item in value]


def _json(value: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


_CASTS: Mapping[Type, Callable[[Any], Any]] = {
    Type.KEYWORD: _text,
    Type.TEXT: _text,
    Type.LONG: _long,
    Type.DOUBLE: _double,
    Type.BOOLEAN: _boolean,
    Type.DATE: _date,
    Type.IP: _address,
    Type.JSON: _json,
    Type.KEYWORDS: _keywords,
    Type.DOUBLES: _doubles,
}


def kind(value: Any) -> str:
    """The name of a value's JSON type."""
    match value:
        case None:
            return "null"
        case bool():
            return "true/false"
        case int() | float():
            return "number"
        case str():
            return "text"
        case Mapping():
            return "object"
        case Sequence():
            return "list"
    return type(value).__name__
