"""The Elasticsearch store beside the official client's own helpers, on one real node, in one run.

Run `python -m benchmarks.elastic_speed [--events N]`; it needs Maven and a JDK of 21 or newer, as the tests do.
Appending takes 100,000 inference events of about 550 bytes to one shard after a warm-up; reading takes three columns
of `--events` of them. Wall-clock, since the server is a process of its own; least of three.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from tests.nodes.node import running
from tocsin.contract.frames import conform
from tocsin.contract.query import COUNT, Measure
from tocsin.store.cluster.documents import bodies, ids
from tocsin.store.cluster.elastic import ElasticStore
from tocsin.store.cluster.mappings import name

APPENDED = 100_000
PRINCIPALS = 5_000
COLUMNS = ("@timestamp", "user.id", "tocsin.output.score")
START = datetime(2026, 3, 2, tzinfo=UTC)
_NUMBER = itertools.count()


def rows(count: int, first: int = 0) -> pl.DataFrame:
    """Inference events of a model with eight features."""
    rng = np.random.default_rng(first)
    places = range(first, first + count)
    frame = pl.DataFrame(
        {
            "@timestamp": [START + timedelta(milliseconds=37 * i) for i in places],
            "event.id": [f"9f86d081-{i:08x}" for i in places],
            "event.outcome": "success",
            "event.duration": rng.integers(10**6, size=count),
            "user.id": [f"user-{i}" for i in rng.integers(PRINCIPALS, size=count)],
            "source.ip": [f"192.0.2.{i}" for i in rng.integers(256, size=count)],
            "trace.id": [f"{i:032x}" for i in places],
            "tocsin.model.name": "credit",
            "tocsin.model.version": "3",
            "tocsin.output.score": rng.random(count),
            "tocsin.output.label": "1",
        }
    )
    return conform(frame, "inference")


def appending(url: str) -> dict[str, float]:
    """Documents a second of the store, of `helpers.bulk`, and of finished bodies over four connections."""
    from elasticsearch import Elasticsearch, helpers

    frame = rows(APPENDED)
    client = Elasticsearch(url)
    documents = [{k: v for k, v in row.items() if v is not None} for row in frame.iter_rows(named=True)]

    def store(target: ElasticStore) -> None:
        assert target.append("inference", frame).accepted == APPENDED

    def bulk(target: ElasticStore) -> None:
        index = name("inference", target.namespace)
        keys = ids("inference", frame)
        actions = ({"_op_type": "create", "_id": k, **d} for k, d in zip(keys, documents, strict=True))
        assert helpers.bulk(client, actions, index=index)[0] == APPENDED

    def raw(target: ElasticStore, finished: list[bytes]) -> None:
        path = f"/{name('inference', target.namespace)}/_bulk?filter_path=errors"
        with ThreadPoolExecutor(4) as pool:
            assert all(pool.map(lambda part: _post(url, path, part), [finished[i::4] for i in range(4)]))

    finished = [body + b"\n" for _, body in bodies("inference", frame, ids("inference", frame), 1 << 20)]
    ways: dict[str, Callable[[ElasticStore], None]] = {
        "store": store,
        "helpers.bulk": bulk,
        "raw": lambda target: raw(target, finished),
    }
    best: dict[str, float] = {}
    for attempt in range(4):  # the first one warms the server up
        for what, run in ways.items():
            target = ElasticStore.open(url, f"bench{next(_NUMBER)}", replicas=0)
            began = time.perf_counter()
            run(target)
            seconds = time.perf_counter() - began
            target.close()
            if attempt:
                best[what] = max(best.get(what, 0.0), APPENDED / seconds)
    client.close()
    return best


def reading(url: str, events: int) -> dict[str, float]:
    """Seconds to scan three columns with the store and with `helpers.scan`, and to summarize by principal."""
    from elasticsearch import Elasticsearch, helpers

    store = ElasticStore.open(url, f"bench{next(_NUMBER)}", replicas=0)
    for first in range(0, events, APPENDED):
        store.append("inference", rows(min(APPENDED, events - first), first))
    client, index = Elasticsearch(url), name("inference", store.namespace)
    client.indices.refresh(index=index)

    def scan() -> None:
        assert store.scan("inference", columns=COLUMNS).collect().height == events

    def helper() -> None:
        hits = helpers.scan(client, index=index, size=10_000, _source=list(COLUMNS))
        assert sum(1 for _ in hits) == events

    def summary() -> None:
        measures = (COUNT, Measure("mean", "mean", "tocsin.output.score"))
        assert store.summarize("inference", None, None, ["user.id"], measures)["count"].sum() == events

    runs: dict[str, Callable[[], None]] = {"store": scan, "helpers.scan": helper, "summarize": summary}
    found = {what: min(_seconds(run) for _ in range(2)) for what, run in runs.items()}
    client.close()
    store.close()
    return found


def _post(url: str, path: str, parts: list[bytes]) -> bool:
    connection = http.client.HTTPConnection(url.removeprefix("http://"))
    for part in parts:
        connection.request("POST", path, part, {"Content-Type": "application/x-ndjson"})
        answer = connection.getresponse()
        if answer.status != 200 or b"true" in answer.read():
            return False
    connection.close()
    return True


def _seconds(run: Callable[[], None]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def main() -> None:
    """Print rates, times and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    arguments = parser.parse_args()
    memory = (
        "-Xmx2g",
    )  # with 1 GB the cluster turns searches of helpers.scan away, which does not ask again
    with tempfile.TemporaryDirectory() as folder, running(Path(folder), options=memory) as node:
        rate = appending(node.url)
        for what, value in rate.items():
            print(f"append, {what:<14} {value:10,.0f} documents a second")
        print(f"  {rate['store'] / rate['helpers.bulk']:.2f} × helpers.bulk (bar 2.2)")
        print(f"  {rate['store'] / rate['raw']:.2f} × finished bodies over four connections (bar 0.6)")
        took = reading(node.url, arguments.events)
        for what, seconds in took.items():
            print(f"read {arguments.events:,}, {what:<14} {seconds:8.2f} s")
        print(f"  {took['helpers.scan'] / took['store']:.2f} × helpers.scan (bar 1.4)")
        print(f"  a summary takes 1/{took['store'] / took['summarize']:.0f} of a scan (bar 1/10)")


if __name__ == "__main__":
    main()
