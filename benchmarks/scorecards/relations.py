"""feature_drift on tables of numbers and categories: relations that break."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.card import SHARED, Row, shared
from benchmarks.scorecards.drift import BASELINE_ROWS, ROWS, WINDOWS, calls, ratios
from tocsin.testing.evaluate import evaluate

Floats = NDArray[np.float64]


def measure(seeds: Sequence[int]) -> list[Row]:
    """A column of numbers is permuted in a share of the rows of tables of numbers and categories."""
    rows = []
    for data, names, table in (("car_loan", *_car_loan()), ("acs_employment", *_census_features())):
        numbers = [j for j, name in enumerate(names) if not name.endswith(":category")]
        hits: dict[float, list[float]] = {0.0: [], 0.1: [], 0.25: []}
        for seed in seeds:
            rng = np.random.default_rng(seed)
            shuffled = table[rng.permutation(len(table))]
            pool = shuffled[BASELINE_ROWS:]
            baseline = evaluate(
                "feature_drift", *_inference(names, [pool[:ROWS]], [shuffled[:BASELINE_ROWS]])
            )
            for share, found in hits.items():
                windows = []
                for _ in range(WINDOWS.get(share, 60)):
                    window = pool[rng.choice(len(pool), ROWS, replace=False)]
                    hit = rng.choice(ROWS, int(share * ROWS), replace=False)
                    column = rng.choice(numbers)
                    window[hit, column] = rng.permutation(window[hit, column])
                    windows.append(window)
                events = _inference(names, windows)[0]
                scores = evaluate("feature_drift", events, baseline=baseline.baseline).scores
                found.extend(ratios(scores))
        of = "feature_drift", data, "quiet windows"
        rows.append(shared(of, "alarm rate", hits[0.0], 0.02, quiet=True))
        for share, bar in ((0.1, 0.4), (0.25, 0.9)):
            case = f"correlation break, {share:.0%} of rows"
            rows.append(shared(("feature_drift", data, case), "TPR", hits[share], bar))
    return rows


def _inference(names: list[str], *tables: list[Floats]) -> Any:
    """For `evaluate`: the events of each table's windows; no settings between the first and the second."""
    frames = []
    for windows in tables:
        rows = np.concatenate(windows)
        days = np.repeat(np.arange(len(windows)), [len(window) for window in windows])
        frames.append({"inference": calls(names, rows, np.full(len(rows), 0.5), days)})
    return (frames[0], None, frames[1]) if len(frames) > 1 else frames


def _car_loan() -> tuple[list[str], Floats]:
    path = SHARED / "synth_car_loan_nannyml" / "synthetic_car_loan_reference.csv.gz"
    table = pl.read_csv(path, infer_schema_length=10_000)
    table = table.drop("id", "timestamp", "repaid", "y_pred", "y_pred_proba")
    return coded(table, [name for name in table.columns if not table.schema[name].is_float()])


def _census_features() -> tuple[list[str], Floats]:
    table = pl.read_parquet(SHARED / "acs_employment_nannyml" / "employment_MA_reference.pq")
    table = table.drop("id", "year", "employed", "prediction", "predicted_probability")
    return coded(table, [name for name in table.columns if not table.schema[name].is_float()])


def coded(table: pl.DataFrame, nominal: list[str]) -> tuple[list[str], Floats]:
    """Names with the mark of categories, and the rows as numbers: categories as the ranks of their texts."""
    codes = [pl.col(name).cast(pl.String).rank("dense").cast(pl.Float64) for name in nominal]
    names = [f"{name}:category" if name in nominal else name for name in table.columns]
    return names, table.with_columns(codes).to_numpy().astype(np.float64)
