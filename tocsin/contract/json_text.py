"""Reads JSON text, also with the NaN and Infinity that many programs write in it."""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec


def read_json(data: bytes) -> Any:
    """The value of a JSON text. NaN, Infinity and -Infinity, which are not JSON, are read as null.

    Python's `json.dumps` writes them for numbers that are not finite. A text value is never changed.

    Raises:
        ValueError: the text is not JSON; the message says why and where.
    """
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if b"NaN" not in data and b"Infinity" not in data:
            raise ValueError(f"not JSON: {error}") from None
        failed = error
    except RecursionError:
        raise ValueError("not JSON: nested too deeply") from None
    try:
        return json.loads(data.decode(), parse_constant=_null, parse_float=_finite)
    except (ValueError, RecursionError):
        raise ValueError(f"not JSON: {failed}") from None


def _null(_: str) -> None:
    return None


def _finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None
