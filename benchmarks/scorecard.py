"""How well the detectors do what the issues ask, measured: `make scorecard`, under an hour on 2 cores.

Thresholds come from benign data alone and are frozen before an attack is seen. Each family is measured for each seed in
a process of its own, on one thread. What is measured stays in `.cache/scorecard` until the code it depends on changes: a
run that was stopped goes on, and `--again` measures all of it again. `--json` prints a row a line. `--write` stores the
rows in benchmarks/scorecard.json, from which `make docs` writes docs/scorecard.md. Exit 1 if a bar is not met.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator

from benchmarks import cache, stored
from benchmarks.card import SHARED, Row
from benchmarks.pooling import pooled

#: The families, the longest first.
FAMILIES = (
    "rivals",
    "poisoning",
    "extraction",
    "evasion",
    "membership",
    "cloud",
    "access",
    "drift",
    "order",
    "verdicts",
    "relations",
    "performance",
    "early",
)
Task = tuple[str, int]
Measured = tuple[list[Row], float]
Done = Callable[[str], None]


def measure(task: Task) -> tuple[Task, list[Row], float]:
    """One family's rows for one seed, and the CPU seconds that they took."""
    import importlib

    from threadpoolctl import threadpool_limits

    began, (family, seed) = time.process_time(), task
    with threadpool_limits(1):
        rows = importlib.import_module(f"benchmarks.scorecards.{family}").measure((seed,))
    return task, rows, time.process_time() - began


def main() -> int:
    """Print the scorecard."""
    arguments = _arguments()
    if not SHARED.exists():
        print(f"the data sets are not here: {SHARED}", file=sys.stderr)
        return 2
    families = tuple(dict.fromkeys(arguments.families or FAMILIES))
    tasks = [(family, seed) for family in families for seed in range(arguments.seeds)]
    known = {} if arguments.again else {task: cache.load(*task) for task in tasks}
    found = {task: measured for task, measured in known.items() if measured is not None}
    left = [task for task in tasks if task not in found]
    print(f"# {len(found)} of {len(tasks)} measured before", file=sys.stderr)
    found |= _measured(left, arguments.processes)
    missed = 0
    for family in families:
        measured = [found[family, seed] for seed in range(arguments.seeds)]
        rows = pooled([rows for rows, _ in measured])
        for row in rows:
            _print(row, as_json=arguments.json)
        missed += sum(row.met is False for row in rows)
        if arguments.write:
            stored.write(family, rows, arguments.seeds, sum(seconds for _, seconds in measured))
    print(f"# {missed} bars missed", file=sys.stderr)
    return int(missed > 0)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--again", action="store_true", help="measure again what was measured before")
    parser.add_argument("--write", action="store_true", help="store the rows for docs/scorecard.md")
    parser.add_argument(
        "families", nargs="*", metavar="FAMILY", help=f"of {', '.join(FAMILIES)}; all if left out"
    )
    arguments = parser.parse_args()
    if unknown := set(arguments.families) - set(FAMILIES):
        parser.error(f"no such family: {', '.join(sorted(unknown))}; there are {', '.join(FAMILIES)}")
    return arguments


def _measured(tasks: list[Task], processes: int) -> dict[Task, Measured]:
    """Measure, and store each family and seed as soon as it is there."""
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    found: dict[Task, Measured] = {}
    if not tasks:
        return found
    with (
        _progress(len(tasks)) as done,
        multiprocessing.get_context("spawn").Pool(min(processes, len(tasks)), maxtasksperchild=1) as pool,
    ):
        for task, rows, seconds in pool.imap_unordered(measure, tasks):
            cache.store(*task, rows, seconds)
            found[task] = rows, seconds
            done(f"{task[0]}, seed {task[1]}: {seconds:.0f} CPU-seconds")
    return found


@contextlib.contextmanager
def _progress(total: int) -> Iterator[Done]:
    """A bar on a terminal, a line a task elsewhere."""
    from rich.console import Console
    from rich.progress import Progress

    console, count = Console(stderr=True), 0
    if console.is_terminal:
        with Progress(console=console) as progress:
            bar = progress.add_task("scorecard", total=total)
            yield lambda said: progress.update(bar, advance=1, description=said)
        return

    def said(text: str) -> None:
        nonlocal count
        count += 1
        print(f"# {text} ({count} of {total})", file=sys.stderr, flush=True)

    yield said


def _print(row: Row, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({**dataclasses.asdict(dataclasses.replace(row, scores=())), "met": row.met}))
        return
    bar = "" if row.bar is None else f"{row.sense} {row.bar:g}  {'met' if row.met else 'MISSED'}"
    interval = "" if row.low is None or row.high is None else f"{row.low:.3f}–{row.high:.3f}"
    print(
        f"{row.detector:<18} {row.data:<22} {row.case:<44} {row.metric:<14} {row.value:>7.3f} {interval:<12}"
        f" of {row.trials:<6} {bar}"
    )


if __name__ == "__main__":
    sys.exit(main())
