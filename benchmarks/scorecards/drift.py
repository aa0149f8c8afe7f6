"""feature_drift and prediction_drift on credit applications, with a real model, and on census rows.

A window alarms when either detector has a finding. Windows are 1,000 rows that neither the model nor the
baseline has seen, no row twice in a window. Damage hits a share of the rows; the column is drawn anew
for each window among the columns with many different values (amounts of money).

A prior shift replaces rows by rows of clients who defaulted ("positives"), or by rows to which the model
says so ("positive answers"). The ceiling beside it is what the best test of the model's answers could
reach: their mean, one-sided, against a threshold taken from the quiet windows themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier

from benchmarks.card import SHARED, Row, credit, of_windows, shared
from tocsin.contract.windows import Baseline
from tocsin.testing.evaluate import evaluate

Floats = NDArray[np.float64]
Detectors = dict[str, Baseline]

START = datetime(2026, 1, 1, tzinfo=UTC)
LABEL = "default-payment-next-month"
ROWS = 1000
BASELINE_ROWS = 10_000
MODEL_ROWS = 8_000
NULL_WINDOWS = 200
WINDOWS = {0.1: 20, 0.25: 10}  # of each kind of damage and seed, by the share of rows that is hit


class Credit:
    """One shuffle of the credit rows: a model, a baseline, and a pool of fresh rows."""

    def __init__(self, seed: int) -> None:
        table = credit()
        self.rng = np.random.default_rng(seed)
        order = self.rng.permutation(len(table))
        self.names = [name for name in table.columns if name != LABEL]
        rows, truth = table.select(self.names).to_numpy().astype(float)[order], table[LABEL].to_numpy()[order]
        self.model = HistGradientBoostingClassifier(random_state=seed).fit(
            rows[:MODEL_ROWS], truth[:MODEL_ROWS]
        )
        used = MODEL_ROWS + BASELINE_ROWS
        self.baseline, self.pool = rows[MODEL_ROWS:used], rows[used:]
        self.truth = truth[used:]
        self.chosen = self.model.predict(self.pool)
        self.spread = self.baseline.std(axis=0)
        self.columns = [j for j in range(rows.shape[1]) if len(np.unique(self.baseline[:, j])) > 64]

    def draw(self) -> Floats:
        """A quiet window."""
        window: Floats = self.pool[self.rng.choice(len(self.pool), ROWS, replace=False)]
        return window

    def frame(self, windows: list[Floats]) -> pl.DataFrame:
        """Calls of the model, one window a day."""
        rows = np.concatenate(windows)
        days = np.repeat(np.arange(len(windows)), [len(window) for window in windows])
        return calls(self.names, rows, self.model.predict_proba(rows)[:, 1], days)


def calls(names: list[str], rows: Floats, scores: Floats, days: NDArray[np.int64]) -> pl.DataFrame:
    """Events of the inference stream for a binary classifier."""
    within = np.arange(len(rows)) % 86_000
    return pl.DataFrame(
        {
            "@timestamp": [
                START + timedelta(days=int(d), seconds=int(s)) for d, s in zip(days, within, strict=True)
            ],
            "tocsin.model.name": "credit",
            "tocsin.model.version": "1",
            "tocsin.features.names": ",".join(names),
            "tocsin.features.values": pl.Series(rows.tolist(), dtype=pl.List(pl.Float64)),
            "tocsin.output.label": pl.Series((scores >= 0.5).astype(int)).cast(pl.String),
            "tocsin.output.score": scores,
            "tocsin.output.confidence": np.maximum(scores, 1 - scores),
        }
    )


def damage(data: Credit, kind: str, share: float) -> Floats:
    """A window of which a share of the rows is damaged in one way."""
    if kind in ("positives", "positive answers"):
        return _more_positives(data, share, data.chosen if kind == "positive answers" else data.truth)
    if kind == "subpopulation":
        return _more_of_a_third(data, share)
    window = data.draw()
    hit = data.rng.choice(ROWS, int(share * ROWS), replace=False)
    column = data.rng.choice(data.columns)
    values = window[hit, column]
    changed: dict[str, Callable[[], Floats]] = {
        "units": lambda: values * data.rng.choice([1e-3, 1e3]),
        "zeroing": lambda: values * 0,
        "shift by 1 sd": lambda: values + data.spread[column],
        "scale by 1.5": lambda: values * 1.5,
        "correlation break": lambda: data.rng.permutation(values),
    }
    window[hit, column] = changed[kind]()
    return window


def _more_positives(data: Credit, share: float, truth: NDArray[np.int64]) -> Floats:
    return _mixed(data, share, np.flatnonzero(truth == 1))


def _more_of_a_third(data: Credit, share: float) -> Floats:
    column = data.rng.choice(data.columns)
    return _mixed(data, share, np.argsort(data.pool[:, column])[-len(data.pool) // 3 :])


def _mixed(data: Credit, share: float, source: NDArray[np.int64]) -> Floats:
    """A window of which a share comes from some rows of the pool only, no row twice."""
    special = data.rng.choice(source, int(share * ROWS), replace=False)
    rest = np.setdiff1d(np.arange(len(data.pool)), special)
    others = data.rng.choice(rest, ROWS - len(special), replace=False)
    window: Floats = data.pool[np.concatenate((special, others))]
    return window


def fitted(frame: pl.DataFrame, quiet: pl.DataFrame) -> tuple[Detectors, pl.DataFrame]:
    """Both detectors' baselines, and their scores on quiet windows."""
    baselines, scores = {}, []
    for detector in ("feature_drift", "prediction_drift"):
        result = evaluate(detector, {"inference": quiet}, baseline={"inference": frame})
        assert result.baseline is not None
        baselines[detector] = result.baseline
        scores.append(result.scores.with_columns(detector=pl.lit(detector)))
    return baselines, pl.concat(scores)


def scored(baselines: Detectors, frame: pl.DataFrame) -> pl.DataFrame:
    """Scores of both detectors, a row for each detector and window."""
    return pl.concat(
        evaluate(detector, {"inference": frame}, baseline=baseline).scores.with_columns(
            detector=pl.lit(detector)
        )
        for detector, baseline in baselines.items()
    )


def ratios(scores: pl.DataFrame, detector: str | None = None) -> list[float]:
    """Of each window, the highest score in thresholds: 1 or more is an alarm."""
    return of_windows(scores if detector is None else scores.filter(pl.col("detector") == detector))


def alarms(scores: pl.DataFrame, detector: str | None = None) -> list[bool]:
    """Of each window, whether it alarms."""
    return [ratio >= 1 for ratio in ratios(scores, detector)]


KINDS = (
    "units",
    "zeroing",
    "positives",
    "positive answers",
    "subpopulation",
    "correlation break",
    "shift by 1 sd",
    "scale by 1.5",
)
BARS = {"units": 0.95, "zeroing": 0.95, "positives": 0.95}


def measure(seeds: Sequence[int]) -> list[Row]:
    """The rates of alarms, each over all seeds."""
    quiet: dict[str, list[float]] = {}
    hits: dict[tuple[str, float], list[float]] = {}
    best: list[float] = []
    for seed in seeds:
        data = Credit(seed)
        null = data.frame([data.draw() for _ in range(NULL_WINDOWS)])
        baselines, scores = fitted(data.frame([data.baseline]), null)
        quiet.setdefault("both", []).extend(ratios(scores))
        for detector in baselines:
            quiet.setdefault(detector, []).extend(ratios(scores, detector))
        cells = [(kind, share) for share in WINDOWS for kind in KINDS]
        frames = {cell: data.frame([damage(data, *cell) for _ in range(WINDOWS[cell[1]])]) for cell in cells}
        for cell, frame in frames.items():
            hits.setdefault(cell, []).extend(ratios(scored(baselines, frame)))
        best += ceiling(null, frames["positives", 0.1])
    rows = [
        _row(name, "quiet windows", "alarm rate", found, 0.03, quiet=True) for name, found in quiet.items()
    ]
    of = "feature_drift+prediction_drift", "credit_default", "quiet windows"
    rows.append(shared(of, "FPR at 1.5 thresholds", quiet["both"], least=1.5, quiet=True))
    for (kind, share), found in hits.items():
        bar = BARS.get(kind) if share == 0.1 else None
        rows.append(_row("both", f"{kind}, {share:.0%} of rows", "TPR", found, bar))
    rows.append(_row("ceiling", "positives, 10% of rows", "TPR", best))
    return [*rows, *(census() if 0 in seeds else ())]


def ceiling(quiet: pl.DataFrame, shifted: pl.DataFrame) -> list[float]:
    """The mean answer of each window, in thresholds at 1 % of the quiet windows."""
    means = [
        frame.group_by(pl.col("@timestamp").dt.date()).agg(pl.col("tocsin.output.score").mean())
        for frame in (quiet, shifted)
    ]
    threshold = np.quantile(means[0]["tocsin.output.score"].to_numpy(), 0.99)
    found: list[float] = (means[1]["tocsin.output.score"] / threshold).to_list()
    return found


def census() -> list[Row]:
    """Census rows of 2016 in their order against a baseline of 2015: nothing of note happened."""
    folder = SHARED / "acs_employment_nannyml"
    before = pl.read_parquet(folder / "employment_MA_reference.pq").filter(pl.col("year") == 2015)
    after = pl.read_parquet(folder / "employment_MA_2016.pq")
    kept = sorted(set(before.columns) - {"id", "year", "employed", "prediction", "predicted_probability"})
    names = [name if before.schema[name].is_float() else f"{name}:category" for name in kept]
    features = [pl.col(name).cast(pl.String).cast(pl.Float64) for name in kept]
    windows = len(after) // ROWS

    def frame(table: pl.DataFrame, days: NDArray[np.int64]) -> pl.DataFrame:
        scores = table["predicted_probability"].to_numpy()
        return calls(names, table.select(features).to_numpy(), scores, days)

    baseline = frame(before.head(BASELINE_ROWS), np.zeros(BASELINE_ROWS, dtype=np.int64))
    stream = frame(after.head(windows * ROWS), np.repeat(np.arange(windows), ROWS))
    _, scores = fitted(baseline, stream)
    return [_row("both", "a quiet year", "alarm rate", ratios(scores), quiet=True, data="acs_employment")]


def _row(
    detector: str,
    case: str,
    metric: str,
    found: list[float],
    bar: float | None = None,
    *,
    quiet: bool = False,
    data: str = "credit_default",
) -> Row:
    name = "feature_drift+prediction_drift" if detector == "both" else detector
    return shared((name, data, case), metric, found, bar, quiet=quiet)
