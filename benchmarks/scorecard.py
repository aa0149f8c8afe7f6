"""How well the detectors do what the issues ask, measured: `make scorecard`, under ten minutes on 2 cores.

Thresholds come from benign data alone and are frozen before an attack is seen. `--json` gives a row a line;
exit 1 if a bar is not met.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import multiprocessing
import os
import sys
import time

from benchmarks.card import SHARED, Row

FAMILIES = (
    "poisoning",
    "drift",
    "relations",
    "performance",
    "verdicts",
    "order",
    "extraction",
    "access",
    "cloud",
)


def measure(family: str, seeds: int) -> tuple[list[Row], float]:
    """One family's rows, in a process of its own and on one thread, and the seconds it took."""
    import importlib

    from threadpoolctl import threadpool_limits

    began = time.perf_counter()
    with threadpool_limits(1):
        rows = importlib.import_module(f"benchmarks.scorecards.{family}").measure(seeds)
    return rows, time.perf_counter() - began


def main() -> int:
    """Print the scorecard."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    parser.add_argument(
        "families", nargs="*", metavar="FAMILY", help=f"of {', '.join(FAMILIES)}; all if left out"
    )
    arguments = parser.parse_args()
    if unknown := set(arguments.families) - set(FAMILIES):
        parser.error(f"no such family: {', '.join(sorted(unknown))}; there are {', '.join(FAMILIES)}")
    if not SHARED.exists():
        print(f"the data sets are not here: {SHARED}", file=sys.stderr)
        return 2
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    missed = 0
    with multiprocessing.get_context("spawn").Pool(2, maxtasksperchild=1) as pool:
        asked = [(f, arguments.seeds) for f in arguments.families or FAMILIES]
        for answer in [pool.apply_async(measure, a) for a in asked]:
            rows, seconds = answer.get()
            for row in rows:
                missed += row.met is False
                _print(row, as_json=arguments.json)
            print(f"# {rows[0].detector if rows else '?'} and its family: {seconds:.0f} s", file=sys.stderr)
    print(f"# {missed} bars missed", file=sys.stderr)
    return int(missed > 0)


def _print(row: Row, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({**dataclasses.asdict(row), "met": row.met}))
        return
    bar = "" if row.bar is None else f"{row.sense} {row.bar:g}  {'met' if row.met else 'MISSED'}"
    print(
        f"{row.detector:<18} {row.data:<22} {row.case:<44} {row.metric:<14} {row.value:>7.3f} of {row.trials:<6} {bar}"
    )


if __name__ == "__main__":
    sys.exit(main())
