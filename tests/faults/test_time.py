"""Late and shuffled events, and a clock that is set back: the same findings as of an undisturbed run, on both stores."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.faults.scenario import HOUR, START, Calls, slow_calls, take, undisturbed, verdicts
from tocsin.clock import ScriptedClock
from tocsin.contract.streams import ID
from tocsin.pipeline.detecting.coverage import coverage
from tocsin.pipeline.detecting.detect import Detect
from tocsin.store.cluster.elastic import ElasticStore
from tocsin.store.embedded.delta import DeltaStore
from tocsin.store.protocol import Store

pytestmark = pytest.mark.full

Open = Callable[[ScriptedClock], Store]
DAYS, LATE = 6, timedelta(days=3)


class SteppedClock(ScriptedClock):
    """A clock that is set back while time continues."""

    def __init__(self, now: datetime) -> None:
        super().__init__(now)
        self.back = timedelta(0)

    def now(self) -> datetime:
        return super().now() - self.back

    def monotonic(self) -> float:
        return super().now().timestamp()


@pytest.fixture(params=["delta", "elasticsearch"])
def opened(request: pytest.FixtureRequest, tmp_path: Path, namespace: str) -> Iterator[Open]:
    """Opens the store, with a clock: `opened(clock)`."""
    stores: list[Store] = []
    url = request.getfixturevalue("elasticsearch_url") if request.param == "elasticsearch" else ""

    def open_store(clock: ScriptedClock) -> Store:
        store: Store = (
            ElasticStore.open(url, namespace, clock, replicas=0)
            if url
            else DeltaStore.open(tmp_path / "store", clock=clock)
        )
        stores.append(store)
        return store

    yield open_store
    for store in stores:
        store.close()


def check(store: Store, clock: ScriptedClock, folder: Path, calls: Calls, hours: int) -> None:
    ids = store.scan("inference", columns=[ID]).collect()[ID]
    assert ids.len() == ids.n_unique() == len(calls.events)
    assert verdicts(store) == undisturbed(folder, calls.events)
    setting = slow_calls(folder)
    spans = coverage(store, clock, Detect(store, clock).ledger, setting, START, START + hours * HOUR)
    assert {s.outcome for s in spans} <= {"evaluated", "late", "filled"}


@pytest.mark.parametrize("seed", [1, 2])
def test_a_third_comes_up_to_three_days_late_and_shuffled(opened: Open, tmp_path: Path, seed: int) -> None:
    rng, calls, clock = random.Random(seed), Calls(seed), ScriptedClock(START)
    store = opened(clock)
    detect, setting = Detect(store, clock), slow_calls(tmp_path)
    hours = DAYS * 24
    arriving: dict[int, list[dict[str, Any]]] = {}
    for hour in range(hours):
        for event in calls.hour(hour, 20):
            delay = rng.uniform(0, LATE / HOUR) if rng.random() < 0.3 else 0
            arriving.setdefault(int(hour + delay), []).append(event)
    late = 0
    for number in range(0, max(arriving) + 1, 6):
        batch = [e for h in range(number, number + 6) for e in arriving.get(h, [])]
        rng.shuffle(batch)
        clock.set(START + (number + 6) * HOUR)
        take(store, clock, batch, number)
        late += sum(run.outcome == "late" for run in detect.run([setting]))
    assert late > hours
    check(store, clock, tmp_path, calls, hours)
    assert detect.run([setting]) == []


@pytest.mark.parametrize("restart", [False, True], ids=["same process", "new process"])
def test_the_clock_steps_back(opened: Open, tmp_path: Path, restart: bool) -> None:
    calls, clock = Calls(3), SteppedClock(START)
    store, setting = opened(clock), slow_calls(tmp_path)
    detect = Detect(store, clock)
    for hour in range(12):
        clock.set(START + (hour + 1) * HOUR)
        if hour == 4:
            clock.back = 2 * HOUR
            if restart:
                store = opened(clock)
                detect = Detect(store, clock)
        if hour == 10:
            clock.back = timedelta(0)  # the clock is corrected
        take(store, clock, calls.hour(hour), hour)
        take(store, clock, calls.hour(max(hour - 3, 0), 10, f"late{hour}-"), hour)
        detect.run([setting])
    stamps = store.scan("inference", columns=["event.ingested"]).collect().to_series()
    assert stamps.n_unique() == 24, "an append has a stamp of its own"
    clock.advance(HOUR)
    detect.run([setting])
    check(store, clock, tmp_path, calls, 12)
    runs = store.scan("run").collect().filter(pl.col("event.action") == "failed")
    assert runs.is_empty()
