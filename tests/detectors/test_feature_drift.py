"""feature_drift: what it sees and says, how it reads vectors, and how often it is wrong."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest

from benchmarks.scorecards import drift as scorecard
from tests.generators.drift import NAMES, calls
from tocsin.contract.windows import Baseline
from tocsin.errors import BaselineError
from tocsin.testing import evaluate
from tocsin_detectors._vectors import Vectors

VALUES = "tocsin.features.values"
SCHEMA = "tocsin.features.names"
DAY = 40


@pytest.fixture(scope="module")
def baseline() -> Baseline:
    trusted = calls(2000, seed=20, days=28)
    fitted = evaluate(
        "feature_drift", {"inference": trusted.head(1)}, baseline={"inference": trusted}
    ).baseline
    assert fitted is not None
    return fitted


def judged(events: pl.DataFrame, baseline: Baseline, **params: Any) -> tuple[float, dict[str, Any], str]:
    result = evaluate("feature_drift", {"inference": events}, baseline=baseline, params=params)
    finding = next(iter(result.findings), None)
    return result.scores["score"][0], dict(finding.evidence) if finding else {}, result.scores["reason"][0]


def test_a_finding_shows_what_moved_before_and_after(baseline):
    _, evidence, reason = judged(calls(1000, seed=2, day=DAY, change="units", share=0.1), baseline)
    assert reason.startswith(
        "credit: cause unexplained: receives other inputs than before: income has its values in other shares; "
    )
    assert {"income", "debt"} <= set(evidence["moved"])
    top = evidence["features"][0]
    assert top["feature"] == "income"
    assert sum(top["baseline"]) == evidence["baseline.rows"] == 2000
    assert sum(top["window"]) == evidence["rows"] == 1000
    assert len(top["baseline"]) == len(top["window"]) == len(top["marks"]) + 2  # beyond the last, and missing
    assert top["psi"] > 0.05
    assert json.loads(json.dumps(evidence, allow_nan=False)) == evidence


def test_only_the_relation_of_shuffled_values_is_new(baseline):
    _, evidence, reason = judged(calls(1000, seed=3, day=DAY, change="shuffled", share=0.4), baseline)
    assert "income no longer fits the other features" in reason
    assert set(evidence["moved"]) <= {"income", "debt"}
    assert {feature["test"] for feature in evidence["features"][:2]} == {"relation"}


def test_missing_and_infinite_values_count_as_missing(baseline):
    events = calls(1000, seed=4, day=DAY, change="missing", share=0.1)
    as_null = events.with_columns(pl.col(VALUES).list.eval(pl.element().fill_nan(None)))
    as_infinity = events.with_columns(pl.col(VALUES).list.eval(pl.element().fill_nan(float("inf"))))
    scores = {judged(frame, baseline)[0] for frame in (events, as_null, as_infinity)}
    assert len(scores) == 1
    assert scores.pop() > 5


def test_a_schema_that_changed_is_evidence(baseline):
    events = calls(1000, seed=5, day=DAY, change="new_schema", version="2")
    moved = events.with_columns(pl.col(VALUES).list.eval(pl.element() * 3))
    _, evidence, _ = judged(moved, baseline)
    assert (evidence["added"], evidence["removed"]) == (["tenure"], ["income"])
    assert (evidence["versions"], evidence["baseline.versions"]) == (["2"], ["1"])


def test_two_schemas_in_one_window_share_their_features(baseline):
    old, new = calls(600, seed=6, day=DAY), calls(600, seed=7, day=DAY, change="new_schema", version="2")
    score, _, reason = judged(pl.concat([old, new]), baseline)
    assert score < 2.576
    assert "of 6 features" in reason


@pytest.mark.parametrize("names", [None, "one,two", ",".join(f"other_{k}" for k in range(6))])
def test_vectors_without_the_baseline_s_names_are_judged_by_place(baseline, names):
    for change, found in (("none", False), ("units", True)):
        events = calls(1000, seed=2, day=DAY, change=change, share=0.1)
        renamed = events.with_columns(pl.lit(names, dtype=pl.String).alias(SCHEMA))
        assert judged(renamed, baseline) == judged(events, baseline)
        assert (judged(renamed, baseline)[0] >= 2.576) is found


@pytest.mark.parametrize("names", [None, "one,two", "x,y,z"])
def test_vectors_of_another_length_are_reported_as_not_judged(baseline, names):
    events = calls(500, seed=8, day=DAY).with_columns(pl.lit(names, dtype=pl.String).alias(SCHEMA))
    short = events.with_columns(pl.col(VALUES).list.head(3))
    result = evaluate("feature_drift", {"inference": short}, baseline=baseline)
    assert {(f.aspect, f.severity.value) for f in result.findings} >= {("missing features", "high")}
    assert "not judged: 500 calls to credit lack the feature" in result.findings[0].reason


def test_no_form_of_the_vectors_hides_a_shift(baseline):
    events = calls(1000, seed=2, day=DAY, change="units", share=0.1)
    names = events[SCHEMA][0].split(",")
    turned = events.with_columns(
        pl.lit(",".join(reversed(names))).alias(SCHEMA), pl.col(VALUES).list.reverse()
    )
    spelled = events.with_columns(pl.lit(",".join(f" {n.upper()}" for n in names)).alias(SCHEMA))
    padded = events.with_columns(
        pl.lit(",".join([*names, "dummy"])).alias(SCHEMA), pl.concat_list(VALUES, pl.lit(0.0)).alias(VALUES)
    )
    mixed = pl.concat([turned.head(300), spelled.slice(300, 300), padded.tail(400)])
    score = judged(events, baseline)[0]
    for form in (turned, spelled, padded, mixed):
        assert judged(form, baseline)[0] == pytest.approx(score, rel=0.001)


def test_vectors_of_every_kind():
    rows = pl.DataFrame(
        {
            SCHEMA: ["a,b", "b,c", "a,b", None, "a,b", "a,b"],
            VALUES: [[1.0, 2.0], [3.0, None], [5.0], [7.0], None, []],
        }
    )
    vectors = Vectors.of(rows)
    assert vectors.names == ["a", "b", "c", "feature_0"]
    assert vectors.column("b").tolist() == [2, 3]
    assert np.isnan(vectors.column("c")).tolist() == [True]
    assert vectors.matrix(["b", "a"]).tolist() == [[2, 1]]
    assert vectors.matrix(["a", "c"]).shape == (0, 2)
    assert vectors.malformed == 3


def test_the_commonest_schemas_are_kept_whatever_comes_before_them():
    flood = [(f"junk{i}", [1.0]) for i in range(300)]
    rows = pl.DataFrame(
        [*flood, *[("a,b", [1.0, 2.0])] * 50], {SCHEMA: pl.String, VALUES: pl.List(pl.Float64)}, orient="row"
    )
    vectors = Vectors.of(rows).commonest(100)
    assert len(vectors.blocks) == 100
    assert vectors.lacking("a") == 300
    assert len(vectors.matrix(["a", "b"])) == 50


def test_a_flood_of_schemas_does_not_keep_a_model_out_of_the_baseline():
    trusted = calls(2000, seed=20, days=28)
    junk = pl.concat([trusted.head(1)] * 300).with_columns(
        pl.Series(SCHEMA, [f"junk{i}" for i in range(300)]),
        pl.lit([1.0]).alias(VALUES),
        pl.Series("event.id", [f"junk-{i}" for i in range(300)]),
    )
    known = {"inference": pl.concat([junk, trusted])}
    events = {"inference": calls(1000, seed=2, day=DAY, change="units")}
    assert [
        f.severity.value for f in evaluate("feature_drift", events, baseline=known).findings if not f.aspect
    ] == ["critical"]


def test_models_are_judged_one_by_one():
    trusted = pl.concat([calls(1500, seed=k, days=28, model=f"m{k}") for k in (20, 21)])
    events = pl.concat(
        [
            calls(800, seed=9, day=DAY, model="m20"),
            calls(800, seed=10, day=DAY, model="m21", change="units", share=0.2),
            calls(800, seed=11, day=DAY, model="new"),
        ]
    )
    result = evaluate("feature_drift", {"inference": events}, baseline={"inference": trusted})
    assert result.scores["subject.id"].to_list() == ["m20", "m21", "new"]
    assert [f.reason for f in result.findings if f.aspect] == [
        "not judged: new answered 800 calls; its baseline has no such model"
    ]
    assert [finding.subject.id for finding in result.findings] == ["m21", "new"]


def test_a_baseline_survives_parquet(baseline):
    frames = {}
    for name, frame in baseline.frames.items():
        file = io.BytesIO()
        frame.write_parquet(file)
        frames[name] = pl.read_parquet(file.getvalue())
    events = calls(500, seed=12, day=DAY, change="shuffled")
    kept = replace(baseline, frames=frames)
    assert kept.digest == baseline.digest
    assert judged(events, kept)[0] == judged(events, baseline)[0]


def test_the_threshold_allows_half_an_alarm_in_a_hundred_windows(baseline):
    assert baseline.threshold == pytest.approx(2.576)


def test_calls_that_come_in_bursts_raise_the_threshold():
    trusted = calls(3000, seed=13, days=28)
    rows = np.random.default_rng(0).permutation(3000 // 60).repeat(60)
    bursts = pl.concat([calls(60, seed=100 + k, days=1).head(1).select(VALUES) for k in range(50)])
    events = trusted.with_columns(bursts[VALUES].gather(rows))
    fitted = evaluate("feature_drift", {"inference": events.head(1)}, baseline={"inference": events}).baseline
    assert fitted is not None
    assert fitted.threshold is not None
    assert fitted.threshold > 2 * 2.3


def test_a_short_history_is_refused():
    few = calls(150, seed=14, days=28)
    with pytest.raises(BaselineError, match="too little history"):
        evaluate("feature_drift", {"inference": few}, baseline={"inference": few})


def test_a_large_window_is_sampled_and_judged_by_the_size_of_the_change(baseline):
    events = calls(6000, seed=15, day=DAY, change="units", share=0.1)
    _, evidence, _ = judged(events, baseline, max_rows=2000)
    assert (evidence["rows"], evidence["rows.judged"]) == (6000, 2000)
    assert judged(events, baseline, row_limit=500)[0] < 0.7 * judged(events, baseline)[0]


def test_one_feature_is_enough():
    one = [
        frame.with_columns(pl.col(VALUES).list.head(1), pl.lit(NAMES.split(",", maxsplit=1)[0]).alias(SCHEMA))
        for frame in (calls(1000, seed=20, days=28), calls(500, seed=16, day=DAY, change="units", share=0.2))
    ]
    result = evaluate("feature_drift", {"inference": one[1]}, baseline={"inference": one[0]})
    assert [finding.severity for finding in result.findings] == ["critical"]


def test_credit_applications_quiet_and_damaged(shared_data):
    shared_data("credit_default_uci")
    data = scorecard.Credit(0)
    quiet = data.frame([data.draw() for _ in range(10)])
    baselines, scores = scorecard.fitted(data.frame([data.baseline]), quiet)
    assert sum(scorecard.alarms(scores)) <= 1
    assert (scores["score"] < 1.5 * scores["threshold"]).all()
    for kind in ("units", "zeroing"):
        damaged = data.frame([scorecard.damage(data, kind, 0.1) for _ in range(6)])
        assert sum(scorecard.alarms(scorecard.scored(baselines, damaged))) >= 5


def test_calls_that_are_spread_over_made_up_models_are_reported(baseline):
    events = calls(1000, seed=2, day=DAY, change="units")
    spread = events.with_columns(
        ("m" + (pl.int_range(pl.len()) % 100).cast(pl.String)).alias("tocsin.model.name")
    )
    for detector in ("feature_drift", "prediction_drift"):
        fitted = baseline
        if detector == "prediction_drift":
            trusted = calls(2000, seed=20, days=28)
            fitted = evaluate(
                detector, {"inference": trusted.head(1)}, baseline={"inference": trusted}
            ).baseline
        (finding,) = evaluate(detector, {"inference": spread}, baseline=fitted).findings
        assert (finding.aspect, finding.severity.value) == ("small models", "high")
        assert finding.reason == "not judged: 1,000 calls to 100 models with fewer than 200 calls each"
