"""feature_drift on rows in an order: the rows above the median of a column come after the others.

The baseline and the first windows have rows below the median of the column. A window is a day. Quiet windows are those
from the 17th on after the other rows begin. In the attack, a quarter of the rows of one window has another column
permuted or in other units.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.card import Row
from benchmarks.scorecards.drift import calls
from benchmarks.scorecards.verdicts import tables
from tocsin.testing.evaluate import evaluate

Floats = NDArray[np.float64]
BASELINE, ROWS, LOW, HIGH = 5_000, 300, 4, 24  # rows, and windows with rows below and above the median


def measure(seeds: Sequence[int]) -> list[Row]:
    """Findings of the first windows above the median, of those from the 17th on, and of an attack in the last one."""
    rows = []
    for table in tables(fitted=False):
        found: dict[str, list[bool]] = {"first": [], "later": [], "units": [], "permuted": []}
        for seed in seeds:
            rng = np.random.default_rng(seed)
            chosen = table.rows[rng.permutation(len(table.rows))[:22_000]]
            many = [j for j in range(chosen.shape[1]) if len(np.unique(chosen[:3000, j])) > 30]
            column, other = rng.choice(many), rng.choice(many)
            for kind in ("quiet", "units", "permuted"):
                hits = _alarms(table.names, _days(chosen, column, other, kind, rng))
                if kind == "quiet":
                    found["first"].append(any(hits[LOW : LOW + 2]))
                    found["later"] += hits[LOW + 16 :]
                else:
                    found[kind].append(hits[-1])
        cases = (
            ("the first windows of another group", "first", 1.0),
            ("from its 17th window on", "later", None),
        )
        damage = (
            ("units in a later window", "units", 1.0),
            ("a permuted column in a later window", "permuted", None),
        )
        for case, name, bar in (*cases, *damage):
            rate = float(np.mean(found[name]))
            rows.append(Row("feature_drift", table.name, case, "alarm rate", rate, len(found[name]), bar))
    return rows


def _days(rows: Floats, column: int, other: int, kind: str, rng: np.random.Generator) -> list[Floats]:
    """The rows of the baseline, then those of each window."""
    key = rows[:, column] > np.median(rows[:, column])
    low, high = rows[~key], rows[key]
    need = LOW * ROWS
    parts = [
        low[: min(BASELINE, len(low) - need)],
        *np.split(low[-need:], LOW),
        *np.split(high[: HIGH * ROWS], HIGH),
    ]
    last = parts[-1].copy()
    hit = rng.choice(ROWS, ROWS // 4, replace=False)
    if kind == "units":
        last[hit, other] *= 1000
    elif kind == "permuted":
        last[hit, other] = rng.permutation(last[hit, other])
    return [*parts[:-1], last]


def _alarms(names: list[str], parts: list[Floats]) -> list[bool]:
    days = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    frame = calls(names, np.concatenate(parts), np.full(len(days), 0.5), days)
    first = pl.col("@timestamp").dt.date() == frame["@timestamp"].dt.date().min()
    known, events = {"inference": frame.filter(first)}, {"inference": frame.filter(~first)}
    scores = evaluate("feature_drift", events, baseline=known).scores
    return (scores["score"] >= scores["threshold"]).to_list()
