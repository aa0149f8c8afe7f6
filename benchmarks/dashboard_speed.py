"""Every query of every dashboard over a million inference events and the findings of a story, on one real node.

Run `python -m benchmarks.dashboard_speed [--events N] [--runs N]`; it needs Maven and a JDK of 21 or newer, as the tests
do. A query is what one panel sends in one `_msearch`, or what one variable or annotation asks. Each is asked `--runs`
times over ranges that end a second apart, with the shards' request cache off, so that no answer is a remembered one; the
operating system's cache is warm. A plain count of the same index over the same range is asked beside each: the ratio says
what the dashboard adds to the machine's own speed. The figure of a query is the median of its runs.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tests.dashboards.annotations import body as search_events
from tests.dashboards.built import WAITING, dashboards
from tests.dashboards.cluster import Elasticsearch
from tests.dashboards.datasources import PROMETHEUS, of_tocsin, uid_of
from tests.dashboards.emulator import Emulator, asking
from tests.dashboards.filled import Filled, fill
from tests.dashboards.interpolation import Values, replace
from tests.dashboards.lint import Board
from tests.dashboards.ranges import Range
from tests.dashboards.samples import sampled
from tests.dashboards.variables import parsed, terms_body
from tests.nodes.node import running
from tocsin.contract.frames import conform
from tocsin.demo.lender import START
from tocsin.store.cluster.elastic import ElasticStore

BATCH = 100_000
PRINCIPALS = 5_000
BAR = 0.5
SPAN_MS = 84 * 86_400_000
Asked = tuple[str, str, list[dict[str, Any]]]  # what it is, index pattern, bodies


@dataclass(frozen=True, slots=True)
class Took:
    """Seconds of one query, and of the plain count beside it."""

    what: str
    index: str
    seconds: float
    count: float


def rows(first: int, count: int, total: int) -> pl.DataFrame:
    """Calls of three models by many principals, spread over the story's twelve weeks."""
    rng = np.random.default_rng(first)
    step = SPAN_MS / total
    scores = rng.random(count)
    failed = rng.random(count) < 0.01
    frame = pl.DataFrame(
        {
            "@timestamp": pl.Series(np.arange(first, first + count) * step)
            .cast(pl.Int64)
            .cast(pl.Duration("ms"))
            + START,
            "event.id": [f"9f86d081-{i:08x}" for i in range(first, first + count)],
            "event.action": "predict",
            "event.outcome": np.where(failed, "failure", "success"),
            "event.duration": rng.lognormal(15, 0.6, count).astype(np.int64),
            "http.response.status_code": np.where(failed, 500, 200),
            "user.id": [f"user-{i}" for i in (rng.zipf(1.3, count) % PRINCIPALS)],
            "source.ip": [f"192.0.2.{i}" for i in rng.integers(256, size=count)],
            "tocsin.source.id": "ndjson-1",
            "service.name": "scoring",
            "tocsin.model.name": rng.choice(["credit", "fraud", "churn"], count),
            "tocsin.model.version": rng.choice(["7", "8"], count),
            "tocsin.output.score": scores,
            "tocsin.output.confidence": np.maximum(scores, 1 - scores),
            "tocsin.output.label": np.where(scores > 0.5, "1", "0"),
            "gen_ai.usage.input_tokens": rng.integers(10, 4000, count),
            "gen_ai.usage.output_tokens": rng.integers(1, 1000, count),
        }
    )
    return conform(frame, "inference")


def prepare(url: str, events: int, folder: Path) -> Filled:
    """The story with so many more calls."""
    found = fill(url, folder)
    store = ElasticStore.open(url, found.namespace, replicas=0)
    for first in range(0, events, BATCH):
        store.append("inference", rows(first, min(BATCH, events - first), events))
    store.close()
    for source in of_tocsin(found.namespace).values():
        found.cluster.refresh(source.index)
    return found


def asked(uid: str, board: Mapping[str, Any], grafana: Emulator, values: Values) -> Iterator[Asked]:
    """All that a dashboard asks of Elasticsearch."""
    for panel in asking(board):
        for index, bodies in grafana.bodies(panel, values):
            yield f"{uid}, {panel['title']}", index, bodies
    for variable in board["templating"]["list"]:
        source = grafana.sources.get(uid_of(variable.get("datasource")))
        if variable["type"] == "query" and source is not None:
            query = parsed(variable["query"])
            query |= {key: replace(query.get(key) or "", values, "lucene") for key in ("field", "query")}
            yield f"{uid}, ${variable['name']}", source.index, [terms_body(query, source, grafana.range)]
    for annotation in Board(uid, board, {}, grafana.sources).annotations:
        source = grafana.sources[uid_of(annotation["datasource"])]
        body = search_events(annotation, source, grafana.range, values)
        yield f"{uid}, annotation {annotation['name']}", source.index, [body]


def measure(filled: Filled, boards: Mapping[str, Any], runs: int) -> list[Took]:
    """The median of each query's runs, and of the counts beside them."""
    cluster = Elasticsearch(filled.cluster.url, cache=False)
    times: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for run in range(runs + 1):  # the first one warms the server up
        of = Range(filled.range.start, filled.range.end - 1000 * run)
        grafana = Emulator(cluster, of_tocsin(filled.namespace), of)
        for uid, board in boards.items():
            values = grafana.variables(board)
            for what, index, bodies in asked(uid, _of_elasticsearch(board), grafana, values):
                within = {"format": "epoch_millis", "gte": of.start, "lte": of.end}
                count = {"size": 0, "track_total_hits": True, "query": {"range": {"@timestamp": within}}}
                both = _seconds(cluster, bodies, index), _seconds(cluster, [count], index)
                if run:
                    times.setdefault((what, index), []).append(both)
    return [Took(*of, *map(statistics.median, zip(*all, strict=True))) for of, all in times.items()]


def _of_elasticsearch(board: Mapping[str, Any]) -> Mapping[str, Any]:
    """A dashboard without its panels of metrics."""

    def kept(panels: list[Any]) -> list[Any]:
        return [
            {**p, "panels": kept(p.get("panels") or [])}
            for p in panels
            if uid_of(p.get("datasource")) != PROMETHEUS
        ]

    return {**board, "panels": kept(board["panels"])}


def _seconds(cluster: Elasticsearch, bodies: list[dict[str, Any]], index: str) -> float:
    began = time.perf_counter()
    cluster.msearch(bodies, index)
    return time.perf_counter() - began


def report(took: list[Took], events: int) -> None:
    """Median, 95th percentile, ratios, and the slowest ten; first of all, then of those that read the calls."""
    _summary(f"all {len(took)} queries over {events:,} inference events", took)
    calls = [t for t in took if "tocsin.inference-" in t.index]
    if calls:  # most others read streams of a few thousand events, and would hide these
        _summary(f"the {len(calls)} of them that read the inference events", calls)
    for t in sorted(took, key=lambda t: -t.seconds)[:10]:
        print(f"  {t.seconds * 1000:7.0f} ms, {t.seconds / t.count:6.1f} × a count: {t.what}")


def _summary(title: str, took: list[Took]) -> None:
    seconds = sorted(t.seconds for t in took)
    late = seconds[min(int(0.95 * len(seconds)), len(seconds) - 1)]
    print(title)
    print(f"  median {statistics.median(seconds) * 1000:7.0f} ms (bar {BAR * 1000:.0f} ms over 1,000,000)")
    print(f"  95th percentile {late * 1000:7.0f} ms")
    print(
        f"  {statistics.median(t.seconds / t.count for t in took):.1f} × a plain count (median of the ratios)"
    )


def main() -> None:
    """Fill a node, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument(
        "--samples", action="store_true", help="the tests' own dashboards, to try the measuring"
    )
    arguments = parser.parse_args()
    boards = sampled() if arguments.samples else dashboards()
    if not boards:
        sys.exit(f"{WAITING}: nothing to measure")
    with tempfile.TemporaryDirectory() as folder, running(Path(folder) / "node") as node:
        filled = prepare(node.url, arguments.events, Path(folder))
        report(measure(filled, boards, arguments.runs), arguments.events)


if __name__ == "__main__":
    main()
