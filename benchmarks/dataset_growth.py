"""How the cost of `dataset_profile` grows with the number of datasets, of snapshots and of columns.

Run `python -m benchmarks.dataset_growth [--full]`: without `--full` up to 10,000 of each, in seconds; with it up to
1,000,000 names. Times are CPU seconds of one window. A cost is linear if ten times as many cost at most 15 times as much,
once the fixed cost of a run is subtracted.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from tocsin.contract.windows import FrameSource, Window
from tocsin_detectors.dataset_profile import DatasetProfile, Params

START = datetime(2026, 11, 28, tzinfo=UTC)
DAY = timedelta(days=1)
_FACTOR = 15.0


def events(names: int, snapshots: int, columns: int, *, past: bool) -> pl.DataFrame:
    """Snapshots of datasets with different profiles: ten days of history, or one window."""
    rng = np.random.default_rng(0)
    days = range(10) if past else range(1)
    rows = []
    for name in range(names):
        for day in days:
            for number in range(1 if past else snapshots):
                mean = float(rng.normal())
                column = {"nulls": 0, "distinct": 90, "min": -3.0, "max": 3.0, "mean": mean / 10, "std": 1.0}
                rows.append(
                    {
                        "@timestamp": START - timedelta(days=day + 1) if past else START + DAY / 2,
                        "event.id": f"{past}-{name}-{day}-{number}",
                        "tocsin.source.id": "dataset:in",
                        "tocsin.dataset.name": f"n{name}",
                        "tocsin.dataset.digest": f"d{past}-{name}-{day}-{number}",
                        "tocsin.dataset.rows": 100,
                        "tocsin.dataset.profile": json.dumps({f"c{c}": column for c in range(columns)}),
                        "tocsin.dataset.schema": json.dumps([[f"c{c}", "number"] for c in range(columns)]),
                    }
                )
    return pl.DataFrame(rows)


def made_up(names: int) -> pl.DataFrame:
    """A flood of names that no history has."""
    numbers = pl.int_range(names, eager=True).cast(pl.String)
    return pl.DataFrame(
        {
            "tocsin.dataset.name": "made up " + numbers,
            "tocsin.dataset.digest": "d" + numbers,
            "event.id": "e" + numbers,
        }
    ).with_columns(pl.lit(START).alias("@timestamp"), pl.lit("ndjson:x").alias("tocsin.source.id"))


def seconds(now: pl.DataFrame, past: pl.DataFrame) -> float:
    """CPU seconds of one window."""
    source = FrameSource.of({"dataset": pl.concat([past, now], how="diagonal_relaxed")})
    detector = DatasetProfile(Params())
    began = time.process_time()
    found = list(detector.score(Window(START, START + DAY, source)))
    assert found
    return time.process_time() - began


def grow(what: str, sizes: list[int], make: Callable[[int], tuple[pl.DataFrame, pl.DataFrame]]) -> bool:
    """Print the cost for each size, and whether it is linear."""
    seconds(*make(1))
    fixed = seconds(*make(1))
    costs = [seconds(*make(size)) for size in sizes]
    # costs below 50 ms are mostly fixed, and say nothing about growth
    pairs = [(max(a - fixed, 0.05), max(b - fixed, 0.05)) for a, b in zip(costs, costs[1:], strict=False)]
    linear = all(b / a <= _FACTOR for a, b in pairs)
    shown = ", ".join(f"{size:,}: {cost:.2f} s" for size, cost in zip(sizes, costs, strict=True))
    print(f"{what}: {shown}; {'linear' if linear else 'NOT LINEAR'}")
    return linear


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; 1 if a cost is not linear."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="up to 1,000,000 names")
    full = parser.parse_args(arguments).full
    one = events(1, 1, 4, past=True)
    floods = [1_000, 10_000, *([100_000, 1_000_000] if full else [])]
    few = [100, 1_000, *([10_000] if full else [])]
    linear = [
        grow("made-up names", floods, lambda n: (made_up(n), one)),
        grow(
            "datasets with history", few, lambda n: (events(n, 1, 4, past=False), events(n, 1, 4, past=True))
        ),
        grow("snapshots of a dataset", few, lambda n: (events(1, n, 4, past=False), one)),
        grow("columns", few, lambda n: (events(1, 1, n, past=False), events(1, 1, n, past=True))),
    ]
    return 0 if all(linear) else 1


if __name__ == "__main__":
    sys.exit(main())
