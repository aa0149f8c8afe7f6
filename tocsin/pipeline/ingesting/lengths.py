"""Shortens keywords that are too long for a store to index."""

from __future__ import annotations

import hashlib

import polars as pl

from tocsin.contract.streams import ID, LONGEST_KEYWORD, STREAMS, Type

#: Number of leading characters of a shortened keyword.
_KEPT = 2_000


def shortened(stream: str, frame: pl.DataFrame) -> pl.DataFrame:
    """Shorten keywords that are longer than Elasticsearch can index.

    A shortened keyword ends with the digest of the whole value, so equal values stay equal and different ones different.
    Otherwise an attacker who chooses a name (of a failed login, of a client program) could choose one that no
    summary counts. Event ids are not shortened: no summary counts them.
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
