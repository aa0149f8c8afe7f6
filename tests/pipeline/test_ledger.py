"""Several workers: claims, leases, fencing tokens, and a worker that resumes too late."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pipeline.test_detect import HOUR, START, Bench, Count, bench
from tests.stores import open_store
from tocsin.clock import ScriptedClock, format_time
from tocsin.contract.findings import Score, Subject
from tocsin.contract.plugin import NoParams, Requires
from tocsin.contract.windows import Window, aggregate
from tocsin.errors import StoreAway, StoreError
from tocsin.pipeline.detecting import leases
from tocsin.pipeline.detecting.detect import Detect, Setting
from tocsin.pipeline.detecting.leases import LENGTH, Expiry, LeaseLost, Leases, gone, worker_name
from tocsin.pipeline.detecting.records import newest_findings

__all__ = ["bench"]
SETTING = Setting(Count(NoParams()))


class Skewed(ScriptedClock):
    """A clock that is wrong by some time."""

    def __init__(self, clock: ScriptedClock, wrong: timedelta) -> None:
        super().__init__(clock.now())
        self.right, self.wrong = clock, wrong

    def now(self) -> datetime:
        return self.right.now() + self.wrong

    def monotonic(self) -> float:
        return self.right.monotonic()


def test_a_claimed_window_is_nobody_elses_until_its_lease_is_over(bench: Bench) -> None:
    for hour in range(3):
        bench.add(hour, 12)
    bench.clock.set(START + 3 * HOUR)
    one, two = Detect(bench.store, bench.clock), Detect(bench.store, bench.clock)
    assert len(one.due(SETTING)) == 3
    claims = one.ledger.claim(SETTING, 2)
    assert [c.start for c in claims] == [START, START + HOUR]
    assert [r.start for r in two.run([SETTING])] == [START + 2 * HOUR]
    assert two.run([SETTING]) == []
    bench.clock.advance(LENGTH)
    assert [r.start for r in two.run([SETTING])] == [START, START + HOUR]
    later = two.ledger.claim_named(SETTING, [START])
    assert later[0].fence > claims[0].fence


@pytest.mark.parametrize("wrong", [timedelta(hours=-3), timedelta(hours=3)])
def test_a_dead_workers_claim_ends_where_clocks_disagree(bench: Bench, wrong: timedelta) -> None:
    bench.add(0, 12)
    bench.clock.set(START + 24 * HOUR)
    dead = Detect(bench.store, Skewed(bench.clock, wrong))
    dead.due(SETTING)
    assert len(dead.ledger.claim(SETTING, 1)) == 1
    other = Detect(bench.store, bench.clock)
    first = other.run([SETTING])
    bench.clock.advance(LENGTH)
    assert [r.start for r in (*first, *other.run([SETTING])) if r.done] == [START]


def test_a_paused_worker_that_wakes_up_does_not_write_over_its_successor(bench: Bench) -> None:
    bench.add(0, 12)
    bench.clock.set(START + HOUR)
    successor = Detect(bench.store, bench.clock)

    class Paused(Count):
        """Its process is suspended past its lease after it has read its window."""

        def score(self, window: Window) -> Iterator[Score]:
            scores = list(super().score(window))
            bench.clock.advance(LENGTH + timedelta(seconds=1))
            bench.add(0, 30, prefix="late-")
            assert [r.done for r in successor.run([SETTING])] == [True]
            yield from scores

    assert len(bench.detect.run([Setting(Paused(NoParams()))])) == 1
    assert newest_findings(bench.store)["tocsin.score"].to_list() == [42.0]
    assert bench.stream("run").height == 1
    assert successor.run([SETTING]) == []


def test_what_it_had_begun_to_write_counts_less(bench: Bench) -> None:
    """It lost its lease between the check and the write: its rows are ingested last but do not count as the newest."""
    bench.add(0, 12)
    bench.clock.set(START + HOUR)
    slow, successor = bench.detect, Detect(bench.store, bench.clock)
    slow.ledger.held = lambda claim: True  # type: ignore[method-assign]  # it checked just before

    class Paused(Count):
        def score(self, window: Window) -> Iterator[Score]:
            scores = list(super().score(window))
            if not pauses:
                pauses.append(True)
                bench.clock.advance(LENGTH + timedelta(seconds=1))
                bench.add(0, 30, prefix="late-")
                successor.run([SETTING])
            yield from scores

    pauses: list[bool] = []
    runs = slow.run([Setting(Paused(NoParams()))])
    assert len(runs) == 2  # re-evaluated, so that late rows are superseded
    findings = bench.stream("finding").sort("event.ingested")
    assert findings["tocsin.score"].to_list() == [42.0, 12.0]
    assert newest_findings(bench.store)["tocsin.score"].to_list() == [42.0]
    assert successor.due(SETTING) == []


def test_what_came_late_is_taken_back_where_the_successor_found_nothing(bench: Bench) -> None:
    bench.add(0, 12)
    bench.clock.set(START + HOUR)
    slow, successor = bench.detect, Detect(bench.store, bench.clock)
    slow.ledger.held = lambda claim: True  # type: ignore[method-assign]  # it checked just before

    class Shy(Count):
        """Silent as soon as bob is there."""

        def score(self, window: Window) -> Iterator[Score]:
            users = window.summary("access", ["user.id"])["user.id"].to_list()
            if "bob" not in users:
                yield Score(Subject("principal", "ana"), 12.0, "without bob")

    class Paused(Shy):
        def score(self, window: Window) -> Iterator[Score]:
            scores = list(super().score(window))
            if not pauses:
                pauses.append(True)
                bench.clock.advance(LENGTH + timedelta(seconds=1))
                bench.add(0, 1, "bob")
                successor.run([Setting(Shy(NoParams()))])
            yield from scores

    pauses: list[bool] = []
    slow.run([Setting(Paused(NoParams()))])
    assert bench.stream("finding")["event.action"].sort().to_list() == ["found", "withdrawn"]
    assert newest_findings(bench.store).is_empty()


def test_a_silent_backfill_leaves_the_window_to_the_worker(bench: Bench) -> None:
    bench.add(0, 12)
    bench.clock.set(START + HOUR)
    bench.detect.due(SETTING)
    assert bench.detect.run([SETTING], START, START + HOUR, silent=True)[0].silent
    assert [run.done for run in bench.detect.run([SETTING])] == [True]
    assert bench.stream("finding").sort("event.ingested")["tocsin.run.silent"].to_list() == [True, None]
    assert bench.detect.run([SETTING]) == []


def test_a_window_that_is_looked_at_early_is_looked_at_again(bench: Bench) -> None:
    bench.add(0, 12)
    bench.clock.set(START + HOUR / 2)
    bench.detect.due(SETTING)
    assert len(bench.detect.run([SETTING], START, START + HOUR)) == 1
    bench.clock.set(START + HOUR)
    assert [run.outcome for run in bench.detect.run([SETTING])] == ["late"]


def test_a_store_that_refuses_one_detector_stops_no_other(bench: Bench) -> None:
    class Unlucky(Count):
        id = "abad"

        def score(self, window: Window) -> Iterator[Score]:
            raise StoreError("it keeps no such file")
            yield

    bench.add(0, 12)
    bench.clock.set(START + HOUR)
    runs = bench.detect.run([Setting(Unlucky(NoParams())), SETTING])
    assert [(run.detector, run.outcome, run.fault) for run in runs] == [
        ("abad", "failed", "store"),
        ("count", "evaluated", ""),
    ]


def test_events_that_are_no_longer_kept_take_nothing_back(bench: Bench) -> None:
    """Retention deleted the window's rows; one late event must not withdraw the findings."""
    bench.add(0, 12)
    bench.clock.set(START + HOUR)
    bench.run()
    rows = bench.store.scan

    def forgetful(stream: str, *how: object, **more: object) -> pl.LazyFrame:
        found = rows(stream, *how, **more)  # type: ignore[arg-type]
        return (
            found.filter(pl.col("@timestamp") >= START + timedelta(seconds=11))
            if stream == "access"
            else found
        )

    bench.store.scan = forgetful  # type: ignore[method-assign]
    bench.store.summarize = lambda s, a, b, by, m, where=(): aggregate(  # type: ignore[method-assign,assignment]
        bench.store.scan(s, a, b, where=where), by, m
    )
    bench.add(0, 1, "eve", at=timedelta(minutes=30))
    (run,) = bench.detect.run([SETTING])
    assert run.outcome == "skipped"
    assert run.reason == "10 of the 12 events that were evaluated before have been deleted"
    assert newest_findings(bench.store).height == 1


def test_a_worker_with_another_length_takes_no_window_of_this_one(bench: Bench) -> None:
    bench.add(0, 3)
    bench.add(1, 12)
    bench.clock.set(START + 24 * HOUR)
    daily = Count(NoParams())
    daily.configure("count", Requires("access", window="1d"), None)
    new, old = Setting(daily), SETTING
    assert bench.detect.due(new) == [START]
    other = Detect(bench.store, bench.clock)
    assert other.ledger.claim(old, 16) == []
    assert [(run.end - run.start, run.rows) for run in bench.detect.run([new])] == [(24 * HOUR, 15)]


def test_a_named_lease_goes_round(bench: Bench) -> None:
    one, two = (Leases(bench.store, bench.clock, worker_name(name)) for name in ("one", "two"))
    held = one.acquire("collector/a")
    assert held is not None
    assert two.acquire("collector/a") is None
    bench.clock.advance(LENGTH / 2)
    one.renew(held)
    bench.clock.advance(LENGTH / 2)
    assert two.acquire("collector/a") is None
    bench.clock.advance(LENGTH)
    taken = two.acquire("collector/a")
    assert taken is not None
    assert taken.fence > held.fence
    with pytest.raises(LeaseLost, match="another worker took over the lease"):
        one.renew(held)
    one.release(held)  # does not affect the current holder
    assert one.acquire("collector/a") is None
    two.release(taken)
    assert one.acquire("collector/a") is not None


@settings(max_examples=15, deadline=None)
@given(turns=st.lists(st.sampled_from(["one", "two", "wait", "die"]), max_size=12))
def test_every_window_is_evaluated_whoever_dies(
    tmp_path_factory: pytest.TempPathFactory, turns: list[str]
) -> None:
    clock = ScriptedClock(START)
    bench = Bench(clock, open_store(tmp_path_factory.mktemp("ledger"), clock))
    for hour in range(4):
        bench.add(hour, 12)
    clock.set(START + 4 * HOUR)
    workers = {name: Detect(bench.store, clock) for name in ("one", "two")}
    for turn in turns:
        if turn == "wait":
            clock.advance(LENGTH / 2)
        elif turn == "die":  # between a claim and its evaluation
            dying = Detect(bench.store, clock)
            dying.due(SETTING)
            dying.ledger.claim(SETTING, 1)
        else:
            workers[turn].run([SETTING])
    clock.advance(LENGTH)
    workers["one"].run([SETTING])
    runs = bench.stream("run").filter(pl.col("event.action") == "evaluated")
    assert sorted(runs["tocsin.window.start"].to_list()) == [START + h * HOUR for h in range(4)]
    assert newest_findings(bench.store).height == 4
    bench.store.close()


def test_a_backfill_pages_nobody_unless_told_to(bench: Bench, tmp_path: Path) -> None:
    bench.add(0, 12)
    bench.clock.set(START + HOUR)
    runs = bench.detect.run([SETTING], START, START + HOUR, silent=True)
    assert [r.outcome for r in runs] == ["filled"]
    assert bench.stream("finding")["tocsin.run.silent"].to_list() == [True]
    runs = bench.detect.run([SETTING], START, START + HOUR)
    assert bench.stream("finding").sort("event.ingested")["tocsin.run.silent"].to_list() == [True, None]


def test_a_worker_is_gone_with_its_process_where_that_can_be_known() -> None:
    assert not gone(worker_name())
    host, _, word = worker_name().rsplit(":", 2)
    ended = subprocess.Popen(["true"])
    ended.wait()
    assert gone(f"{host}:{ended.pid}:{word}")
    assert not gone(f"{host}:{ended.pid}:{'0' * 16}")  # of another machine or container
    assert not gone(f"{host}:1:{word}")


@pytest.mark.parametrize(("minutes", "starts"), [(30, [0, 30, 60, 90]), (240, [0])])
def test_pending_windows_follow_a_length_that_is_changed(
    bench: Bench, minutes: int, starts: list[int]
) -> None:
    bench.add(0, 12)
    bench.add(1, 12)
    bench.clock.set(START + 4 * HOUR)
    assert len(bench.detect.due(SETTING)) == 2
    detector = Count(NoParams())
    detector.configure("count", Requires("access", window=f"{minutes}m"), None)
    runs = [run for run in bench.detect.run([Setting(detector)]) if run.done]
    assert [(run.start - START) // timedelta(minutes=1) for run in runs] == starts
    assert bench.detect.run([Setting(detector)]) == []


def test_claims_are_dropped_if_another_worker_has_another_window_length(bench: Bench) -> None:
    bench.add(0, 3)
    bench.clock.set(START + 3 * HOUR)
    one, two = Detect(bench.store, bench.clock), Detect(bench.store, bench.clock)
    one.due(SETTING)
    (claim,) = one.ledger.claim(SETTING, 16)
    other = Count(NoParams())
    other.configure("count", Requires("access", window="30m"), None)
    two.due(Setting(other))
    bench.clock.advance(LENGTH / 2)
    one.ledger.renew([claim])
    assert not one.ledger.held(claim)


def test_a_store_that_is_away_for_a_renewal_costs_no_claim(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.add(0, 3)
    bench.clock.set(START + HOUR)
    bench.detect.due(SETTING)
    (claim,) = bench.detect.ledger.claim(SETTING, 1)
    bench.clock.advance(LENGTH / 2)

    def away(*_: object) -> None:
        raise StoreAway("too busy")

    with monkeypatch.context() as patched:
        patched.setattr(bench.store, "get", away)
        with pytest.raises(StoreAway):
            bench.detect.ledger.renew([claim])
    assert bench.detect.ledger.held(claim)
    bench.detect.ledger.renew([claim])
    bench.clock.advance(LENGTH * 0.9)
    assert Detect(bench.store, bench.clock).ledger.claim(SETTING, 1) == []


def test_a_dead_worker_is_found_out_among_very_many_claims(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "_WATCHED", 5)
    clock = ScriptedClock(START)
    expiry = Expiry(clock)
    later = format_time(START + 24 * HOUR)  # by a clock that is ahead
    for n in range(40):
        over = expiry.over("dead", "host:1:x", later)
        assert over == (n * timedelta(seconds=10) >= LENGTH)
        for other in range(3):
            expiry.over(f"window {n} {other}", "host:2:y", later)
        clock.advance(timedelta(seconds=10))
