"""Reads the tables that commands print when standard output is not a terminal."""

from __future__ import annotations

import re


def empty_columns(shown: str) -> list[str]:
    """The headings of a piped table's columns in which no row has a value."""
    heading, *rows = shown.splitlines()
    assert rows, shown
    starts = [0, *(found.end() for found in re.finditer(r"  +", heading))]
    return [
        heading[start:end].strip()
        for start, end in zip(starts, [*starts[1:], None], strict=True)
        if not {row[start:end].strip() for row in rows} - {"", "-"}
    ]
