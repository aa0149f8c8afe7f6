"""How far a detector has read a stream by ingest time, and which windows of event time were touched since.

In some stores a row may come into sight a little behind rows of a later ingest time (`Store.overlap`). So that stretch
is looked at again each time: a window in which it holds more rows than last time was touched as well.
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

    def advance(self, store: Store, stream: str, length: timedelta) -> Touched:
        """The windows of a length that were touched since, and the cursor for the next time."""
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
