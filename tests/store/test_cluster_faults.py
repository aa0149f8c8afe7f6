"""kill -9 of a node of three, between and during requests: the same store goes on, nothing is lost or doubled."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.nodes.cluster import Cluster
from tests.store.conformance import accesses
from tocsin.store.elastic import ElasticStore
from tocsin.store.elastic_append import Way
from tocsin.store.protocol import Appended
from tocsin.streams import ID

BATCHES = 6
ROWS = 12_000  # of a batch: several bulk requests at once
AGAIN = 500  # rows of the batch before that come once more
SOURCE = "log"


class Killer:
    """Counts bulk requests and kills one node, once, before or after the request whose number was drawn."""

    def __init__(self, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
        self._cluster, self._post, self._lock = cluster, Way.post, threading.Lock()
        self.victim, self.countdown, self.after = -1, -1, False
        monkeypatch.setattr(Way, "post", lambda way, body: self.post(way, body))

    def arm(self, victim: int, countdown: int, *, after: bool) -> None:
        self.victim, self.countdown, self.after = victim, countdown, after

    def post(self, way: Way, body: bytes) -> bytes:
        with self._lock:
            due = self.countdown == 0
            self.countdown -= 1
        if due and not self.after:
            self._cluster.kill(self.victim)
        answer = self._post(way, body)
        if due and self.after:  # the other connections have requests on their way
            self._cluster.kill(self.victim)
        return answer


@pytest.fixture
def cluster(elasticsearch_cluster: Cluster) -> Cluster:
    elasticsearch_cluster.await_status()
    return elasticsearch_cluster


@pytest.fixture
def store(cluster: Cluster, namespace: str) -> Iterator[ElasticStore]:
    found = ElasticStore.open(cluster.urls, namespace)
    yield found
    found.close()


def batch(number: int):
    return accesses(ROWS, prefix=f"{number}-")


def append(store: ElasticStore, number: int) -> Appended:
    """A batch, with the last rows of the one before, as a source gives them after a restart."""
    rows = batch(number)
    if number:
        rows = batch(number - 1).tail(AGAIN).vstack(rows)
    return store.append("access", rows, {SOURCE: number})


@pytest.mark.parametrize("role", ["primary", "master"])
@pytest.mark.parametrize("moment", ["between", "before a request", "after a request"])
def test_events_are_there_once_whoever_is_killed(
    cluster: Cluster,
    store: ElasticStore,
    namespace: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    role: str,
    moment: str,
) -> None:
    rng = random.Random(f"{role} {moment}")
    killer = Killer(cluster, monkeypatch)
    store.keep("model", lambda path: Path(path).write_bytes(rng.randbytes(100_000)) and None)
    with store.kept("model") as path:
        model = Path(path).read_bytes()
    done = [append(store, 0)]
    cluster.await_status()
    victim = cluster.primary(f"logs-tocsin.access-{namespace}") if role == "primary" else cluster.master()
    fatal = rng.randrange(1, BATCHES - 2)
    for number in range(1, BATCHES):
        if number == fatal and moment == "between":
            cluster.kill(victim)
        elif number == fatal:
            killer.arm(victim, rng.randrange(3), after=moment == "after a request")
        done.append(append(store, number))
        if number == fatal:
            assert cluster.nodes[victim].process is None
            with store.kept("model") as path:
                assert Path(path).read_bytes() == model
        if number == fatal + 1:
            cluster.start(victim)
    cluster.await_status()
    assert [refused for one in done for refused in one.refused] == []
    assert sum(one.accepted + one.duplicates for one in done) == BATCHES * ROWS + (BATCHES - 1) * AGAIN
    assert store.checkpoint("access", SOURCE) == BATCHES - 1
    found = store.scan("access", columns=[ID]).collect()[ID]
    assert Counter(found) == Counter(f"{number}-{i}" for number in range(BATCHES) for i in range(ROWS))


def test_no_version_is_granted_twice(cluster: Cluster, store: ElasticStore, namespace: str) -> None:
    """Two workers count up one record by compare-and-set while the node of its primary is killed."""
    other = ElasticStore.open(cluster.urls, namespace)
    cluster.await_status()
    assert store.put("count", "it", {"number": 0}) is not None
    enough = threading.Event()

    def count(worker: ElasticStore) -> list[tuple[int, int, int]]:
        granted = []
        while not enough.is_set():
            entry = worker.get("count", "it")
            assert entry is not None
            number = entry.value["number"] + 1
            after = worker.put("count", "it", {"number": number}, entry.version)
            if after is not None:
                assert after.version > entry.version
                granted.append((entry.version, after.version, number))
        return granted

    victim = cluster.primary(f"tocsin-state-{namespace}")
    timers = [threading.Timer(0.7, cluster.kill, [victim]), threading.Timer(3, enough.set)]
    with ThreadPoolExecutor(2) as pool:
        counting = [pool.submit(count, worker) for worker in (store, other)]
        for timer in timers:
            timer.start()
        granted = sorted(grant for one in counting for grant in one.result())
    other.close()
    cluster.start(victim)
    cluster.await_status()
    entry = store.get("count", "it")
    assert entry is not None
    print(len(granted), entry.value)
    assert [number for *_, number in granted] == list(range(1, entry.value["number"] + 1))
    assert [before for before, *_ in granted[1:]] == [after for _, after, _ in granted[:-1]]
    assert granted[-1][1] == entry.version
    assert entry.version >> 40 > granted[0][0] >> 40  # another primary
