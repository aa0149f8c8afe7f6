"""Copying history between stores: no event is lost or doubled, and detection continues where it was."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.nodes.node import free_port
from tests.store.conformance import accesses
from tests.store.history import HOUR, START, Bench, events, facts, watched
from tocsin.clock import EPOCH, ScriptedClock
from tocsin.contract.streams import INGESTED, STREAMS, TIME
from tocsin.errors import StoreError
from tocsin.pipeline.copying import copy
from tocsin.pipeline.copying.slices import appends, slices
from tocsin.store.cluster.elastic import ElasticStore
from tocsin.store.embedded.delta import DeltaStore
from tocsin.store.protocol import Store

pytestmark = pytest.mark.full

Make = Callable[[str], Store]
PAIRS = [("delta", "delta"), ("delta", "elastic"), ("elastic", "delta")]


@pytest.fixture
def clock() -> ScriptedClock:
    return ScriptedClock(START)


@pytest.fixture
def make(
    clock: ScriptedClock, tmp_path: Path, request: pytest.FixtureRequest, namespace: str
) -> Iterator[Make]:
    """Makes stores of one namespace: any number of folders, and one on the cluster."""
    made: list[Store] = []

    def store(kind: str) -> Store:
        if kind == "elastic":
            url = request.getfixturevalue("elasticsearch_url")
            made.append(ElasticStore.open(url, namespace, clock, replicas=0))
        else:
            made.append(DeltaStore.open(tmp_path / f"{len(made)}", namespace, clock))
        return made[-1]

    yield store
    for opened in made:
        opened.close()


def same(source: Store, target: Store, clock: ScriptedClock) -> None:
    for stream in STREAMS:
        assert events(target, stream).equals(events(source, stream)), stream
    assert facts(target, clock) == facts(source, clock)


# The whole of it


@pytest.mark.parametrize("way", [("delta",), ("elastic", "delta")], ids="-".join)
def test_everything_arrives_as_it_was(make: Make, clock: ScriptedClock, way: tuple[str, ...]) -> None:
    source = make("delta")
    Bench(source, clock).simulate(30)
    assert len(facts(source, clock)["revisions"]) >= len(facts(source, clock)["findings"]) + 2
    assert [version["pinned"] for version in facts(source, clock)["baselines"]].count(True) == 1
    reading = source
    for kind in way:
        target = make(kind)
        report = copy(reading, target)
        assert (report.refused, report.late) == (0, 0)
        assert {c.stream: c.rows for c in report.streams} == {s: events(source, s).height for s in STREAMS}
        assert sum(c.duplicates for c in report.streams) == 0
        same(source, target, clock)
        assert Bench(target, clock).alerting.tick().firing == 0, "no alert is notified twice"
        reading = target


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_detection_evaluates_what_was_pending_and_nothing_that_was_done(
    make: Make, clock: ScriptedClock, pair: tuple[str, str]
) -> None:
    source = Bench(make(pair[0]), clock)
    source.simulate(30)
    clock.advance(HOUR * 3)
    source.detect()
    source.add(40, 3)  # looked at, not over
    source.detect()
    source.add(6, 3, "unseen-")
    target = Bench(make(pair[1]), clock)
    copy(source.store, target.store, limit=100)
    both = [("count", 6), ("learned", 6)]
    assert target.detect() == both
    assert target.detect() == []
    clock.advance(timedelta(seconds=30))
    target.add(7, 1, "new-")
    assert target.detect() == [("count", 7), ("learned", 7)]
    clock.advance(timedelta(seconds=30))
    target.add(8, 1, "new-")
    assert target.detect() == [("count", 8), ("learned", 8)]
    clock.set(START + 60 * HOUR)
    assert target.detect() == [("count", 40), ("learned", 40)]


def test_a_cluster_that_shows_a_row_late_has_it_evaluated_in_the_copy(
    make: Make, clock: ScriptedClock
) -> None:
    """The source's cursor counts its overlap: where a count is short, a row came into sight behind it."""
    source = Bench(make("elastic"), clock)
    clock.set(START + 9 * HOUR)
    source.add(0, 5)
    clock.advance(timedelta(hours=1))
    source.add(1, 5)
    assert len(source.detect()) == 4
    entry = source.store.get("detect", "count")
    assert entry is not None
    cursor = entry.value["cursors"]["access"]
    short = {**cursor, "recent": {start: count - 1 for start, count in cursor["recent"].items()}}
    assert short != cursor
    source.store.put("detect", "count", {**entry.value, "cursors": {"access": short}}, entry.version)
    target = Bench(make("delta"), clock)
    copy(source.store, target.store)
    assert target.detect() == [("count", 1)]


# Cut off


class Killed(Exception):  # noqa: N818 — not an error: kill -9
    """The process is gone."""


def killed_before(store: Store, number: int) -> Store:
    """The store of a process that is killed before its append of that number."""
    count = itertools.count()

    def before() -> None:
        if next(count) == number:
            raise Killed

    return watched(store, before)


def test_killed_anywhere_and_started_again_it_doubles_nothing(make: Make, clock: ScriptedClock) -> None:
    source = Bench(make("delta"), clock)
    source.simulate(24)
    source.add(3, 2, "unseen-")
    for number in itertools.count():
        target = Bench(make("delta"), clock)
        try:
            copy(source.store, killed_before(target.store, number * 7), limit=40)
        except Killed:
            second = copy(source.store, target.store, limit=40)
            assert sum(c.duplicates for c in second.streams) <= 40
        else:
            break
        same(source.store, target.store, clock)
        assert target.detect() == [("count", 3), ("learned", 3)]
    assert number > 4


def test_killed_on_the_way_to_a_cluster_and_killed_again(make: Make, clock: ScriptedClock) -> None:
    source, target = Bench(make("delta"), clock), Bench(make("elastic"), clock)
    source.simulate(22)
    source.add(3, 2, "unseen-")
    for _ in range(3):
        with pytest.raises(Killed):
            copy(source.store, killed_before(target.store, 4), limit=60)
    copy(source.store, target.store, limit=60)
    same(source.store, target.store, clock)
    assert target.detect() == [("count", 3), ("learned", 3)]


def test_rows_that_arrived_before_a_kill_stay_behind_no_cursor(make: Make, clock: ScriptedClock) -> None:
    """The last rows of a slice are in the target, as a cluster may take them; the source's cursor now stands in the
    middle of that slice, so its place in the target cannot be told exactly.
    """
    source, target = Bench(make("delta"), clock), Bench(make("delta"), clock)
    clock.set(START + 50 * HOUR)
    for hour in range(4):
        source.add(hour, 5)
    source.detect()
    for hour in range(4, 8):
        source.add(hour, 5)
    rows = source.store.scan("access").collect().sort(INGESTED)
    count = itertools.count()

    def before() -> None:
        if next(count) == 1:
            target.store.append("access", rows.tail(10))
            raise Killed

    with pytest.raises(Killed):
        copy(source.store, watched(target.store, before))
    assert target.store.scan("access").collect().height == 30
    for name in ("count", "learned"):
        entry = source.store.get("detect", name)
        assert entry is not None
        middle = {"newest": rows[INGESTED][29].isoformat(), "recent": {}}
        source.store.put("detect", name, {**entry.value, "cursors": {"access": middle}}, entry.version)
    copy(source.store, target.store)
    same(source.store, target.store, clock)
    unseen = {(name, hour) for name in ("count", "learned") for hour in (6, 7)}
    assert unseen <= set(target.detect()) <= unseen | {(name, hour) for name, _ in unseen for hour in (4, 5)}


# Again


def test_again_it_copies_what_came_since(make: Make, clock: ScriptedClock) -> None:
    source, target = Bench(make("delta"), clock), Bench(make("delta"), clock)
    source.simulate(24)
    copy(source.store, target.store)
    before = target.store.entries("copy")
    assert sum(c.read for c in copy(source.store, target.store).streams) == 0
    assert [e for e in target.store.entries("copy") if not e.key.endswith("state")] == [
        e for e in before if not e.key.endswith("state")
    ]
    source.add(24, 12)
    clock.advance(HOUR * 2)
    source.detect()
    source.alerting.tick()
    gone = source.store.entries("incident")[0]
    source.store.delete("incident", gone.key, gone.version)
    report = copy(source.store, target.store)
    assert {c.stream: c.rows for c in report.streams}["access"] == 12
    same(source.store, target.store, clock)
    assert target.detect() == []


def test_from_a_cluster_the_overlap_is_read_again(make: Make, clock: ScriptedClock) -> None:
    source, target = make("elastic"), make("delta")
    source.append("access", accesses(5))
    clock.advance(timedelta(hours=1))
    source.append("access", accesses(5, "more-"))
    copy(source, target)
    (second,) = copy(source, target, ["access"]).streams
    assert (second.rows, second.duplicates) == (0, 5)


def test_rows_that_are_appended_during_a_copy_are_reported(make: Make) -> None:
    source, target = make("delta"), make("delta")
    source.append("access", accesses(5))
    once = iter([True])

    def before() -> None:
        if next(once, False):
            source.append("inference", source.scan("inference").collect())
            source.append("access", accesses(3, "meanwhile-"))

    assert copy(source, watched(target, before)).late == 3
    report = copy(source, target)
    assert (report.late, report.streams[1].rows) == (0, 3)


def test_a_row_that_the_target_refuses_is_never_forgotten(make: Make) -> None:
    source, target = make("delta"), make("elastic")
    old = pl.Series(TIME, [START, datetime(1960, 1, 1, tzinfo=UTC)]).cast(pl.Datetime("us", "UTC"))
    source.append("access", accesses(2).with_columns(old))
    for rows in (1, 0):
        report = copy(source, target)
        assert report.streams[1].rows == rows
        assert report.refused == 1
        assert next(iter(report.streams[1].refused)).startswith("Elasticsearch refused it")


# What is refused as a whole


def test_state_is_not_copied_over_another(make: Make, clock: ScriptedClock, tmp_path: Path) -> None:
    source, target = Bench(make("delta"), clock), Bench(make("delta"), clock)
    source.simulate(22)
    with pytest.raises(StoreError, match="both configurations name the same store"):
        copy(source.store, source.store)
    with pytest.raises(StoreError, match="is empty"):
        copy(target.store, make("delta"))
    other = DeltaStore.open(tmp_path / "other", "other", clock)
    with pytest.raises(StoreError, match="alert fingerprints contain the namespace"):
        copy(source.store, other)
    assert copy(source.store, other, streams_only=True).state is None
    assert events(other, "finding").equals(events(source.store, "finding"))
    other.close()
    used = make("delta")
    used.append("access", accesses(1), {"file": 1})
    with pytest.raises(StoreError, match=r"already has state \(checkpoint of access file"):
        copy(source.store, used)
    copy(source.store, target.store)
    target.add(30, 20)
    clock.advance(HOUR * 20)
    assert target.detect()
    with pytest.raises(StoreError, match="has changed since it was copied"):
        copy(source.store, target.store)
    assert copy(source.store, target.store, ["access"]).streams[0].read == 0


def test_two_copies_at_once_are_noticed(make: Make) -> None:
    source, target = make("delta"), make("delta")
    source.append("access", accesses(10))

    def before() -> None:
        copy(source, target, ["access"])

    with pytest.raises(StoreError, match="another copy of stream access"):
        copy(source, watched(target, before), ["access"])
    assert target.scan("access").collect().height == 10


def test_what_leads_out_of_a_store_is_not_kept(make: Make) -> None:
    source = make("elastic")
    source.save_file("../../escaped", accesses(1).write_parquet)
    source.append("access", accesses(1))
    with pytest.raises(StoreError, match="a name outside its folder"):
        copy(source, make("delta"))


def test_versions_in_the_target_are_higher_than_any_that_were_copied(make: Make) -> None:
    source, target = make("elastic"), make("delta")
    source.append("access", accesses(1))
    there = source.put("detect", "x", {"cursors": {}, "pending": {}})
    copy(source, target)
    here = target.put("detect", "y", {"cursors": {}, "pending": {}})
    assert there is not None
    assert here is not None
    assert here.version > there.version


# Slices


def test_one_append_of_many_rows_is_read_in_slices(make: Make, clock: ScriptedClock) -> None:
    source, target = make("delta"), make("delta")
    source.append("access", accesses(5_000, step=timedelta(seconds=1)))
    longest = 0

    def before() -> None:
        nonlocal longest
        longest += 1

    (copied,) = copy(source, watched(target, before), ["access"], limit=300).streams
    assert copied.rows == 5_000
    assert longest >= 17
    assert events(target, "access").equals(events(source, "access"))


TIMES = st.lists(st.integers(1, 2_000), min_size=0, max_size=80)


@given(TIMES, st.integers(1, 20))
def test_slices_hold_every_row_once_and_no_more_than_the_limit(times: list[int], limit: int) -> None:
    stamps = sorted(EPOCH + timedelta(microseconds=t) for t in times)

    def within(start: datetime, end: datetime) -> list[datetime]:
        return [stamp for stamp in stamps if start < stamp <= end]

    found = list(slices(lambda a, b: len(within(a, b)), EPOCH, EPOCH + timedelta(days=9), limit))
    assert [stamp for a, b in found for stamp in within(a, b)] == stamps
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(found))
    for start, end in found:
        assert len(within(start, end)) <= limit or end - start <= timedelta(microseconds=1)


@given(st.lists(st.tuples(st.integers(0, 20), st.sampled_from(["a", "b", "c", None])), max_size=60))
def test_appends_never_hold_two_revisions_of_the_same(rows: list[tuple[int, str | None]]) -> None:
    frame = pl.DataFrame(
        {
            INGESTED: [EPOCH + timedelta(seconds=at) for at, _ in rows],
            "tocsin.finding.id": [id for _, id in rows],
        },
        schema={INGESTED: pl.Datetime("us", "UTC"), "tocsin.finding.id": pl.String},
    )
    parts = list(appends("finding", frame))
    assert pl.concat(parts).equals(frame.sort(INGESTED, maintain_order=True))
    for part in parts:
        stamps = part.drop_nulls().group_by("tocsin.finding.id").agg(pl.col(INGESTED).n_unique())
        assert (stamps[INGESTED] == 1).all()
    assert len(parts) <= max(1, frame[INGESTED].n_unique())


# The command line


def test_history_is_moved_from_the_command_line(
    elasticsearch_url: str, namespace: str, tmp_path: Path
) -> None:
    (tmp_path / "a.yaml").write_text(f"namespace: {namespace}\nstore: {{type: delta, path: a}}\n")
    (tmp_path / "b.yaml").write_text(
        f"namespace: {namespace}\nstore: {{type: elasticsearch, hosts: ['{elasticsearch_url}'], replicas: 0}}\n"
    )
    (tmp_path / "c.yaml").write_text("namespace: other\nstore: {type: delta, path: c}\n")
    (tmp_path / "gone.yaml").write_text(
        f"namespace: {namespace}\nstore: {{type: elasticsearch, hosts: ['http://127.0.0.1:{free_port()}']}}\n"
    )
    rows = [f'{{"@timestamp": "2026-03-02T09:00:0{i}Z", "user": {{"id": "ana"}}}}\n' for i in range(9)]
    (tmp_path / "access.ndjson").write_text("".join(rows))

    def tocsin(*arguments: str) -> tuple[int, str]:
        command = [str(Path(sys.executable).with_name("tocsin")), *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert "Traceback" not in done.stderr
        return done.returncode, done.stdout + done.stderr

    def copied(source: str, target: str, *more: str) -> tuple[int, str]:
        return tocsin("store", "copy", "--from", source, "--to", target, *more)

    code, output = copied("a.yaml", "b.yaml")
    assert (code, "there is no store to copy from in a" in output, (tmp_path / "a").exists()) == (
        2,
        True,
        False,
    )
    assert "accepted 9" in tocsin("-c", "a.yaml", "collect", "ndjson", "access.ndjson")[1]
    code, output = copied("a.yaml", "b.yaml", "--json")
    assert code == 0
    found = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    assert {f["stream"]: f["copied"] for f in found[:-1] if f["copied"]} == {"access": 9}
    assert found[-1]["state"]["checkpoints"] == 1
    assert "access: 9 of 9 rows" in output
    assert "accepted 0" in tocsin("-c", "b.yaml", "collect", "ndjson", "access.ndjson")[1]
    code, output = copied("b.yaml", "c.yaml")
    assert code == 1
    assert "copy with --streams-only" in output
    code, output = copied("b.yaml", "c.yaml", "--stream", "access")
    assert code == 0
    assert ["access", "9", "0", "0"] in [line.split() for line in output.splitlines()]
    for arguments, expected, words in [
        (("a.yaml", "a.yaml"), 1, "name the same store"),
        (("a.yaml", "none.yaml"), 2, "none.yaml: cannot be read: No such file"),
        (("none.yaml", "a.yaml"), 2, "none.yaml: cannot be read: No such file"),
        (("a.yaml", "gone.yaml"), 1, "Elasticsearch cannot"),
        (("gone.yaml", "a.yaml", "--streams-only"), 1, "Elasticsearch cannot"),
        (("a.yaml", "b.yaml", "--stream", "acces"), 2, "'acces' is not one of"),
    ]:
        code, output = copied(*arguments)
        assert code == expected, output
        assert words in output
