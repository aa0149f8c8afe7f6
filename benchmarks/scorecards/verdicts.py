"""Verdicts of feature_drift, prediction_drift and performance on scripted and real causes.

A series is the calls of a model by 12 to 30 callers on the days that a verdict reads; the last day is judged. Each
caller has a population of its own: rows with high or low values of one column are commoner. The same kinds of change
(units, zeros, a scale, missing and permuted values, other clients, other answers) happen in every class:

attack: one caller, new callers, or accounts of one address, for one to four days; on every seventh day; beside an honest
or a forged deployment; or for all callers by somebody who never deployed before, or by a version without a deployment.
pipeline change: all callers, from a deployment of a new version or of a pipeline on. calendar: all callers, on the same
day of the week or of the month. unexplained: all callers, suddenly or growing for weeks, with deployments at other
times or of other models; and a part of the second half of the car loans, whose inputs have changed (drift).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.card import SHARED, Row, credit
from benchmarks.scorecards.relations import coded
from benchmarks.scorecards.verdict_series import DAY, Floats, Series, Table, World, events
from tocsin.contract.evaluation import fit, judge
from tocsin.contract.verdict import Verdict
from tocsin.contract.windows import Baseline, FrameSource, Window
from tocsin_detectors import feature_drift, performance, prediction_drift

TRUSTED, SERIES = 6_000, 6  # calls of a baseline, and series of each cause for each seed
CLASSES = (Verdict.ATTACK, Verdict.PIPELINE_CHANGE, Verdict.CALENDAR, Verdict.UNEXPLAINED)
_CALM = (Verdict.PIPELINE_CHANGE, Verdict.CALENDAR)
DETECTORS = (
    feature_drift.FeatureDrift(feature_drift.Params()),
    prediction_drift.PredictionDrift(prediction_drift.Params()),
    performance.Performance(performance.Params()),
)


def baselines(table: Table, world: World) -> dict[str, Baseline]:
    """The baselines of all detectors, from a day with many calls."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    calls, labels = events(table, [(start, world.day(TRUSTED))])
    window = Window(start, start + DAY, FrameSource.of({"inference": calls, "label": labels}))
    return {detector.id: fit(detector, window, 0.01) for detector in DETECTORS}


def tables(*, fitted: bool = True) -> list[Table]:
    """Credit applications, car loans and census rows."""
    data = credit()
    label = "default-payment-next-month"
    names = [name for name in data.columns if name != label]
    found = [
        Table("credit_default", names, data.select(names).to_numpy().astype(float), data[label].to_numpy())
    ]
    loans = [_loans("reference"), _loans("analysis")]
    half = len(loans[1][1]) // 2
    found.append(Table("car_loan", *loans[0], later=(loans[1][1][half:], loans[1][2][half:])))
    census = pl.read_parquet(SHARED / "acs_employment_nannyml" / "employment_MA_reference.pq")
    truth = census["employed"].cast(pl.Int64).to_numpy()
    rows = census.drop("id", "year", "employed", "prediction", "predicted_probability")
    found.append(
        Table(
            "acs_employment", *coded(rows, [n for n in rows.columns if not rows.schema[n].is_float()]), truth
        )
    )
    return [table.fitted() for table in found] if fitted else found


def _loans(part: str) -> tuple[list[str], Floats, NDArray[np.int64]]:
    folder = SHARED / "synth_car_loan_nannyml"
    table = pl.read_csv(folder / f"synthetic_car_loan_{part}.csv.gz", infer_schema_length=10_000)
    if part == "analysis":
        target = pl.read_csv(folder / "synthetic_car_loan_analysis_target.csv.gz")
        table = table.join(target.select("id", "repaid"), on="id", how="left")
    truth = table["repaid"].cast(pl.Int64).to_numpy()
    table = table.drop("id", "timestamp", "repaid", "y_pred", "y_pred_proba")
    return *coded(table, [n for n in table.columns if not table.schema[n].is_float()]), truth


def measure(seeds: Sequence[int]) -> list[Row]:
    """Of each cause, the share of its findings with that verdict; their mean; and attacks that are called harmless."""
    rows = []
    for table in tables():
        counts, _ = confusion(table, seeds)
        rows += _rows(table.name, counts)
    return rows


def confusion(
    table: Table, seeds: Sequence[int]
) -> tuple[Counter[tuple[Verdict, str]], list[tuple[str, ...]]]:
    """How often findings about each cause have each verdict, and each finding in detail."""
    counts: Counter[tuple[Verdict, str]] = Counter()
    detail: list[tuple[str, ...]] = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        world = World(table, rng)
        known = baselines(table, world)
        for cause in CLASSES:
            for _ in range(SERIES):
                series = Series(world, cause)
                window = series.window()
                for detector in DETECTORS:
                    for judged in judge(detector, window.with_baseline(known[detector.id])):
                        if judged.finding and not judged.score.aspect:
                            evidence = {name: str(value) for name, value in judged.finding.evidence.items()}
                            counts[cause, evidence["verdict"]] += 1
                            why = (evidence["verdict"], evidence["verdict_for"], evidence["verdict_against"])
                            detail.append((cause.value, series.kind, detector.id, *why))
    return counts, detail


def _rows(data: str, counts: Counter[tuple[Verdict, str]]) -> list[Row]:
    rows, found = [], {cause: sum(n for (of, _), n in counts.items() if of is cause) for cause in CLASSES}
    for cause in CLASSES:
        right = {cause, Verdict.DRIFT} if cause is Verdict.UNEXPLAINED else {cause}
        value = sum(counts[cause, verdict.value] for verdict in right) / max(found[cause], 1)
        rows.append(Row("shifts", data, f"verdict on {cause.value}", "recall", value, found[cause]))
    mean, total = float(np.mean([row.value for row in rows])), sum(found.values())
    rows.append(Row("shifts", data, "verdicts, balanced accuracy", "mean recall", mean, total, 0.8))
    calm = sum(counts[Verdict.ATTACK, verdict.value] for verdict in _CALM) / max(found[Verdict.ATTACK], 1)
    case = "attacks called calendar or pipeline change"
    return [*rows, Row("shifts", data, case, "share", calm, found[Verdict.ATTACK], 0.02, "<=")]
