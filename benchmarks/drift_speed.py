"""All drift statistics of all rows of two tables of 1,000,000 rows by 25 columns, beside sorts, scipy and rivals.

`python -m benchmarks.drift_speed` prints CPU seconds (least of 3, in one run) and ratios. Of every column: exact
Kolmogorov-Smirnov distance with its p-value, chi-squared over the baseline's bins, PSI, Jensen-Shannon, exact Wasserstein
distance, and missing values; nothing is sorted before, and all rows of both tables are used. Five columns are codes of
categories, which have no order: their counts alone are compared. Three columns have 1 % missing values.

`feature_drift` itself takes 20,000 rows of a larger window, against the 20,000 that a baseline keeps: timed apart.
`--rivals` adds NannyML's default (Jensen-Shannon) and Evidently's KS and PSI, in their own environments, beside Tocsin's
CPU seconds at the same statistic, and at all statistics. `--parquet 5000000` reads such tables from Parquet, a column at a
time, and prints the peak of the memory.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import stats

from tocsin.stats.divergence import jensen_shannon, psi
from tocsin.stats.drift import Sample, counts, effect, shift

Floats = NDArray[np.float64]

ROWS = 1_000_000
NUMBERS, CODES = 20, 5
KEPT = 20_000
MOST_SORTS = 4.0
MOST_MEMORY = 1.0  # GiB
PART = 500_000  # rows of a Parquet file
#: The rival, its statistic, and how many times less CPU Tocsin needs at the same statistic.
RIVALS = {
    "NannyML, default (Jensen-Shannon)": ("nannyml", "jensen_shannon", 25.0),
    "Evidently, KS and chi-squared": ("evidently", "ks", 50.0),
    "Evidently, PSI": ("evidently", "psi", 50.0),
}


def table(rows: int, seed: int) -> list[Floats]:
    """Columns as models have them: smooth, skewed, rounded, with a spike at zero, few values; then codes of categories."""
    rng = np.random.default_rng(seed)
    kinds: tuple[Callable[[], Floats], ...] = (
        lambda: rng.normal(size=rows),
        lambda: rng.lognormal(size=rows),
        lambda: np.round(rng.lognormal(8, 1, rows)),
        lambda: np.maximum(rng.normal(size=rows), 0),
        lambda: rng.integers(0, 12, rows).astype(np.float64),
    )
    columns = [kinds[place % len(kinds)]() for place in range(NUMBERS)]
    for place in (0, 6, 12):
        columns[place][rng.random(rows) < 0.01] = np.nan
    return columns + [rng.integers(0, 5 * 2**place, rows).astype(np.float64) for place in range(CODES)]


def sorts(*tables: list[Floats]) -> None:
    for column in (column for columns in tables for column in columns):
        np.sort(column)


def compared(before: Floats, now: Floats, *, nominal: bool) -> tuple[float, ...]:
    """All statistics of a column, of all rows."""
    reference, current = Sample.of(before), Sample.of(now)
    found = shift(reference, current, nominal=nominal)
    sizes = effect(reference, current, nominal=nominal)
    return (*found, sizes.psi, sizes.jensen_shannon, sizes.wasserstein_sd or 0.0, current.missing / len(now))


def all_statistics(reference: list[Floats], columns: list[Floats]) -> None:
    for place, (before, now) in enumerate(zip(reference, columns, strict=True)):
        compared(before, now, nominal=place >= NUMBERS)


def alone(reference: list[Floats], columns: list[Floats], statistic: str) -> None:
    """One statistic of all columns: `ks` (with chi-squared), `psi` or `jensen_shannon`."""
    for place, tables in enumerate(zip(reference, columns, strict=True)):
        before, now = (Sample.of(column) for column in tables)
        if statistic == "ks":
            shift(before, now, nominal=place >= NUMBERS)
        else:
            {"psi": psi, "jensen_shannon": jensen_shannon}[statistic](
                *counts(before, now, nominal=place >= NUMBERS)
            )


def taken(columns: list[Floats]) -> list[Floats]:
    """A fixed-seed sample of the rows, as baselines and large windows are taken."""
    places = np.random.default_rng(0).choice(len(columns[0]), KEPT, replace=False)
    return [column[places] for column in columns]


def scipy_loop(reference: list[Floats], columns: list[Floats]) -> None:
    for before, now in zip(reference[:NUMBERS], columns[:NUMBERS], strict=True):
        stats.ks_2samp(before[~np.isnan(before)], now[~np.isnan(now)])


def least(runs: list[Callable[[], None]], times: int = 3) -> list[float]:
    """CPU seconds of each function, the least of some runs side by side."""
    best = [float("inf")] * len(runs)
    for _ in range(times):
        for place, run in enumerate(runs):
            began = time.process_time()
            run()
            best[place] = min(best[place], time.process_time() - began)
    return best


def in_memory(rows: int, *, rivals: bool) -> bool:
    """Print the figures of two tables in memory; whether the bars are met."""
    reference, columns = table(rows, 0), table(rows, 1)
    kept = taken(reference)
    sort, peer, every, sampled = least(
        [
            lambda: sorts(reference, columns),
            lambda: scipy_loop(reference, columns),
            lambda: all_statistics(reference, columns),
            lambda: all_statistics(kept, taken(columns)),
        ]
    )
    print(f"{rows:,} rows x {NUMBERS + CODES} columns, CPU seconds, least of 3")
    print(f"np.sort of every column of both tables          {sort:8.3f}")
    print(f"scipy.stats.ks_2samp, the {NUMBERS} numeric columns      {peer:8.3f}   {peer / sort:5.2f} sorts")
    met = every <= MOST_SORTS * sort
    print(
        f"all statistics, all rows                        {every:8.3f}   {every / sort:5.2f} sorts"
        f" (<= {MOST_SORTS:g}: {_said(met)})   {peer / every:.1f} x less than scipy"
    )
    print(f"all statistics, 20,000 rows of each (sampled)   {sampled:8.3f}   {sampled / sort:5.2f} sorts")
    return all([met, *(_beside(reference, columns, every) if rivals else ())])


def _beside(reference: list[Floats], columns: list[Floats], every: float) -> list[bool]:
    """The rivals' CPU seconds on the same tables, and whether each bar is met."""
    from benchmarks.rivals.environments import HERE, Skipped, python, quiet

    met = []
    with tempfile.TemporaryDirectory() as folder:
        for name, of in (("reference", reference), ("current", columns)):
            np.save(Path(folder) / f"{name}.npy", np.column_stack(of))
        for name, (rival, method, gain) in RIVALS.items():
            try:
                interpreter = python(rival)
            except Skipped as skipped:
                print(f"skipped: {skipped}")
                continue
            script = [
                str(interpreter),
                "-W",
                "ignore",
                str(HERE / f"speed_{rival}.py"),
                folder,
                str(NUMBERS),
                method,
            ]
            done = subprocess.run(script, capture_output=True, text=True, check=True, env=quiet())
            took = float(done.stdout.split()[-1])
            (ours,) = least([lambda of=method: alone(reference, columns, of)])  # type: ignore[misc]
            met.append(took >= gain * ours)
            print(
                f"{name:<47} {took:8.3f}   {took / ours:5.1f} x the same statistic ({ours:.3f}; >= {gain:g}:"
                f" {_said(met[-1])}), {took / every:.1f} x all statistics"
            )
    return met


def from_parquet(rows: int) -> bool:
    """Print the memory and CPU of two tables in Parquet files, in a process of its own; whether the bar is met."""
    with tempfile.TemporaryDirectory() as folder:
        for seed, name in enumerate(("reference", "current")):
            (Path(folder) / name).mkdir()
            for part in range(0, rows, PART):
                columns = table(min(PART, rows - part), 1000 * seed + part // PART)
                frame = pl.DataFrame({f"c{place}": column for place, column in enumerate(columns)})
                frame.fill_nan(None).write_parquet(Path(folder) / name / f"{part:09}.parquet")
        command = [sys.executable, "-m", "benchmarks.drift_speed", "--folder", folder]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    memory, seconds = (float(word) for word in done.stdout.split())
    met = memory <= MOST_MEMORY
    print(f"{rows:,} rows x {NUMBERS + CODES} columns from Parquet: {seconds:.2f} CPU-seconds,")
    print(f"{memory:.2f} GiB at the peak (<= {MOST_MEMORY:g}: {_said(met)})")
    return met


def _read(folder: Path) -> None:
    """All statistics of the tables of a folder, a column at a time; prints the peak of the memory in GiB and CPU seconds."""
    began = time.process_time()
    for place in range(NUMBERS + CODES):
        before, now = (
            pl.scan_parquet(folder / name / "*.parquet").select(f"c{place}").collect().to_series().to_numpy()
            for name in ("reference", "current")
        )
        compared(before, now, nominal=place >= NUMBERS)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, time.process_time() - began)


def _said(met: bool) -> str:
    return "met" if met else "not met"


def main() -> int:
    """Print the figures; exit 1 if a bar is not met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--rivals", action="store_true")
    parser.add_argument(
        "--parquet", type=int, metavar="ROWS", help="also read tables of so many rows from Parquet"
    )
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.folder:
        _read(arguments.folder)
        return 0
    met = [in_memory(arguments.rows, rivals=arguments.rivals)]
    if arguments.parquet:
        met.append(from_parquet(arguments.parquet))
    return int(not all(met))


if __name__ == "__main__":
    sys.exit(main())
