"""Drift statistics of 1,000,000 rows by 20 columns against a fitted baseline, beside a sort and scipy.

`python -m benchmarks.drift_speed` prints CPU seconds (least of 3, all in one run) and ratios. The
reference has 1,000,000 rows too; scipy's loop gets all of them. What feature_drift computes: exact
Kolmogorov-Smirnov with p-value and chi-squared over the baseline's bins for every column; PSI,
Jensen-Shannon and exact Wasserstein for the five that moved most. A fitted baseline holds its columns
sorted. Three ways: all rows on both sides; all rows against the 20,000 that a baseline keeps; and as the
detector does it, which also takes 20,000 rows of a larger window, since its verdict does not follow the
number of rows. Where numpy sorts slowly (AVX-512 on Zen 4) that sort is most of the first two.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from tocsin.stats.drift import Sample, effect, shift

Floats = NDArray[np.float64]

ROWS = 1_000_000
COLUMNS = 20
KEPT = 20_000
DESCRIBED = 5
MOST_SORTS = 6.0
LEAST_GAIN = 8.0


def table(rows: int, seed: int) -> list[Floats]:
    """Columns as models have them: smooth, skewed, rounded, with a spike at zero, few values."""
    rng = np.random.default_rng(seed)
    kinds: tuple[Callable[[], Floats], ...] = (
        lambda: rng.normal(size=rows),
        lambda: rng.lognormal(size=rows),
        lambda: np.round(rng.lognormal(8, 1, rows)),
        lambda: np.maximum(rng.normal(size=rows), 0),
        lambda: rng.integers(0, 12, rows).astype(np.float64),
    )
    return [kinds[place % len(kinds)]() for place in range(COLUMNS)]


def sorts(columns: list[Floats]) -> None:
    for column in columns:
        np.sort(column)


def drift(baseline: list[Sample], columns: list[Floats]) -> None:
    """Both tests for every column, effect sizes for the columns that moved most."""
    samples = [Sample.of(column) for column in columns]
    moved = [
        min(found.ks_p, found.counts_p)
        for found in (shift(before, now) for before, now in zip(baseline, samples, strict=True))
    ]
    for place in np.argsort(moved)[:DESCRIBED]:
        effect(baseline[place], samples[place])


def taken(columns: list[Floats]) -> list[Floats]:
    """A fixed-seed sample of the rows, as baselines and large windows are taken."""
    places = np.random.default_rng(0).choice(len(columns[0]), KEPT, replace=False)
    return [column[places] for column in columns]


def scipy_loop(baseline: list[Floats], columns: list[Floats]) -> None:
    for before, column in zip(baseline, columns, strict=True):
        stats.ks_2samp(before, column)


def least(runs: list[Callable[[], None]], times: int = 3) -> list[float]:
    """CPU seconds of each function, the least of some runs side by side."""
    best = [float("inf")] * len(runs)
    for _ in range(times):
        for place, run in enumerate(runs):
            began = time.process_time()
            run()
            best[place] = min(best[place], time.process_time() - began)
    return best


def main() -> None:
    reference, columns = table(ROWS, 0), table(ROWS, 1)
    whole = [Sample.of(column) for column in reference]
    kept = [Sample.of(column) for column in taken(reference)]
    sort, peer, exact, fitted, detector = least(
        [
            lambda: sorts(columns),
            lambda: scipy_loop(reference, columns),
            lambda: drift(whole, columns),
            lambda: drift(kept, columns),
            lambda: drift(kept, taken(columns)),
        ]
    )
    print(f"{ROWS:,} rows x {COLUMNS} columns, CPU seconds, least of 3")
    print(f"np.sort of every column                      {sort:7.3f}")
    print(f"scipy.stats.ks_2samp, every column           {peer:7.3f}   {peer / sort:5.2f} sorts")
    for name, took in (
        ("all rows against 1,000,000 baseline rows ", exact),
        ("all rows against 20,000 baseline rows    ", fitted),
        ("as feature_drift does it: 20,000 each    ", detector),
    ):
        sorts_met = "met" if took <= MOST_SORTS * sort else "not met"
        gain_met = "met" if peer >= LEAST_GAIN * took else "not met"
        print(
            f"{name}    {took:7.3f}   {took / sort:5.2f} sorts (<= {MOST_SORTS:g}: {sorts_met})"
            f"   {peer / took:6.2f} x less than scipy (>= {LEAST_GAIN:g}: {gain_met})"
        )


if __name__ == "__main__":
    main()
