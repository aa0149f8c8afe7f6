"""The spool: stores that become unreachable and reachable again, processes that are killed, disks that fill up."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.conftest import ROOT, missing
from tests.store.conformance import START, accesses
from tocsin.clock import ScriptedClock
from tocsin.config.params import build
from tocsin.config.sizes import format_size, parse_size
from tocsin.contract.frames import conform, empty
from tocsin.contract.streams import ID, INGESTED
from tocsin.errors import StoreAway, StoreError
from tocsin.pipeline.ingesting.dead_letters import refused_dead_letters
from tocsin.pipeline.ingesting.ingest import Counts, Ingest
from tocsin.pipeline.ingesting.protect import Protector
from tocsin.store.embedded.delta import DeltaStore
from tocsin.store.protocol import Appended, Refused
from tocsin.store.spool.spooled import SpooledStore
from tocsin_collectors.ndjson import Ndjson

NOW = datetime(2026, 3, 10, tzinfo=UTC)
LATER = timedelta(seconds=6)  # longer than the pause after a failure


class Killed(BaseException):
    """The process is killed."""


class Cluster(DeltaStore):
    """A store that can be unreachable, can lose a response, and refuses some ids."""

    away = lost = failed = False
    dies_after: int | None = None
    refuses: frozenset[str] = frozenset()
    asked = 0

    def append(
        self, stream: str, frame: pl.DataFrame, checkpoint: Mapping[str, int] | None = None
    ) -> Appended:
        self._answer()
        if self.dies_after == 0:
            raise Killed
        refused = tuple(Refused(id, "too odd") for id in frame[ID] if id in self.refuses)
        frame = frame.filter(~pl.col(ID).is_in(list(self.refuses)))
        done = super().append(stream, frame, checkpoint)
        if self.lost:
            self.lost, self.failed = False, True
            raise StoreAway("the answer was lost")
        if self.dies_after is not None:
            self.dies_after -= 1
            if not self.dies_after:
                raise Killed
        return Appended(done.accepted, done.duplicates, refused)

    def checkpoint(self, stream: str, key: str) -> int | None:
        self._answer()
        return super().checkpoint(stream, key)

    def _answer(self) -> None:
        self.asked += 1
        if self.away:
            self.failed = True
            raise StoreAway("connection refused")


class Bench:
    """A cluster, a spool before it, and a clock."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock = folder, ScriptedClock(NOW)
        self.cluster = Cluster.open(folder / "store", clock=self.clock)
        self.spool = self.open()

    def open(self, **more: Any) -> SpooledStore:
        return SpooledStore(self.cluster, self.folder / "spool", self.clock, self.letters, **more)

    def letters(self, stream: str, frame: pl.DataFrame, refused: Sequence[Refused]) -> pl.DataFrame:
        return refused_dead_letters(stream, frame, refused, Protector(), NOW)

    def files(self, pattern: str = "*.arrow") -> list[Path]:
        return sorted((self.folder / "spool").glob(pattern))

    def ids(self, stream: str = "access") -> list[str]:
        found: list[str] = (
            self.cluster.scan(stream).sort(INGESTED, maintain_order=True).collect()[ID].to_list()
        )
        return found


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    found = Bench(tmp_path)
    yield found
    found.spool.close()


def lines(numbers: range) -> str:
    return "".join(
        f'{{"@timestamp":"{(START + timedelta(milliseconds=i)).isoformat()}",'
        f'"event":{{"id":"e{i}","action":"read"}},"user":{{"id":"user-{i % 7}"}}}}\n'
        for i in numbers
    )


# What goes where


def test_what_comes_while_the_store_is_away_is_written_in_order_when_it_is_back(bench: Bench) -> None:
    assert bench.spool.append("access", accesses(3, "a"), {"file": 3}) == Appended(3, 0)
    assert bench.files() == []
    bench.cluster.away = True
    assert bench.spool.append("access", accesses(4, "b"), {"file": 7}) == Appended(0, 0, spooled=4)
    assert bench.spool.append("access", accesses(4, "c"), {"file": 11}) == Appended(0, 0, spooled=4)
    assert [p.name for p in bench.files()] == ["000000000001-access.arrow", "000000000002-access.arrow"]
    assert (bench.spool.segments, bench.spool.events, bench.spool.oldest) == (2, 8, NOW)
    assert bench.spool.bytes == sum(p.stat().st_size for p in bench.files())
    assert bench.spool.checkpoint("access", "file") == 11
    bench.cluster.away = False
    bench.clock.advance(LATER)
    assert bench.spool.append("access", accesses(1, "d"), {"file": 12}) == Appended(1, 0)
    assert [id[0] for id in bench.ids()] == list("aaabbbbccccd")
    assert bench.cluster.checkpoint("access", "file") == bench.spool.checkpoint("access", "file") == 12
    assert (bench.spool.segments, bench.spool.events, bench.spool.bytes) == (0, 0, 0)
    assert bench.spool.oldest is None
    assert bench.files() == []


def test_a_store_that_is_away_is_not_contacted_for_some_seconds(bench: Bench) -> None:
    bench.cluster.away = True
    for number in range(10):
        bench.spool.append("access", accesses(1, f"{number}-"), {"file": number})
    assert bench.cluster.asked == 1
    bench.clock.advance(LATER)
    bench.spool.append("access", accesses(1, "x"))
    assert bench.cluster.asked == 2
    bench.cluster.away = False
    assert bench.spool.drain() == 11, "an explicit drain does not wait for the pause"


def test_a_refusal_is_no_reason_to_spool(bench: Bench) -> None:
    with pytest.raises(StoreError, match="schema"):
        bench.spool.append("access", accesses(1).drop("user.id"))
    bench.cluster.away = True
    with pytest.raises(StoreError, match=r"event\.id"):
        bench.spool.append("access", accesses(1).with_columns(pl.lit(None, dtype=pl.String).alias(ID)))
    assert bench.files() == []


def test_a_checkpoint_without_rows_waits_as_well(bench: Bench) -> None:
    bench.cluster.away = True
    bench.spool.append("access", empty("access"), {"file": 9})
    assert bench.spool.append("access", empty("access")) == Appended(0, 0)
    assert bench.spool.segments == 1
    bench.cluster.away = False
    assert bench.spool.drain() == 0
    assert bench.cluster.checkpoint("access", "file") == 9


def test_what_is_refused_out_of_the_spool_becomes_a_dead_letter(bench: Bench) -> None:
    bench.cluster.away, bench.cluster.refuses = True, frozenset({"e1"})
    rows = accesses(3).with_columns(pl.lit("ndjson:here").alias("tocsin.source.id"))
    bench.spool.append("access", rows, {"file": 3})
    bench.cluster.away = False
    assert bench.spool.drain() == 3
    assert bench.ids() == ["e0", "e2"]
    (letter,) = bench.cluster.scan("dead_letter").collect().to_dicts()
    assert letter["error.message"] == "too odd"
    assert letter["tocsin.dead_letter.position"] == "event.id e1"
    assert letter["tocsin.source.id"] == "ndjson:here"


# Checkpoints


def test_known_sources_go_on_and_new_files_are_read_while_the_store_is_away(bench: Bench) -> None:
    bench.cluster.append("access", accesses(1), {"old": 5})
    assert bench.spool.checkpoint("access", "old") == 5
    bench.cluster.away = True
    assert bench.spool.checkpoint("access", "old") == 5
    assert bench.spool.checkpoint("access", "appeared meanwhile") is None
    with pytest.raises(StoreAway, match="stream inference"):
        bench.spool.checkpoint("inference", "old")


def test_without_a_known_checkpoint_a_collector_waits(bench: Bench) -> None:
    source = bench.folder / "access.ndjson"
    source.write_text(lines(range(20)))
    ingest, collector = (
        Ingest(bench.spool, bench.clock),
        Ndjson(build(Ndjson.params_type(), {"paths": [str(source)]})),
    )
    bench.cluster.away = True
    with pytest.raises(StoreAway):
        ingest.run(collector)
    assert bench.files() == []
    bench.cluster.away = False
    bench.clock.advance(LATER)
    assert ingest.run(collector) == Counts(20, 20)
    bench.cluster.away = True
    with source.open("a") as file:
        file.write(lines(range(20, 50)))
    assert ingest.run(collector) == Counts(30, spooled=30)
    assert ingest.run(collector) == Counts()


# Files


def test_damaged_segments_are_set_aside_and_the_rest_goes_on(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.cluster.away = True
    for name in "abcd":
        bench.spool.append("access", accesses(5, name), {name: 5})
    bench.spool.close()
    bench.cluster = Cluster.open(bench.folder / "store", clock=bench.clock)
    first, second, third, _ = bench.files()
    first.write_bytes(first.read_bytes()[:-100])  # cut off
    content = bytearray(second.read_bytes())
    content[-50] ^= 1
    second.write_bytes(content)  # one bit is flipped
    third.write_bytes(b"")
    (bench.folder / "spool" / "000000000005-access.arrow.partial").write_bytes(b"cut off")
    bench.spool = bench.open()
    with caplog.at_level(logging.ERROR):
        assert bench.spool.drain() == 5
    assert bench.ids() == [f"d{i}" for i in range(5)]
    assert [p.name for p in bench.files("damaged/*")] == [p.name for p in (first, second, third)]
    assert [p.name for p in bench.files("*")] == ["damaged", "lock"]
    errors = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    assert len(errors) == 3
    assert all(p.name in "\n".join(errors) for p in (first, second, third))
    assert "its 5 events of stream access" in errors[2]
    assert [bench.spool.checkpoint("access", name) for name in "abcd"] == [None, None, None, 5]
    bench.cluster.away = True
    bench.spool.append("access", accesses(1, "e"))
    assert bench.files()[0].name > "000000000004", "no number is used twice"


def test_one_process_has_the_spool(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    assert bench.spool.drain() == 0
    other = bench.open()
    assert other.drain() == 0
    assert other.append("access", accesses(2), {"file": 2}) == Appended(2, 0)
    assert "events are written without it" in caplog.text
    bench.cluster.away = True
    with pytest.raises(StoreAway):
        other.append("access", accesses(2, "x"))
    bench.spool.close()
    assert other.append("access", accesses(2, "x")).spooled == 2
    other.close()


def test_a_folder_that_cannot_be_used_is_named(bench: Bench) -> None:
    (bench.folder / "spool").write_text("a file")
    with pytest.raises(StoreError, match=r"spool cannot be used: File exists; .*store\.spool"):
        bench.spool.append("access", accesses(1))


def test_beyond_its_limit_the_spool_takes_nothing(bench: Bench) -> None:
    bench.cluster.away = True
    bench.spool.append("access", accesses(100, "a"), {"file": 1})
    limit = bench.spool.bytes * 2 + 100
    bench.spool.close()
    bench.cluster = Cluster.open(bench.folder / "store", clock=bench.clock)
    bench.cluster.away = True
    bench.spool = bench.open(max_bytes=limit)
    bench.spool.append("access", accesses(100, "b"), {"file": 2})
    with pytest.raises(StoreAway, match=r"is full: .* of .* \(`store\.spool_limit`\)"):
        bench.spool.append("access", accesses(100, "c"), {"file": 3})
    assert bench.spool.checkpoint("access", "file") == 2
    assert bench.spool.bytes <= limit
    bench.cluster.away = False
    assert bench.spool.drain() == 200
    assert bench.spool.append("access", accesses(100, "c"), {"file": 3}) == Appended(100, 0)


def _fill_and_go_on(bench: Bench, source: Path, make_room: Callable[[], object]) -> None:
    """Collect into a spool whose disk is full, make room, collect and drain: every event is there once."""
    ingest = Ingest(bench.spool, bench.clock)
    collector = Ndjson(build(Ndjson.params_type(), {"paths": [str(source)]}))
    source.write_text(lines(range(100)))
    assert ingest.run(collector).accepted == 100
    bench.cluster.away, spooled = True, 0
    with source.open("a") as file:
        file.write(lines(range(100, 100_100)))
    for _ in range(3):
        with pytest.raises(StoreAway, match=r"cannot be written: .*; collectors wait, and no event is lost"):
            spooled += ingest.run(collector).spooled
    assert bench.files("*.partial") == []
    assert bench.spool.bytes == sum(p.stat().st_size for p in bench.files())
    make_room()
    ingest.run(collector)
    assert bench.spool.events == 100_000
    bench.cluster.away = False
    assert bench.spool.drain() == 100_000
    ids = bench.cluster.scan("access", columns=[ID]).collect()[ID]
    assert ids.len() == ids.n_unique() == 100_100
    assert bench.files() == []


def test_a_full_disk_makes_collectors_wait(bench: Bench) -> None:
    disk = bench.folder / "spool"
    disk.mkdir()

    def mount(*options: str) -> int:
        return subprocess.run(["mount", "-t", "tmpfs", *options, "tmpfs", disk], check=False).returncode

    if shutil.which("mount") is None or os.getuid() != 0 or mount("-o", "size=256k") != 0:
        missing("a tmpfs cannot be mounted")
    try:
        _fill_and_go_on(bench, bench.folder / "access.ndjson", lambda: mount("-o", "remount,size=64m"))
        bench.spool.close()
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_limit_on_file_sizes_is_as_good_as_a_full_disk(tmp_path: Path) -> None:
    program = """
import resource, sys
from pathlib import Path
from tests.store import test_spooled as t
from tocsin.errors import StoreAway
bench = t.Bench(Path(sys.argv[1]))
bench.cluster.away = True
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
try:
    bench.spool.append("access", t.accesses(5000), {"file": 1})
except StoreAway as error:
    assert "File too large" in str(error), error
else:
    raise SystemExit("it was written")
assert bench.files("*") == [bench.folder / "spool" / "lock"] and bench.spool.bytes == 0
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert bench.spool.append("access", t.accesses(5000), {"file": 1}).spooled == 5000
bench.cluster.away = False
assert bench.spool.drain() == 5000
assert len(set(bench.ids())) == 5000
"""
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.full
def test_kill_9_while_spooling_loses_nothing(tmp_path: Path) -> None:
    """A process prints what it has spooled and is killed. Everything that it printed is in the spool, in order."""
    program = """
import sys
from pathlib import Path
from tests.store import test_spooled as t
bench = t.Bench(Path(sys.argv[1]))
bench.cluster.away = True
number = bench.spool._open_spool().checkpoint("access", "file") or 0
while True:
    bench.spool.append("access", t.accesses(500, f"{number:06d}-"), {"file": number + 1})
    number += 1
    print(number, flush=True)
"""
    confirmed = 0
    for kill in range(6):
        process = subprocess.Popen(
            [sys.executable, "-c", program, tmp_path], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        for _ in range(3 + 5 * kill):
            confirmed = int(process.stdout.readline())
        process.kill()
        confirmed = max([confirmed, *(int(line) for line in process.stdout.read().split("\n")[:-1])])
        process.wait()
        process.stdout.close()
    bench = Bench(tmp_path)
    assert bench.spool.drain() in (confirmed * 500, (confirmed + 1) * 500)
    batches = [id[:6] for id in bench.ids()]
    assert batches == sorted(batches)
    assert len(batches) == len(set(bench.ids())) == (int(batches[-1]) + 1) * 500
    assert bench.cluster.checkpoint("access", "file") == int(batches[-1]) + 1
    bench.spool.close()


# Any order of events


class Outages(RuleBasedStateMachine):
    """Appends, outages, lost answers, kills and drains in any order."""

    streams = st.sampled_from(["access", "inference"])

    @initialize()
    def begin(self) -> None:
        self.bench = Bench(Path(tempfile.mkdtemp()))
        self.written = {"access": 0, "inference": 0}
        self.expected: dict[str, list[str]] = {"access": [], "inference": []}

    @rule(stream=streams, count=st.integers(0, 3))
    def append(self, stream: str, count: int) -> None:
        at = self.written[stream]
        rows = conform(accesses(count, f"{at:04d}-"), stream)
        done = self.bench.spool.append(stream, rows, {"file": at + 1})
        assert done.accepted + done.duplicates + done.spooled == count
        self.written[stream] = at + 1
        self.expected[stream] += rows[ID].to_list()

    @rule()
    def leave(self) -> None:
        self.bench.cluster.away = True

    @rule()
    def back(self) -> None:
        self.bench.cluster.away = False

    @rule()
    def lose_an_answer(self) -> None:
        self.bench.cluster.lost = True

    @rule()
    def time_passes(self) -> None:
        self.bench.cluster.failed = False
        self.bench.clock.advance(LATER)

    @rule()
    def kill(self) -> None:
        self.bench.spool = self.bench.open()  # the old one is gone, as it was

    @rule(after=st.integers(1, 3))
    def kill_while_draining(self, after: int) -> None:
        self.bench.cluster.dies_after = after
        with contextlib.suppress(Killed, StoreAway):
            self.bench.spool.drain()
        self.bench.cluster.dies_after = None
        self.kill()

    @rule()
    def drain(self) -> None:
        try:
            self.bench.spool.drain()
        except StoreAway:
            return
        assert self.bench.files() == []

    @invariant()
    def the_checkpoint_is_the_last_one(self) -> None:
        for stream, number in self.written.items():
            try:
                assert self.bench.spool.checkpoint(stream, "file") == (number or None)
            except StoreAway:
                assert self.bench.files(f"*-{stream}.arrow") == []
                assert self.bench.cluster.failed, "it is away, or was until just now"

    def teardown(self) -> None:
        self.bench.cluster.away = self.bench.cluster.lost = False
        self.bench.spool.drain()
        for stream, number in self.written.items():
            assert self.bench.ids(stream) == self.expected[stream]
            assert self.bench.cluster.checkpoint(stream, "file") == (number or None)
        assert self.bench.files() == []
        self.bench.spool.close()
        shutil.rmtree(self.bench.folder)


Outages.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestOutages = Outages.TestCase


# Sizes


@pytest.mark.parametrize(
    ("text", "size"), [("0B", 0), ("12B", 12), ("3KiB", 3072), ("512MiB", 512 << 20), ("4GiB", 4 << 30)]
)
def test_sizes_are_read_and_said(text: str, size: int) -> None:
    assert parse_size(text) == size
    assert format_size(size) == text


@pytest.mark.parametrize("text", ["", "4", "4 GiB", "4GB", "-1GiB", "1.5GiB", "٤GiB", "4gib"])
def test_what_is_no_size_is_said(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size; write one like 512MiB or 4GiB"):
        parse_size(text)
