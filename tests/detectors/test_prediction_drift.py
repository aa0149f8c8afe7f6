"""prediction_drift: what it sees and says about a model's answers."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import Any

import polars as pl
import pytest

from tests.generators.drift import calls
from tocsin.contract.findings import Finding
from tocsin.contract.windows import Baseline
from tocsin.errors import BaselineError
from tocsin.testing import evaluate

DAY = 40
SCORE, LABEL, CONFIDENCE = "tocsin.output.score", "tocsin.output.label", "tocsin.output.confidence"


@pytest.fixture(scope="module")
def baseline() -> Baseline:
    return fitted(calls(2000, seed=20, days=28))


def fitted(trusted: pl.DataFrame) -> Baseline:
    result = evaluate("prediction_drift", {"inference": trusted.head(1)}, baseline={"inference": trusted})
    assert result.baseline is not None
    return result.baseline


def finding(events: pl.DataFrame, baseline: Baseline, **params: Any) -> Finding:
    (found,) = evaluate("prediction_drift", {"inference": events}, baseline=baseline, params=params).findings
    return found


def test_a_finding_shows_answers_before_and_after(baseline):
    events = calls(1000, seed=2, day=DAY, change="indebted", share=0.5, version="2")
    found = finding(events, baseline)
    assert found.reason.startswith(
        "credit: cause unexplained: returns another score than before: mean 0.37, before 0.27"
    )
    assert found.reason.endswith("; new model version 2")
    evidence: Any = found.evidence
    score = evidence["outputs"][0]
    assert score["output"] == "score"
    assert score["mean"][1] > score["mean"][0]
    assert (sum(score["baseline"]), sum(score["window"])) == (2000, 1000)
    assert sum(counts[1] for counts in evidence["labels"].values()) == 1000
    assert evidence["tests"]["score mean"] < 1e-6
    assert json.loads(json.dumps(evidence, allow_nan=False)) == evidence


def test_labels_alone_are_enough():
    only = ["@timestamp", "event.id", "tocsin.model.name", LABEL]
    baseline = fitted(calls(2000, seed=20, days=28).select(only))
    found = finding(calls(1000, seed=2, day=DAY, change="indebted").select(only), baseline)
    assert found.reason.startswith("credit: cause unexplained: returns another mix of labels than before")
    quiet = calls(1000, seed=3, day=DAY).select(only)
    assert not evaluate("prediction_drift", {"inference": quiet}, baseline=baseline).findings


def test_scores_of_a_regression_are_enough():
    def amounts(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.select("@timestamp", "event.id", "tocsin.model.name", pl.col(SCORE) * 1e5)

    baseline = fitted(amounts(calls(2000, seed=20, days=28)))
    assert finding(amounts(calls(1000, seed=2, day=DAY, change="indebted")), baseline).severity == "critical"


@pytest.mark.parametrize("column", [SCORE, LABEL, CONFIDENCE])
def test_an_output_that_stops_is_seen(baseline, column):
    events = calls(1000, seed=4, day=DAY).with_columns(pl.lit(None).alias(column))
    found = evaluate("prediction_drift", {"inference": events}, baseline=baseline).findings
    assert bool(found) == (column != CONFIDENCE)  # the score says all that a confidence can say


def test_a_label_that_nobody_had_is_seen(baseline):
    events = calls(1000, seed=5, day=DAY).with_columns(
        pl.when(pl.int_range(pl.len()) % 20 == 0).then(pl.lit("maybe")).otherwise(LABEL).alias(LABEL)
    )
    evidence: Any = finding(events, baseline).evidence
    assert evidence["labels"]["maybe"] == [0, 50]


def test_a_baseline_survives_parquet(baseline):
    frames = {}
    for name, frame in baseline.frames.items():
        file = io.BytesIO()
        frame.write_parquet(file)
        frames[name] = pl.read_parquet(file.getvalue())
    events = calls(500, seed=6, day=DAY, change="indebted")
    kept = replace(baseline, frames=frames)
    assert kept.digest == baseline.digest
    assert finding(events, kept).score == finding(events, baseline).score


def test_the_threshold_allows_half_an_alarm_in_a_hundred_windows(baseline):
    assert baseline.threshold == pytest.approx(2.576)


def test_quiet_windows_of_any_size_stay_quiet(baseline):
    for rows in (200, 1000, 5000):
        events = pl.concat([calls(rows, seed=k, day=DAY + k) for k in range(10)])
        scores = evaluate("prediction_drift", {"inference": events}, baseline=baseline).scores
        assert (scores["score"] >= scores["threshold"]).sum() <= 1
        assert (scores["score"] < 1.5 * scores["threshold"]).all()


def test_models_are_judged_one_by_one():
    trusted = pl.concat([calls(1000, seed=k, days=28, model=f"m{k}") for k in (20, 21)])
    events = pl.concat(
        [
            calls(800, seed=9, day=DAY, model="m20"),
            calls(800, seed=10, day=DAY, model="m21", change="indebted"),
            calls(800, seed=11, day=DAY, model="new"),
        ]
    )
    result = evaluate("prediction_drift", {"inference": events}, baseline={"inference": trusted})
    assert result.scores["subject.id"].to_list() == ["m20", "m21", "new"]
    assert [f.reason for f in result.findings if f.aspect] == [
        "not judged: new answered 800 calls; its baseline has no such model"
    ]
    assert [found.subject.id for found in result.findings] == ["m21", "new"]


def test_a_large_window_is_sampled_and_judged_by_the_size_of_the_change(baseline):
    events = calls(6000, seed=15, day=DAY, change="indebted")
    evidence: Any = finding(events, baseline, max_rows=2000).evidence
    assert (evidence["rows"], evidence["rows.judged"]) == (6000, 2000)
    assert finding(events, baseline, row_limit=200).score < 0.6 * finding(events, baseline).score


def test_a_short_history_is_refused():
    few = calls(150, seed=14, days=28)
    with pytest.raises(BaselineError, match="too little history"):
        evaluate("prediction_drift", {"inference": few}, baseline={"inference": few})
