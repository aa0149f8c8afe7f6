"""Cuts history into slices that fit into memory, and slices into appends that keep the order of revisions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

import polars as pl

from tocsin.contract.streams import INGESTED

_SHORTEST = timedelta(microseconds=1)
_WINDOW = ("tocsin.detector.id", "tocsin.window.start", "tocsin.window.end")
_SUBJECT = ("tocsin.subject.type", "tocsin.subject.id")
#: The keys of revisions: of rows with equal values in these columns, readers use the one ingested last.
_REVISED: Mapping[str, Sequence[str]] = {
    "finding": ("tocsin.finding.id",),
    "score": (*_WINDOW, *_SUBJECT),
    "run": _WINDOW,
    "dataset": ("tocsin.dataset.digest",),
}


def slices(
    count: Callable[[datetime, datetime], int], start: datetime, end: datetime, limit: int
) -> Iterator[tuple[datetime, datetime]]:
    """Adjacent intervals of time, oldest first, with at most `limit` rows each; empty intervals are omitted.

    An interval of one microsecond is not cut, even if it has more rows. Rows are counted lazily, interval by interval.
    """
    rows = count(start, end)
    if not rows:
        return
    if rows <= limit or end - start <= _SHORTEST:
        yield start, end
        return
    middle = start + (end - start) // 2
    yield from slices(count, start, middle, limit)
    yield from slices(count, middle, end, limit)


def appends(stream: str, rows: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """The rows in the order of their ingest time, cut so that no append contains two revisions of a key.

    All rows of an append get the same ingest time, so the order of two revisions in one append would be lost.
    """
    rows = rows.sort(INGESTED, maintain_order=True)
    keys = _REVISED.get(stream)
    if keys is None:
        yield rows
        return
    revisions = rows.select(INGESTED, *keys).drop_nulls().unique().sort(INGESTED)
    revised = revisions.select(
        pl.col(INGESTED).shift(1).over(keys).alias("before"), pl.col(INGESTED).alias("at")
    )
    cuts: list[datetime] = []
    for before, at in revised.drop_nulls().sort("at").iter_rows():
        if not cuts or before >= cuts[-1]:
            cuts.append(at)
    places = [rows[INGESTED].search_sorted(cut, "left") for cut in cuts]
    for first, last in zip([0, *places], [*places, len(rows)], strict=True):
        yield rows[first:last]
