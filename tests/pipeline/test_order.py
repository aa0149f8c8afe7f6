"""Windows of now before windows of the past: whoever sends old events does not delay the judgement of new ones."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pipeline.test_detect import START, Bench, Count, Learned
from tests.stores import open_store
from tocsin.clock import ScriptedClock, format_time
from tocsin.contract.frames import conform
from tocsin.contract.plugin import NoParams, Requires
from tocsin.contract.streams import ID, TIME
from tocsin.pipeline.detecting.detect import Detect, Setting
from tocsin.pipeline.detecting.pending import first
from tocsin.pipeline.detecting.records import Run

DAY = timedelta(days=1)
LIMIT = 16


class Daily(Count):
    id, requires = "daily", Requires("access", window="1d")


RULE, LEARNED = Setting(Daily(NoParams())), Setting(Learned(NoParams()))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    clock = ScriptedClock(START)
    made = Bench(clock, open_store(tmp_path, clock))
    yield made
    made.store.close()


def _send(bench: Bench, days: list[int], word: str = "") -> None:
    """One event on each of some days before START."""
    rows = {
        TIME: [START - day * DAY + timedelta(hours=1) for day in days],
        ID: [f"{word}{day}" for day in days],
        "user.id": ["ana"] * len(days),
    }
    bench.store.append("access", conform(pl.DataFrame(rows), "access"))


def _order(runs: list[Run]) -> list[int]:
    return [(START - run.start) // DAY for run in runs if run.outcome != "gap"]


def test_today_is_judged_before_many_days_of_the_past(bench: Bench) -> None:
    _send(bench, [*range(2, 201), 1])
    order = _order(bench.detect.run([RULE]))
    assert order[0] == 1
    assert sorted(order) == list(range(1, 201))
    assert bench.detect.run([RULE]) == []


def test_a_worker_that_is_at_work_keeps_up_while_the_past_is_evaluated(bench: Bench) -> None:
    """New windows come in the middle of the backfill: none waits for its end, and the backfill goes on."""
    _send(bench, list(range(2, 400)))
    bench.detect.ledger.update_pending([RULE])
    for day in range(3):
        bench.clock.set(START + (day + 1) * DAY)
        _send(bench, [-day], "new")
        bench.detect.ledger.update_pending([RULE])
        claims = bench.detect.ledger.claim(RULE, LIMIT)
        assert claims[0].start == START + day * DAY
        assert len(claims) == LIMIT
        assert sum(claim.start < START - 2 * DAY for claim in claims) >= LIMIT // 4
        bench.detect.ledger.forget(claims)


def test_two_workers_share_the_windows(bench: Bench) -> None:
    _send(bench, list(range(1, 100)))
    other = Detect(bench.store, bench.clock)
    bench.detect.ledger.update_pending([RULE])
    held = bench.detect.ledger.claim(RULE, LIMIT)
    runs = other.run([RULE])
    assert {c.start for c in held}.isdisjoint(run.start for run in runs)
    assert len(held) + len([r for r in runs if r.done]) == 99


def test_an_import_is_evaluated_in_the_order_of_time(bench: Bench) -> None:
    """A baseline excludes windows with findings, so the windows before it must have been evaluated."""
    hours = [START - timedelta(hours=n) for n in range(1, 120)]
    due = sorted(hours)
    assert first(LEARNED, due, {}, START, LIMIT) == due[:LIMIT]


@given(
    past=st.sets(st.integers(400, 6_000), max_size=400),
    recent=st.sets(st.integers(1, 10), max_size=10),
    reached=st.none() | st.integers(1, 5_000),
    limit=st.integers(2, 32),
)
def test_neither_now_nor_the_past_waits_for_the_other(
    past: set[int], recent: set[int], reached: int | None, limit: int
) -> None:
    """For any windows: within each claim, a share for both while both are due; and every window is claimed at last."""
    days = {START - day * DAY for day in past | recent}
    left, turns = set[datetime](days), 0
    record = {"reached": format_time(START - reached * DAY)} if reached else {}
    daily = Setting(Learned(NoParams()))
    daily.detector.configure("learned", Requires("access", window="1d", baseline="28d"), None)
    while left:
        chosen = first(daily, sorted(left), record, START, limit)
        assert 0 < len(chosen) <= limit
        assert len(set(chosen)) == len(chosen)
        assert set(chosen) <= left
        now = {START - day * DAY for day in recent} & left
        if len(left) > limit and (reached is None or reached > 10):
            assert len(now & set(chosen)) >= min(len(now), limit - -(-limit // 4))
            assert len(set(chosen) - now) >= min(len(left - now), -(-limit // 4))
        left -= set(chosen)
        turns += 1
    assert turns <= len(days) // limit + len(recent) + 2
