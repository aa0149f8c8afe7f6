"""Which windows were touched, including by rows that become visible after later ones."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from tocsin.clock import EPOCH
from tocsin.contract.query import Where
from tocsin.contract.streams import INGESTED, TIME
from tocsin.contract.windows import matches
from tocsin.pipeline.detecting.cursors import Cursor
from tocsin.store.tumbling import count_by_window

HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)
WINDOW = datetime(2026, 3, 1, 10, tzinfo=UTC)
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
_TIME = pl.Datetime("us", "UTC")


class Sight:
    """A store in which rows may become visible up to `overlap` behind the newest one."""

    overlap = 90 * SECOND

    def __init__(self) -> None:
        self.rows: list[tuple[datetime, datetime]] = []

    def newest(self, _: str) -> datetime:
        return max((ingested for _, ingested in self.rows), default=EPOCH)

    def windows(
        self, _: str, length: timedelta, where: Where = (), after: Mapping[str, datetime] | None = None
    ) -> pl.DataFrame:
        frame = pl.LazyFrame(self.rows, schema={TIME: _TIME, INGESTED: _TIME}, orient="row")
        return count_by_window(frame.filter(*map(matches, where)), length, after or {})


def test_a_row_behind_others_touches_its_window_with_another_word() -> None:
    """A worker that read the window in between must not remove it from the pending windows."""
    store = Sight()
    store.rows = [(WINDOW, NOW - 100 * SECOND), (WINDOW, NOW - 5 * SECOND), (WINDOW, NOW)]
    first = Cursor().advance(store, "access", HOUR)  # type: ignore[arg-type]
    store.rows.append((WINDOW, NOW - 2 * SECOND))
    second = first.cursor.advance(store, "access", HOUR)  # type: ignore[arg-type]
    assert set(first.windows) == set(second.windows) == {WINDOW}
    assert first.windows != second.windows
    assert second.cursor.advance(store, "access", HOUR).windows == {}  # type: ignore[arg-type]


@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, 80), st.booleans()),
        min_size=1,
        max_size=30,
    )
)
def test_every_row_touches_its_window_once_it_is_in_sight(steps: list[tuple[int, int, bool]]) -> None:
    """Each step adds a row to a window, some seconds behind the newest, and may advance the cursor."""
    store, cursor, newest = Sight(), Cursor(), NOW
    seen: dict[datetime, str] = {}
    unseen: set[datetime] = set()
    for window, behind, looks in [*steps, (0, 0, True)]:
        newest += SECOND
        start = WINDOW + window * HOUR
        store.rows.append((start, newest - behind * SECOND))
        unseen.add(start)
        if looks:
            touched = cursor.advance(store, "access", HOUR)  # type: ignore[arg-type]
            assert unseen <= set(touched.windows)
            assert all(seen.get(at) != word for at, word in touched.windows.items())
            seen |= touched.windows
            cursor, unseen = touched.cursor, set()
