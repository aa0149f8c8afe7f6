"""The embedded store: the conformance suite, and tests of its own features."""

from __future__ import annotations

import functools
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.store.conformance import StoreConformance, accesses
from tocsin.clock import ScriptedClock
from tocsin.contract.streams import ID, SOURCE, TIME
from tocsin.errors import StoreError
from tocsin.store.embedded.delta import DeltaStore
from tocsin.store.embedded.known_ids import KnownIds


class TestDeltaStore(StoreConformance):
    @pytest.fixture
    def opened(self, tmp_path: Path):
        return functools.partial(DeltaStore.open, tmp_path / "store")


def test_maintenance_compacts_days_with_many_files(tmp_path: Path) -> None:
    store = DeltaStore.open(tmp_path)
    for i in range(60):
        store.append("access", accesses(2, f"{i}-"))
    assert store.maintain()["compacted"] > 0


def test_another_namespace_is_refused(tmp_path: Path) -> None:
    DeltaStore.open(tmp_path, "staging").close()
    with pytest.raises(StoreError, match="belongs to namespace 'staging'"):
        DeltaStore.open(tmp_path, "production")


def test_a_newer_store_is_refused(tmp_path: Path) -> None:
    DeltaStore.open(tmp_path).close()
    with sqlite3.connect(tmp_path / "state.db") as connection:
        connection.execute("UPDATE meta SET value = '99' WHERE key = 'store_version'")
    connection.close()
    with pytest.raises(StoreError, match="version 99"):
        DeltaStore.open(tmp_path)


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot create the store"):
        DeltaStore.open(tmp_path / "file" / "store")


def test_retention_drops_whole_days(tmp_path: Path) -> None:
    clock = ScriptedClock(datetime(2026, 3, 20, 12, tzinfo=UTC))
    store = DeltaStore.open(tmp_path, clock=clock, retention={"access": timedelta(days=10)})
    store.append("access", accesses(20, step=timedelta(days=1)))
    assert store.maintain()["dropped"] == 0, "events that are ingested late are retained as long as others"
    clock.set(datetime(2026, 3, 31, 12, tzinfo=UTC))
    store.append("access", accesses(1, "again-", start=datetime(2026, 3, 2, tzinfo=UTC)))
    assert store.maintain()["dropped"] == 19
    assert store.scan("access").collect().height == 2
    clock.set(datetime(2026, 4, 20, tzinfo=UTC))
    assert store.maintain()["dropped"] > 0
    assert store.scan("access").collect().is_empty()


def test_a_day_of_one_minute_ticks_stays_below_200_files(tmp_path: Path) -> None:
    """With maintenance once an hour, as scheduled. A sixth of a day is enough to test the bound."""
    store = DeltaStore.open(tmp_path)
    for tick in range(240):
        store.append("access", accesses(1, f"{tick}-"))
        if tick % 60 == 59:
            store.maintain()
    table = store._table("access")
    assert table is not None
    assert len(table.file_uris()) < 200 / 6


def _between(rows: pl.DataFrame, start: datetime, end: datetime) -> pl.DataFrame:
    return rows.filter(pl.col(TIME) >= start, pl.col(TIME) < end)


@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 5)), max_size=60),
    st.integers(1, 12),
    st.booleans(),
)
def test_known_ids_agree_with_a_set(events: list[tuple[int, int]], size: int, internal: bool) -> None:
    """Every event is new exactly once, for any division into batches and with a small capacity."""
    start = datetime(2026, 3, 1, tzinfo=UTC)
    stored = pl.DataFrame(schema={TIME: pl.Datetime("us", "UTC"), ID: pl.String})
    ids, seen = KnownIds(internal=internal, capacity=3), set()
    for at in range(0, len(events), size):
        batch = events[at : at + size]
        frame = pl.DataFrame(
            {
                TIME: [start + timedelta(hours=(hour % 3 if internal else hour)) for _, hour in batch],
                ID: [str(number) for number, _ in batch],
            },
            schema=stored.schema,
        )
        kept = stored
        fresh = ids.find_new(frame, functools.partial(_between, kept))
        for mark, (number, hour) in zip(fresh.tolist(), batch, strict=True):
            key = number if internal else (number, hour)
            assert mark == (key not in seen)
            seen.add(key)
        rows = frame.filter(pl.Series(np.asarray(fresh)))
        stored = pl.concat([stored, rows])
        ids.add(rows)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), st.sampled_from(["a", "b", None])), max_size=40),
    st.integers(1, 12),
)
def test_no_source_makes_an_event_of_another_one_a_duplicate(
    events: list[tuple[int, int, str | None]], size: int
) -> None:
    """For any order and any division into batches, each source has all of its events, as if it were alone."""
    start = datetime(2026, 3, 1, tzinfo=UTC)
    stored = pl.DataFrame(schema={TIME: pl.Datetime("us", "UTC"), ID: pl.String, SOURCE: pl.String})
    ids, seen = KnownIds(capacity=3), set[tuple[int, int, str | None]]()
    for at in range(0, len(events), size):
        batch = events[at : at + size]
        rows = [(start + timedelta(hours=hour), str(number), source) for number, hour, source in batch]
        frame = pl.DataFrame(rows, schema=stored.schema, orient="row")
        new = frame.filter(pl.Series(ids.find_new(frame, functools.partial(_between, stored))))
        assert new.height == len(set(batch) - seen)
        shared = len({event[:2] for event in seen | set(batch)}) - len({event[:2] for event in seen})
        assert int(ids.find_shared(new).sum()) == new.height - shared
        stored = pl.concat([stored, new])
        ids.add(new)
        seen |= set(batch)
