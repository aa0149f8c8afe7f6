"""Events whose id and time another source has used: both are stored, and each is counted here for `tocsin health`.

Ids of different sources do not collide by chance. Whoever can predict the id of another source's next event may have sent
the first of them, so that the true event looks like a repetition.

Delivery: at least once. An event is counted before it is appended, so after a crash it may be counted twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

import polars as pl

from tocsin.clock import format_time
from tocsin.contract.streams import ID, SOURCE
from tocsin.store.protocol import Entry

KIND = "shared_id"
_SHOWN = 5  # ids that the record names


class _State(Protocol):
    def get(self, kind: str, key: str) -> Entry | None: ...

    def put(
        self, kind: str, key: str, value: Mapping[str, Any], expected: int | None = None
    ) -> Entry | None: ...


def note(state: _State, stream: str, rows: pl.DataFrame, now: datetime) -> None:
    """Count rows of a stream by source, in a record for each stream and source.

    A record has the keys `stream`, `source`, `count`, `last` (the time of the last count) and `ids` (the newest ones).
    """
    if rows.is_empty():
        return
    for (source,), part in rows.group_by(SOURCE, maintain_order=True):
        key = f"{stream} {source}"
        while True:
            entry = state.get(KIND, key)
            count = (entry.value["count"] if entry else 0) + len(part)
            value = {"stream": stream, "source": source or "", "count": count, "last": format_time(now)}
            ids = {"ids": part[ID].tail(_SHOWN).to_list()}
            if state.put(KIND, key, {**value, **ids}, entry.version if entry else None) is not None:
                break
