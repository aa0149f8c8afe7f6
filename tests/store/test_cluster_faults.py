"""kill -9 of one of three nodes, between and during requests: the store continues, and no event is lost or doubled."""

from __future__ import annotations

import itertools
import random
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import elastic_transport
import polars as pl
import pytest

from tests.nodes.cluster import Cluster
from tests.store.conformance import accesses
from tocsin.contract.streams import ID
from tocsin.store.cluster import bulk
from tocsin.store.cluster.append import StreamWriter
from tocsin.store.cluster.elastic import ElasticStore
from tocsin.store.protocol import Appended

BATCHES = 4
ROWS = 3_000  # of a batch
SIZE = 64 * 1024  # bytes of a bulk request: a batch is about ten
AGAIN = 200  # rows of the batch before that come once more
SOURCE = "log"


class Killer:
    """Counts bulk requests, and kills one node once, before or after a randomly chosen request."""

    def __init__(self, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
        self._cluster, self._post, self._lock = cluster, StreamWriter.post, threading.Lock()
        self.victim, self.countdown, self.after = -1, -1, False
        monkeypatch.setattr(bulk, "SIZE", SIZE)

        def post(way: StreamWriter, body: bytes) -> bytes:
            return self.post(way, body)

        monkeypatch.setattr(StreamWriter, "post", post)

    def arm(self, victim: int, countdown: int, *, after: bool) -> None:
        self.victim, self.countdown, self.after = victim, countdown, after

    def post(self, way: StreamWriter, body: bytes) -> bytes:
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


def batch(number: int) -> pl.DataFrame:
    return accesses(ROWS, prefix=f"{number}-")


def write(path: str, content: bytes) -> None:
    Path(path).write_bytes(content)


def append(store: ElasticStore, number: int) -> Appended:
    """Append a batch and the last rows of the batch before it, as after a restart of a source."""
    rows = batch(number)
    if number:
        rows = batch(number - 1).tail(AGAIN).vstack(rows)
    return store.append("access", rows, {SOURCE: number})


@pytest.mark.parametrize(
    ("role", "moment"),
    [("primary", "between"), ("primary", "after a request"), ("master", "before a request")],
)
def test_events_are_there_once_whoever_is_killed(
    cluster: Cluster,
    store: ElasticStore,
    namespace: str,
    monkeypatch: pytest.MonkeyPatch,
    role: str,
    moment: str,
) -> None:
    rng, killer = random.Random(f"{role}, {moment}"), Killer(cluster, monkeypatch)
    model = rng.randbytes(100_000)
    store.save_file("model", lambda path: write(path, model))
    done = [append(store, 0)]
    cluster.await_status()
    victim = cluster.primary(f"logs-tocsin.access-{namespace}") if role == "primary" else cluster.master()
    fatal = rng.randrange(1, BATCHES - 1)
    for number in range(1, BATCHES):
        if number == fatal and moment == "between":
            cluster.kill(victim)
        elif number == fatal:
            killer.arm(victim, rng.randrange(5), after=moment == "after a request")
        done.append(append(store, number))
        if number == fatal:
            assert cluster.nodes[victim].process is None
            with store.file_path("model") as path:
                assert Path(path).read_bytes() == model
            cluster.start(victim)
    cluster.await_status()
    assert [refused for one in done for refused in one.refused] == []
    assert sum(one.accepted + one.duplicates for one in done) == BATCHES * ROWS + (BATCHES - 1) * AGAIN
    assert store.checkpoint("access", SOURCE) == BATCHES - 1
    found = store.scan("access", columns=[ID]).collect()[ID]
    assert Counter(found) == Counter(f"{number}-{i}" for number in range(BATCHES) for i in range(ROWS))
    with store.file_path("model") as path:
        assert Path(path).read_bytes() == model


class Grant(NamedTuple):
    """A compare-and-set that was granted: the version it expected, the one it made, and what it wrote."""

    before: int
    after: int
    number: int


def test_no_version_is_granted_twice(cluster: Cluster, store: ElasticStore, namespace: str) -> None:
    """Two workers count up one record by compare-and-set while the node of its primary is killed."""
    cluster.await_status()
    first = store.put("count", "it", {"number": 0})
    assert first is not None
    begun = threading.Event()

    def count(worker: ElasticStore) -> list[Grant]:
        granted: list[Grant] = []
        while sum(term(grant.after) > term(first.version) for grant in granted) < 5:
            entry = worker.get("count", "it")
            assert entry is not None
            number = entry.value["number"] + 1
            after = worker.put("count", "it", {"number": number}, entry.version)
            if after is not None:
                granted.append(Grant(entry.version, after.version, number))
            if len(granted) > 5:
                begun.set()
        return granted

    victim = cluster.primary(f"tocsin-state-{namespace}")
    other = ElasticStore.open(cluster.urls, namespace)
    with ThreadPoolExecutor(2) as pool:
        counting = [pool.submit(count, worker) for worker in (store, other)]
        assert begun.wait(30)
        cluster.kill(victim)
        granted = sorted(grant for one in counting for grant in one.result(60))
    other.close()
    cluster.start(victim)
    cluster.await_status()
    last = store.get("count", "it")
    assert last is not None
    for values in ([grant.before for grant in granted], [grant.number for grant in granted]):
        assert len(set(values)) == len(values)
    # One response to each worker may be lost with the node. If the other worker has already changed the record that
    # this write created, the first worker cannot find out that its write succeeded.
    assert 0 <= last.value["number"] - len(granted) <= 2
    for earlier, later in itertools.pairwise(granted):
        assert (
            earlier.after == later.before
            if later.number == earlier.number + 1
            else earlier.after < later.before
        )
    assert granted[-1].after == last.version or granted[-1].number < last.value["number"]


def term(version: int) -> int:
    """Which primary gave a version: they are numbered on from one."""
    return version >> 40


@pytest.mark.parametrize("expecting", [False, True])
def test_a_put_whose_answer_was_lost_is_known_as_our_own(
    elasticsearch_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch, expecting: bool
) -> None:
    store = ElasticStore.open(elasticsearch_url, namespace, replicas=0)
    before = store.put("lease", "it", {"by": "nobody"}) if expecting else None
    (node,) = store._client.transport.node_pool.all()
    lost: list[str] = []
    perform = node.perform_request

    def losing(method: str, target: str, **how: Any) -> Any:
        answer = perform(method, target, **how)
        if method == "PUT" and not lost:
            lost.append(target)
            raise elastic_transport.ConnectionError("the connection was closed")
        return answer

    monkeypatch.setattr(node, "perform_request", losing)
    expected = before.version if before else None
    entry = store.put("lease", "it", {"by": "us"}, expected)
    assert lost
    assert entry == store.get("lease", "it")
    assert store.put("lease", "it", {"by": "us"}, expected) is None
    store.close()
