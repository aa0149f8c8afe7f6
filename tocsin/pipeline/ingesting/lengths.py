"""Keywords of any length as every store can look for them."""

from __future__ import annotations

import hashlib

import polars as pl

from tocsin.contract.streams import ID, LONGEST_KEYWORD, STREAMS, Type

#: Characters that are kept of a keyword that is too long.
_KEPT = 2_000


def shortened(stream: str, frame: pl.DataFrame) -> pl.DataFrame:
    """Rows without keywords longer than what an index of Elasticsearch holds: such a one is cut, and ends with the
    digest of all of it, so that it stays the same in every event and another than any other.

    Whoever chooses a name (that of a failed login, a client program's) must not be able to choose one that no
    summary counts. An event's id stays: it is found in another way.
    """
    long = [
        c.name
        for c in STREAMS[stream].columns
        if c.type is Type.KEYWORD and c.name != ID and _is_long(frame[c.name])
    ]
    if not long:
        return frame
    cut = (
        pl.when(pl.col(name).str.len_bytes() > LONGEST_KEYWORD)
        .then(pl.col(name).map_elements(_cut, return_dtype=pl.String))
        .otherwise(pl.col(name))
        for name in long
    )
    return frame.with_columns(cut)


def _is_long(column: pl.Series) -> bool:
    longest = column.str.len_bytes().max()
    return isinstance(longest, int) and longest > LONGEST_KEYWORD


def _cut(value: str) -> str:
    return f"{value[:_KEPT]}… {len(value):,} characters, sha256:{hashlib.sha256(value.encode()).hexdigest()}"
