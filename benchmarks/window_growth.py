"""How the cost of a window grows with the events in it, on one real node: cursor, count, summary, scan, a detector.

Run `python -m benchmarks.window_growth [--powers 4 5 6]`; 7 takes a quarter of an hour and 3 GB of disk. Needs Maven and a
JDK of 21 or newer. Each size has a stream of its own; times are wall-clock of one call, the second of two.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import polars as pl

from benchmarks.elastic_speed import COLUMNS, PRINCIPALS, START, rows
from tests.nodes.node import running
from tocsin.contract.query import COUNT, Condition, Measure
from tocsin.pipeline.detecting.cursors import Cursor
from tocsin.store.cluster.elastic import ElasticStore

BATCH = 200_000


def timed(work: Callable[[], object]) -> float:
    work()
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def measure(url: str, folder: Path, events: int) -> str:
    store = ElasticStore.open(url, f"growth{events}", replicas=0)
    began = time.perf_counter()
    for first in range(0, events, BATCH):
        count = min(BATCH, events - first)
        batch = rows(count, first)
        spread = [START + timedelta(microseconds=(first + i) * 3_600_000_000 // events) for i in range(count)]
        store.append(
            "inference", batch.with_columns(pl.Series("@timestamp", spread, batch.schema["@timestamp"]))
        )
    append = events / (time.perf_counter() - began)
    end = START + timedelta(hours=1)
    advance = timed(lambda: Cursor().advance(store, "inference", timedelta(hours=1)))
    count_ = timed(lambda: store.summarize("inference", START, end, [], [COUNT]))
    mean = Measure("mean", "mean", "tocsin.output.score")
    summary = timed(lambda: store.summarize("inference", START, end, ["user.id"], [COUNT, mean]))
    read = 0

    def scan() -> None:
        nonlocal read
        frame = store.scan("inference", START, end, COLUMNS)
        read = frame.select(pl.len()).collect(engine="streaming").item()

    whole = timed(scan)
    assert read == events
    few = timed(lambda: store.scan("inference", START, end, COLUMNS, [_one()]).collect())
    store.close()
    size = sum(f.stat().st_size for f in (folder / "node" / "data").rglob("*") if f.is_file())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return (
        f"{events:>10,}  {append:>9,.0f}/s  {advance:>7.2f} s  {count_ * 1000:>7.0f} ms  {summary * 1000:>8.0f} ms"
        f"  {whole:>7.2f} s  {few * 1000:>7.0f} ms  {peak:>6.0f} MiB  {size / events:>5.0f} B"
    )


def _one():

    return Condition("user.id", "in", [f"user-{i}" for i in range(10)])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--powers", type=int, nargs="+", default=[4, 5, 6])
    print(
        f"    events      append   cursor     count  per principal ({PRINCIPALS:,})   scan   10 principals"
        "   peak memory  bytes on disk an event (with all before)"
    )
    for power in parser.parse_args().powers:
        with tempfile.TemporaryDirectory() as name, running(Path(name) / "node") as node:
            print(measure(node.url, Path(name), 10**power), flush=True)


if __name__ == "__main__":
    main()
