"""The conformance suite for stores. A store's test module defines the fixture `opened`, a function that opens the store."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from tocsin.clock import EPOCH
from tocsin.contract.frames import TIME_TYPE, conform, empty, schema
from tocsin.contract.query import COUNT, Condition, Measure, Operator
from tocsin.contract.streams import ID, INGESTED, SOURCE, STREAMS, TIME
from tocsin.errors import StoreError
from tocsin.store import shared_ids
from tocsin.store.protocol import Appended, Store

START = datetime(2026, 3, 1, tzinfo=UTC)
Open = Callable[[], Store]


def accesses(
    count: int, prefix: str = "e", start: datetime = START, step: timedelta = timedelta(minutes=1)
) -> pl.DataFrame:
    rows = {
        TIME: [start + i * step for i in range(count)],
        ID: [f"{prefix}{i}" for i in range(count)],
        "user.id": [f"user-{i % 3}" for i in range(count)],
        "event.action": ["read" if i % 2 else "download" for i in range(count)],
        "http.response.bytes": list(range(count)),
    }
    return conform(pl.DataFrame(rows), "access")


class StoreConformance:
    """Subclasses define the fixture `opened`."""

    def test_what_was_appended_is_read_back(self, opened: Open) -> None:
        store = opened()
        rows = accesses(50)
        assert store.append("access", rows) == Appended(50, 0)
        back = store.scan("access").collect().sort(TIME)
        assert back.schema == schema("access")
        assert back.drop(INGESTED).equals(rows.drop(INGESTED))
        assert back[INGESTED].null_count() == 0

    def test_every_stream_can_be_written_and_read(self, opened: Open) -> None:
        store = opened()
        for stream in STREAMS:
            assert store.scan(stream).collect().is_empty()
            row = conform(pl.DataFrame({TIME: [START], ID: ["x"]}), stream)
            assert store.append(stream, row).accepted == 1
            assert store.scan(stream).collect().height == 1

    def test_a_duplicate_is_counted_once(self, opened: Open) -> None:
        store = opened()
        rows = accesses(40)
        assert store.append("access", pl.concat([rows, rows.head(5)])) == Appended(40, 5)
        assert store.append("access", rows) == Appended(0, 40)
        assert opened().append("access", pl.concat([rows, accesses(3, "new")])) == Appended(3, 40)
        assert store.scan("access").collect().height == 43

    def test_the_same_id_of_another_source_is_another_event(self, opened: Open) -> None:
        """Whoever knows the id of another source's next event cannot have it dropped by sending that id first."""
        store = opened()
        log, feed = (
            accesses(5).with_columns(pl.lit(name).alias(SOURCE)) for name in ("access_log:a", "ndjson:b")
        )
        assert store.append("access", feed) == Appended(5, 0)
        assert store.append("access", log) == Appended(5, 0, shared=5)
        assert opened().append("access", pl.concat([log, feed, log])) == Appended(0, 15)
        unnamed = accesses(5)
        assert store.append("access", pl.concat([unnamed, unnamed, log])) == Appended(5, 10, shared=5)
        assert opened().append("access", unnamed) == Appended(0, 5)
        rows = store.scan("access").collect()
        assert rows.group_by(SOURCE).len().sort(SOURCE)["len"].to_list() == [5, 5, 5]
        (entry,) = store.entries(shared_ids.KIND, "access access_log:a")
        assert (entry.value["source"], entry.value["count"]) == ("access_log:a", 5)
        assert len(entry.value["ids"]) == 5

    def test_two_sources_in_one_append(self, opened: Open) -> None:
        store = opened()
        both = pl.concat([accesses(3).with_columns(pl.lit(name).alias(SOURCE)) for name in ("a", "b", "a")])
        assert store.append("access", both) == Appended(6, 3, shared=3)
        assert store.append("access", both) == Appended(0, 9)

    def test_the_same_id_at_another_time_is_another_event(self, opened: Open) -> None:
        store = opened()
        assert store.append("access", accesses(5)).accepted == 5
        assert store.append("access", accesses(5, start=START + timedelta(seconds=1))).accepted == 5

    def test_what_tocsin_writes_is_known_by_its_id_alone(self, opened: Open) -> None:
        store = opened()
        late = START + timedelta(hours=1)
        for time in (START, late):
            store.append(
                "alert_history", conform(pl.DataFrame({TIME: [time], ID: ["said"]}), "alert_history")
            )
        assert store.scan("alert_history").collect().height == 1

    def test_a_checkpoint_comes_with_its_rows(self, opened: Open) -> None:
        store = opened()
        assert store.checkpoint("access", "file") is None
        store.append("access", accesses(5), {"file": 10, "other": 3})
        store.append("access", empty("access"), {"file": 20})
        assert opened().checkpoint("access", "file") == 20
        assert store.checkpoint("access", "other") == 3
        assert store.checkpoint("inference", "file") is None

    def test_ingest_time_never_goes_back(self, opened: Open) -> None:
        store = opened()
        for i in range(5):
            store.append("access", accesses(3, f"{i}-"))
        stamps = store.scan("access", columns=[ID, INGESTED]).collect()
        order = stamps.sort(INGESTED)[ID].str.head(1).unique(maintain_order=True).to_list()
        assert order == list("01234")
        assert stamps[INGESTED].n_unique() == 5

    def test_scan_takes_time_columns_and_conditions(self, opened: Open) -> None:
        store = opened()
        store.append("access", accesses(3000))
        found = store.scan(
            "access",
            START + timedelta(hours=23),
            START + timedelta(hours=25),
            columns=[ID, "http.response.bytes"],
            where=[Condition("event.action", "==", "read"), Condition("http.response.bytes", ">=", 1400)],
        ).collect()
        assert found.columns == [ID, "http.response.bytes"]
        assert found["http.response.bytes"].sort().to_list() == list(range(1401, 1500, 2))

    @pytest.mark.parametrize(
        ("condition", "count"),
        [
            (Condition("user.id", "in", ["user-0", "user-1"]), 20),
            (Condition("user.id", "!=", "user-0"), 20),
            (Condition("user.name", "not_null"), 0),
            (Condition("user.name", "!=", "x"), 0),
            (Condition("http.response.bytes", "<", 4), 4),
            (Condition("http.response.bytes", "<=", 4), 5),
            (Condition("http.response.bytes", ">", 27), 2),
        ],
    )
    def test_conditions(self, opened: Open, condition: Condition, count: int) -> None:
        store = opened()
        store.append("access", accesses(30))
        assert store.scan("access", where=[condition]).collect().height == count

    def test_conditions_on_times_are_exact_within_a_second(self, opened: Open) -> None:
        store = opened()
        store.append("access", accesses(10, step=timedelta(microseconds=1)))
        expected: dict[Operator, int] = {">": 9, "<=": 1, ">=": 10, "<": 0, "==": 1}
        for operator, count in expected.items():
            where = [Condition(TIME, operator, START)]
            assert store.scan("access", where=where).collect().height == count
        assert store.scan("access", START, START + timedelta(microseconds=4)).collect().height == 4

    def test_summarize(self, opened: Open) -> None:
        store = opened()
        store.append("access", accesses(30))
        measures = [
            COUNT,
            Measure("actions", "distinct", "event.action"),
            Measure("bytes", "sum", "http.response.bytes"),
            Measure("least", "min", "http.response.bytes"),
            Measure("most", "max", "http.response.bytes"),
            Measure("mean", "mean", "http.response.bytes"),
        ]
        found = store.summarize("access", START, START + timedelta(minutes=30), ["user.id"], measures).sort(
            "user.id"
        )
        assert found.columns == ["user.id", "count", "actions", "bytes", "least", "most", "mean"]
        assert found.row(0) == ("user-0", 10, 2, 135, 0, 27, 13.5)
        assert found.height == 3

    def test_windows_count_rows_by_event_time_and_later_rows(self, opened: Open) -> None:
        store, hour = opened(), timedelta(hours=1)
        assert store.newest("access") == EPOCH
        assert store.windows("access", hour).is_empty()
        store.append("access", accesses(90))
        first = store.newest("access")
        store.append("access", accesses(40, "late", START + 50 * timedelta(minutes=1)))
        last = store.newest("access")
        assert EPOCH < first < last
        found = store.windows("access", hour, after={"new": first, "newest": last})
        assert found.schema == {"start": TIME_TYPE, "rows": pl.Int64, "new": pl.Int64, "newest": pl.Int64}
        assert found.rows() == [(START, 70, 10, 0), (START + hour, 60, 30, 0)]
        seen = [Condition(INGESTED, ">", first), Condition(INGESTED, "<=", last)]
        half = store.windows("access", hour / 2, START + hour / 2, START + 3 * hour, seen)
        assert half.rows() == [(START + hour / 2, 10), (START + hour, 30)]
        assert store.windows("access", hour, START + 3 * hour).is_empty()

    def test_wrong_rows_are_refused(self, opened: Open) -> None:
        store = opened()
        with pytest.raises(StoreError, match="schema"):
            store.append("access", accesses(1).drop("user.id"))
        with pytest.raises(StoreError, match=r"event\.id"):
            store.append("access", accesses(1).with_columns(pl.lit(None, dtype=pl.String).alias(ID)))

    def test_keyed_state_is_compare_and_set(self, opened: Open) -> None:
        store = opened()
        first = store.put("lease", "a", {"by": "one"})
        assert first is not None
        assert store.put("lease", "a", {"by": "two"}) is None
        second = store.put("lease", "a", {"by": "two"}, first.version)
        assert second is not None
        assert second.version > first.version
        assert store.put("lease", "a", {"by": "three"}, first.version) is None
        assert opened().get("lease", "a") == second
        assert not store.delete("lease", "a", first.version)
        assert store.delete("lease", "a", second.version)
        assert store.get("lease", "a") is None
        renewed = store.put("lease", "a", {})
        assert renewed is not None
        assert renewed.version > second.version

    def test_many_records_are_written_with_compare_and_set(self, opened: Open) -> None:
        store = opened()
        first = store.put("thing", "0003", {"n": -1})
        assert first is not None
        new = [(f"{i:04}", {"n": i}, None) for i in range(1_100)]
        entries = store.put_all("thing", new)
        assert [i for i, entry in enumerate(entries) if entry is None] == [3]
        assert {e.key: e.value["n"] for e in store.entries("thing")} == {
            key: -1 if key == "0003" else value["n"] for key, value, _ in new
        }
        written = [entry for entry in entries if entry is not None]
        assert all(store.get("thing", entry.key) == entry for entry in written[:5])
        changed = store.put_all("thing", [(e.key, {"n": 0}, e.version) for e in written])
        assert all(e is not None and e.version > first.version for e in changed)
        assert store.put_all("thing", [(e.key, {}, e.version) for e in written]) == [None] * 1_099
        assert store.put_all("thing", []) == []

    def test_entries_go_by_prefix(self, opened: Open) -> None:
        store = opened()
        for key in ("b/2", "a/1", "b/1", "b_/1"):
            store.put("thing", key, {"key": key})
        store.put("other", "b/9", {})
        assert [e.key for e in store.entries("thing", "b/")] == ["b/1", "b/2"]
        assert len(store.entries("thing")) == 4

    def test_files_are_stored(self, opened: Open) -> None:
        store = opened()
        frame = pl.DataFrame({"x": [1.5, None]})
        store.save_file("folder/frame.parquet", frame.write_parquet)
        with opened().file_path("folder/frame.parquet") as path:
            assert pl.read_parquet(path).equals(frame)
        with pytest.raises(StoreError, match="has no file"), store.file_path("folder/none"):
            pass

    def test_kinds_and_files_can_be_listed(self, opened: Open) -> None:
        store = opened()
        assert (store.kinds(), store.file_names(), dict(store.checkpoints("access"))) == ([], [], {})
        for kind, key in (("thing", "b"), ("thing", "a"), ("other", "c")):
            store.put(kind, key, {})
        for name in ("b/2.parquet", "a/values.json", "b/1.parquet"):
            store.save_file(name, accesses(3).write_parquet)
        assert opened().kinds() == ["other", "thing"]
        assert opened().file_names() == ["a/values.json", "b/1.parquet", "b/2.parquet"]

    def test_every_checkpoint_of_a_stream_is_listed(self, opened: Open) -> None:
        """Also old ones: Delta shortens a log of many commits."""
        store = opened()
        store.append("access", accesses(1), {"first": 7, "a/b c": 1})
        for number in range(120):
            store.append("access", empty("access"), {"often": number})
        store.append("inference", empty("inference"), {"elsewhere": 1})
        assert dict(opened().checkpoints("access")) == {"a/b c": 1, "first": 7, "often": 119}

    def test_versions_can_be_raised(self, opened: Open) -> None:
        store = opened()
        for above in (10, 5 << 40, 3):
            before = store.put("thing", f"{above}", {})
            assert before is not None
            store.raise_versions(above)
            entry = opened().get("thing", f"{above}")
            assert entry is not None
            changed = opened().put("thing", f"{above}", {"n": 1}, entry.version)
            assert changed is not None
            assert changed.version > max(above, before.version)
            assert store.get("thing", f"{above}") == changed
            assert store.put("thing", f"{above}", {}, before.version) is None

    def test_rows_are_counted_without_groups(self, opened: Open) -> None:
        store = opened()
        assert store.summarize("access", None, None, [], [COUNT])["count"].sum() == 0
        store.append("access", accesses(30))
        where = [Condition("user.id", "==", "user-0")]
        assert store.summarize("access", None, None, [], [COUNT], where)["count"].to_list() == [10]

    def test_two_processes_write_at_once(self, opened: Open) -> None:
        """Both append some of the same events: none is lost or doubled, and the counter in the state is right."""
        opened().put("counter", "n", {"n": 0})
        context = multiprocessing.get_context("spawn")
        processes = [context.Process(target=_write, args=(opened, i)) for i in range(2)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(120)
            assert process.exitcode == 0
        store = opened()
        ids = store.scan("access", columns=[ID, INGESTED]).collect()
        assert ids.height == ids[ID].n_unique() == 20 + 2 * 20 * 10
        assert ids[INGESTED].n_unique() <= 21 * 2
        counted = store.get("counter", "n")
        assert counted is not None
        assert counted.value["n"] == 40
        assert store.checkpoint("access", "writer-0") == store.checkpoint("access", "writer-1") == 19

    def test_threads_may_share_a_store(self, opened: Open) -> None:
        store = opened()
        with ThreadPoolExecutor(4) as pool:
            done = list(pool.map(lambda i: store.append("access", accesses(50, f"{i % 4}-")), range(8)))
        assert sum(a.accepted for a in done) == 200
        assert sum(a.duplicates for a in done) == 200

    def test_maintenance_does_not_change_rows(self, opened: Open) -> None:
        store = opened()
        for i in range(60):
            store.append("access", accesses(2, f"{i}-"))
        before = store.scan("access").collect().sort(ID)
        assert store.maintain().keys() == {"compacted", "dropped"}
        assert opened().scan("access").collect().sort(ID).equals(before)
        assert store.append("access", accesses(2, "0-")) == Appended(0, 2)

    def test_times_beyond_the_calendars_of_stores_are_limits_like_others(self, opened: Open) -> None:
        store = opened()
        store.append("access", accesses(3))
        early, late = datetime(1900, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)
        assert store.scan("access", early, late).collect().height == 3
        for operator, value, count in ((">", early, 3), ("<", early, 0), ("<", late, 3), (">=", late, 0)):
            where = [Condition(INGESTED, operator, value)]  # type: ignore[arg-type]
            assert store.scan("access", where=where).collect().height == count


def _write(opened: Open, number: int) -> None:
    store = opened()
    for i in range(20):
        shared = accesses(1, f"both-{i}-")
        own = accesses(10, f"{number}-{i}-")
        store.append("access", pl.concat([shared, own]), {f"writer-{number}": i})
        while True:
            entry = store.get("counter", "n")
            assert entry is not None
            if store.put("counter", "n", {"n": entry.value["n"] + 1}, entry.version) is not None:
                break
