"""Nodes that are killed while events come in and windows are evaluated: the same findings as of an undisturbed run."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.faults.scenario import HOUR, START, Calls, slow_calls, take, undisturbed, verdicts
from tests.nodes.cluster import Cluster
from tests.nodes.node import Node
from tocsin.clock import ScriptedClock
from tocsin.contract.findings import Score
from tocsin.contract.streams import ID
from tocsin.contract.windows import Window
from tocsin.errors import StoreError
from tocsin.pipeline.detecting.coverage import coverage
from tocsin.pipeline.detecting.detect import Detect
from tocsin.pipeline.detecting.settings import Setting
from tocsin.pipeline.ingesting.dead_letters import refused_dead_letters
from tocsin.pipeline.ingesting.protect import Protector
from tocsin.store.cluster.elastic import ElasticStore
from tocsin.store.protocol import Store
from tocsin.store.spool.spooled import SpooledStore

HOURS = 12


class Meddled:
    """A detector that calls a function in the middle of its evaluation."""

    def __init__(self, setting: Setting) -> None:
        self.setting, self.then = setting, None
        score = setting.detector.score

        def meddled(window: Window) -> Iterator[Score]:
            scores = list(score(window))
            then: Callable[[], None] | None = self.then
            self.then = None
            if then is not None:
                then()
            yield from scores

        setting.detector.score = meddled  # type: ignore[method-assign]

    then: Callable[[], None] | None


def settle(what: Callable[[], object], rounds: int = 20) -> int:
    """Retry a call until it succeeds, as a worker's jobs do. Returns the number of failures."""
    for failed in range(rounds):
        with contextlib.suppress(StoreError):
            what()
            return failed
    pytest.fail(f"it never worked in {rounds} rounds")


def check(store: Store, clock: ScriptedClock, folder: Path, calls: Calls, setting: Setting) -> None:
    ids = store.scan("inference", columns=[ID]).collect()[ID]
    assert ids.len() == ids.n_unique() == len(calls.events)
    assert verdicts(store) == undisturbed(folder, calls.events)
    spans = coverage(store, clock, Detect(store, clock).ledger, setting, START, START + HOURS * HOUR)
    assert {s.outcome for s in spans} <= {"evaluated", "late", "filled"}


def test_one_of_three_is_killed_while_ingesting_and_detecting(
    elasticsearch_cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    cluster, calls, clock = elasticsearch_cluster, Calls(5), ScriptedClock(START)
    cluster.await_status()
    store = ElasticStore.open(cluster.urls, namespace, clock)
    meddled = Meddled(slow_calls(tmp_path))
    detect = Detect(store, clock)
    for hour in range(HOURS):
        clock.set(START + (hour + 1) * HOUR)
        if hour == 7:
            cluster.await_status()
        if hour in {3, 7}:  # in the middle of an evaluation: the master, then who holds the calls
            victim = cluster.master() if hour == 3 else cluster.primary(_index(store))
            meddled.then = functools.partial(cluster.kill, victim)
        if hour in {5, 9}:
            cluster.start(victim)
        settle(functools.partial(take, store, clock, calls.hour(hour, 200), hour))
        settle(functools.partial(detect.run, [meddled.setting]))
    check(store, clock, tmp_path, calls, meddled.setting)
    store.close()


def _index(store: ElasticStore) -> str:
    return max(store._client.indices.get(index=f"logs-tocsin.inference-{store.namespace}").body)


def test_the_only_node_is_killed_and_the_spool_fills_in(node: Node, tmp_path: Path) -> None:
    calls, clock = Calls(6), ScriptedClock(START)
    store = ElasticStore.open(node.url, "spooled", clock, replicas=0, patience=timedelta(seconds=2))
    letters = functools.partial(refused_dead_letters, protector=Protector(), now=clock.now())
    spool = SpooledStore(store, tmp_path / "spool", clock, letters)
    meddled = Meddled(slow_calls(tmp_path))
    detect, away = Detect(store, clock), range(5, 9)
    for hour in range(HOURS):
        clock.set(START + (hour + 1) * HOUR)
        if hour == away[0]:
            meddled.then = node.kill
        take(spool, clock, calls.hour(hour, 500), hour)  # type: ignore[arg-type]
        if hour in away:
            with pytest.raises(StoreError):
                detect.run([meddled.setting])
        if hour == away[-1]:
            assert spool.events == 3 * 500  # of the hours after it was killed
            node.start()
        elif hour not in away:
            settle(functools.partial(detect.run, [meddled.setting]))
    spool.drain()
    settle(functools.partial(detect.run, [meddled.setting]))
    check(store, clock, tmp_path, calls, meddled.setting)
    spool.close()
