"""Parsing and formatting of sizes in bytes, for the configuration and for messages."""

from __future__ import annotations

import re

_UNITS = {"B": 0, "KiB": 10, "MiB": 20, "GiB": 30, "TiB": 40}  # as powers of 2
_SIZE = re.compile(rf"(\d{{1,12}})({'|'.join(_UNITS)})", re.ASCII)


def parse_size(text: str) -> int:
    """Parse a size: `512MiB`, `4GiB`.

    Raises:
        ValueError: `text` is not a size.
    """
    found = _SIZE.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a size; write one like 512MiB or 4GiB")
    return int(found[1]) << _UNITS[found[2]]


def format_size(size: int) -> str:
    """A size in the largest unit of which it has at least one, rounded to a tenth: `3.9GiB`, `12B`."""
    unit, power = max(((u, p) for u, p in _UNITS.items() if size >> p or not p), key=lambda item: item[1])
    return f"{size / (1 << power):.1f}".removesuffix(".0") + unit
