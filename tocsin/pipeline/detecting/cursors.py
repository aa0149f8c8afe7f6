"""How far a detector has read a stream by ingest time, and which event-time windows have new rows since.

In some stores a row may become visible after rows with a later ingest time (`Store.overlap`). The last `overlap` before
the cursor is therefore read again each time. A window with more rows in it than last time also counts as touched.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Self

from tocsin.clock import EPOCH, format_time, parse_time
from tocsin.contract.query import Condition
from tocsin.contract.streams import INGESTED
from tocsin.store.protocol import Store


class Touched(NamedTuple):
    """Starts of touched windows, each with a marker that changes whenever the window is touched again."""

    windows: Mapping[datetime, str]
    cursor: Cursor


@dataclass(frozen=True, slots=True)
class Cursor:
    """The newest ingest time that was read, and the number of rows of each window in the overlap before it."""

    newest: datetime = EPOCH
    recent: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def read(cls, value: Mapping[str, Any] | None) -> Self:
        """Parse the output of `to_dict`; None gives a cursor at the beginning of the stream."""
        return cls() if value is None else cls(parse_time(value["newest"]), value["recent"])

    def to_dict(self) -> dict[str, Any]:
        """The cursor as JSON values."""
        return {"newest": format_time(self.newest), "recent": dict(self.recent)}

    def advance(self, store: Store, stream: str, length: timedelta) -> Touched:
        """The windows of this length that were touched since the cursor, and the advanced cursor."""
        newest = max(store.newest(stream), self.newest)
        if newest == EPOCH or (newest == self.newest and not store.overlap):
            return Touched({}, self)
        since = max(self.newest - store.overlap, EPOCH)
        read = [Condition(INGESTED, ">", since), Condition(INGESTED, "<=", newest)]
        marks = {"new": self.newest, "recent": newest - store.overlap}
        windows, recent = {}, {}
        for found in store.windows(stream, length, where=read, after=marks).iter_rows(named=True):
            key = format_time(found["start"])
            if found["new"] or found["rows"] > self.recent.get(key, 0):
                windows[found["start"]] = f"{format_time(newest)} {found['rows']} {found['recent']}"
            if found["recent"]:
                recent[key] = found["recent"]
        return Touched(windows, Cursor(newest, recent))
