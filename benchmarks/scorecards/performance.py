"""The detector `performance` on answers and labels of real and synthetic models, in their own order.

`acs_employment`: census rows of 2016 against 2015, nearly stationary: quiet windows, and the error of the estimate of a
year's accuracy. `car_loan`: NannyML's synthetic set, whose inputs change after half of the rows. `concept`: the census
rows of 2016 with the labels of another row in most of the rows, so that the AUC falls to about .58; the labels arrive
twenty days late.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from benchmarks.card import SHARED, Row, of_windows, shared
from tocsin.stats.performance import Calibration, auc, expected_accuracy
from tocsin.testing.evaluate import evaluate

START = datetime(2026, 1, 1, tzinfo=UTC)
BASELINE_ROWS, ROWS, DELAY = 10_000, 1_000, 20
Events = dict[str, pl.DataFrame]


def measure(seeds: Sequence[int]) -> list[Row]:
    """The rates of alarms, the delay in windows after the arrival of the first labels, and the estimate's error."""
    before, after = _census("employment_MA_reference.pq"), _census("employment_MA_2016.pq")
    baseline = _fitted(before)
    late = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        labels = after["truth"].to_numpy().copy()
        hit = rng.random(len(labels)) < 0.8
        labels[hit] = rng.permutation(labels[hit])
        found = _ratios(baseline, after.with_columns(truth=labels).head(5 * ROWS), DELAY)
        late.append(max(found[:2]))
    of = "performance", "acs_employment", "labels fit 20% of rows"
    rows = [shared(of, "in 2 windows", late, 1.0)]
    if 0 not in seeds:
        return rows
    of = "performance", "acs_employment", "a quiet year"
    rows.append(shared(of, "alarm rate", _ratios(baseline, after), 0.01, quiet=True))
    rows += _estimates(before.tail(BASELINE_ROWS), after)
    loans = _loans("reference", "reference"), _loans("analysis", "analysis_target")
    found = _ratios(_fitted(loans[0]), loans[1])
    half = len(found) // 2
    before_it, after_it = (("performance", "car_loan", f"{when} the change") for when in ("before", "after"))
    rows.append(shared(before_it, "alarm rate", found[:half], 0.02, quiet=True))
    return [*rows, shared(after_it, "TPR", found[half:])]


def _estimates(known: pl.DataFrame, year: pl.DataFrame) -> list[Row]:
    calibration = Calibration.of(known["score"].to_numpy(), known["truth"].to_numpy() == 1)
    scores, truth = year["score"].to_numpy(), year["truth"].to_numpy() == 1
    p, answered = calibration.of_scores(scores), year["answer"].to_numpy() == 1
    accuracy = abs(expected_accuracy(p, answered, len(known)).value - float((answered == truth).mean()))
    area = abs(auc(scores, p).value - auc(scores, truth).value)
    named = {"estimated accuracy of a year": accuracy, "estimated AUC of a year": area}
    return [
        Row("performance", "acs_employment", case, "error", e, len(year), 0.01, "<=")
        for case, e in named.items()
    ]


def _fitted(known: pl.DataFrame) -> Any:
    known = known.tail(BASELINE_ROWS)
    trusted = _events(known, np.arange(len(known)) * 28 // len(known))
    return evaluate("performance", trusted, baseline=trusted).baseline


def _ratios(baseline: Any, rows: pl.DataFrame, delay: int = 0) -> list[float]:
    """Of each window with labels, the score in thresholds."""
    windows = len(rows) // ROWS
    days = 40 + np.repeat(np.arange(windows), ROWS)
    scores = evaluate(
        "performance", _events(rows.head(windows * ROWS), days, delay), baseline=baseline
    ).scores
    return of_windows(scores.filter(pl.col("window.start") >= START + timedelta(days=40 + delay)))


def _events(rows: pl.DataFrame, days: Any, delay: int = 0) -> Events:
    ids = [f"{days[0]}-{k}" for k in range(len(rows))]
    times = [START + timedelta(days=int(day), seconds=k % 80_000) for k, day in enumerate(days)]
    calls = pl.DataFrame({"@timestamp": times, "event.id": ids, "tocsin.model.name": "model"})
    labels = pl.DataFrame(
        {
            "@timestamp": [time + timedelta(days=delay) for time in times],
            "event.id": [f"label-{id}" for id in ids],
            "tocsin.model.name": "model",
            "tocsin.label.of": ids,
            "tocsin.label.value": rows["truth"].cast(pl.String),
        }
    )
    answers = rows.select(
        pl.col("score").alias("tocsin.output.score"),
        pl.col("answer").cast(pl.String).alias("tocsin.output.label"),
    )
    return {"inference": calls.hstack(answers), "label": labels}


def _census(file: str) -> pl.DataFrame:
    rows = pl.read_parquet(SHARED / "acs_employment_nannyml" / file)
    return _columns(rows, "predicted_probability", "prediction", "employed")


def _loans(part: str, truth: str) -> pl.DataFrame:
    folder = SHARED / "synth_car_loan_nannyml"
    rows = pl.read_csv(folder / f"synthetic_car_loan_{part}.csv.gz", infer_schema_length=10_000)
    if truth != part:
        rows = rows.join(pl.read_csv(folder / f"synthetic_car_loan_{truth}.csv.gz"), on="id")
    return _columns(rows, "y_pred_proba", "y_pred", "repaid")


def _columns(rows: pl.DataFrame, score: str, answer: str, truth: str) -> pl.DataFrame:
    return rows.select(
        score=pl.col(score), answer=pl.col(answer).cast(pl.Int64), truth=pl.col(truth).cast(pl.Int64)
    )
