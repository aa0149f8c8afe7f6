"""How far a detector has read a stream by ingest time, and which windows of event time were touched since.

In some stores a row may come into sight a little behind rows of a later ingest time (`Store.overlap`). So that stretch
is looked at again each time: a window in which it holds more rows than last time was touched as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Self

import polars as pl

from tocsin.clock import EPOCH, format_time, parse_time
from tocsin.query import Condition
from tocsin.store.protocol import Store
from tocsin.streams import INGESTED, TIME


class Touched(NamedTuple):
    """Starts of windows, each with a text that is another one whenever the window was touched again."""

    windows: Mapping[datetime, str]
    cursor: Cursor


@dataclass(frozen=True, slots=True)
class Cursor:
    """The newest ingest time that was seen, and how many rows of each window lie in the overlap before it."""

    newest: datetime = EPOCH
    recent: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def read(cls, value: Mapping[str, Any] | None) -> Self:
        """What `to_dict` wrote; the beginning where there is nothing."""
        return cls() if value is None else cls(parse_time(value["newest"]), value["recent"])

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {"newest": format_time(self.newest), "recent": dict(self.recent)}

    def look(self, store: Store, stream: str, length: timedelta) -> Touched:
        """The windows of a length that were touched since, and the cursor for the next time."""
        since = max(self.newest - store.overlap, EPOCH)
        new = store.scan(stream, columns=[TIME, INGESTED], where=[Condition(INGESTED, ">", since)])
        groups = new.group_by(window_starts(length).alias("start"), INGESTED).agg(pl.len().alias("rows"))
        appended = groups.collect()  # a row for each window and append, however many events there are
        newest = appended[INGESTED].max()
        if not isinstance(newest, datetime):
            return Touched({}, self)
        rows, ingested = pl.col("rows"), pl.col(INGESTED)
        found = appended.group_by("start").agg(
            rows.sum().alias("rows"),
            rows.filter(ingested > self.newest).sum().alias("new"),
            rows.filter(ingested <= self.newest).sum().alias("old"),
            rows.filter(ingested > newest - store.overlap).sum().alias("recent"),
        )
        windows, recent = {}, {}
        for start, count, fresh, old, late in found.iter_rows():
            key = format_time(start)
            if fresh or old > self.recent.get(key, 0):
                windows[start] = f"{format_time(newest)} {count}"
            if late:
                recent[key] = late
        return Touched(windows, Cursor(newest, recent))


def window_starts(length: timedelta) -> pl.Expr:
    """The start of the tumbling window that holds each row's event time."""
    step = length // timedelta(microseconds=1)
    return (pl.col(TIME).to_physical() // step * step).cast(pl.Datetime("us", "UTC"))
