"""`label_poisoning`: its mathematics, what it keeps apart, and what it does with odd snapshots."""

from __future__ import annotations

import functools
import gzip
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.generators.data_integrity import LABEL, applications
from tocsin.contract.evaluation import fit
from tocsin.contract.findings import Severity
from tocsin.contract.windows import Baseline, FrameSource, Window
from tocsin.errors import BaselineError
from tocsin.stats.encoding import Encoder, label_text, plain
from tocsin.stats.itemsets import ItemScan, excess
from tocsin.stats.residuals import flip_deviates, flip_null, flip_terms, unskewed
from tocsin.testing.evaluate import Evaluation, evaluate
from tocsin_detectors.label_poisoning import LabelPoisoning, Params

START = datetime(2026, 3, 2, tzinfo=UTC)
QUICK = Params(chunks=20)
DEFAULT = Params()


def event(digest: str, day: int = 0, dataset: str = "loans", label: str | None = LABEL) -> dict[str, object]:
    return {
        "@timestamp": START + timedelta(days=day),
        "user.id": "feed",
        "tocsin.dataset.name": dataset,
        "tocsin.dataset.digest": digest,
        "tocsin.dataset.label": label,
    }


def judged(
    frames: dict[str, pl.DataFrame],
    baseline: dict[str, pl.DataFrame] | Baseline,
    label: str = LABEL,
    settings: Params = QUICK,
) -> Evaluation:
    """Frames as snapshots of one day, against frames or a fitted baseline."""
    rows = dict(frames)
    trusted: dict[str, pl.DataFrame] | Baseline = baseline if isinstance(baseline, Baseline) else {}
    if not isinstance(baseline, Baseline):
        trusted = {"dataset": pl.DataFrame([event(d, i, label=label) for i, d in enumerate(baseline)])}
        rows |= baseline
    events = {"dataset": pl.DataFrame([event(digest, 50, label=label) for digest in frames])}
    return evaluate(LabelPoisoning(settings), events, baseline=trusted, snapshots=_lazy(rows))


def found(result: Evaluation) -> dict[str, Any]:
    """The evidence of the one finding."""
    [finding] = result.findings
    return dict(finding.evidence)


def _lazy(frames: dict[str, pl.DataFrame]) -> dict[str, pl.LazyFrame]:
    return {digest: frame.lazy() for digest, frame in frames.items()}


@functools.cache
def loans() -> Baseline:
    trusted = {f"t{i}": applications(1000, i) for i in range(2)}
    baseline = judged({"b": applications(1000, 9)}, trusted, settings=DEFAULT).baseline
    assert baseline is not None
    return baseline


def window(frames: dict[str, pl.DataFrame]) -> Window:
    events = pl.DataFrame([event(digest, i) for i, digest in enumerate(frames)])
    source = FrameSource.of({"dataset": events}, _lazy(frames))
    return Window(START, START + timedelta(days=30), source)


# The mathematics


@given(st.integers(2, 5), st.integers(0, 1000), st.floats(0.001, 0.3))
def test_a_flip_statistic_has_the_stated_moments_under_the_reference(classes, seed, share):
    rng = np.random.default_rng(seed)
    p, priors = rng.dirichlet(np.ones(classes), 4), rng.dirichlet(np.ones(classes))
    p = 0.95 * p + 0.05 / classes  # none is as rare as those that are held up
    terms = [flip_terms(p, np.full(4, c), priors, share) for c in range(classes)]
    statistic = np.stack([t[0] for t in terms])  # labels × rows × hypotheses
    mean = (statistic * p.T[:, :, None]).sum(axis=0)
    variance = (statistic**2 * p.T[:, :, None]).sum(axis=0)
    np.testing.assert_allclose(mean, 0, atol=1e-9)
    third = (statistic**3 * p.T[:, :, None]).sum(axis=0)
    np.testing.assert_allclose(variance, terms[0][1], atol=1e-9)
    np.testing.assert_allclose(third, terms[0][2], atol=1e-9)


def test_deviates_of_quiet_batches_are_normal_whatever_their_size():
    rng = np.random.default_rng(0)

    def draw(n: int) -> tuple[np.ndarray, np.ndarray]:
        one = rng.beta(1, 4, n)
        return np.column_stack([1 - one, one]), (rng.random(n) < one).astype(np.intp)

    null = flip_null(*draw(20_000), np.zeros(20_000, dtype=np.intp), 0.05)
    for n in (200, 2_000):
        z = np.array([flip_deviates(*draw(n), null, 0.05) for _ in range(200)])
        assert np.abs(z.mean(axis=0)).max() < 0.6  # the error of the null itself, common to all batches
        assert z.std(axis=0).min() > 0.8
        assert z.std(axis=0).max() < 1.15


def test_a_sum_of_few_skewed_terms_passes_a_deviate_no_more_often_than_a_normal_one():
    rng = np.random.default_rng(0)
    shape = 3.0  # gamma variables: skewness 2 / √shape
    sums = (rng.gamma(shape, size=400_000) - shape) / np.sqrt(shape)
    skewness = np.full(len(sums), 2 / np.sqrt(shape))
    for z, share in ((2.326, 0.01), (3.09, 0.001)):
        assert np.mean(sums > z) > 1.8 * share
        assert np.mean(unskewed(sums, skewness) > z) == pytest.approx(share, rel=0.2)
    far = unskewed(np.array([5.0, 40.0, 4000.0]), np.array([0.5, 0.5, 0.5]))
    assert (np.diff(far) > 0).all()
    np.testing.assert_array_equal(unskewed(np.array([-3.0, 3.0]), np.array([-1.0, 0.0])), [-3.0, 3.0])


def test_snapshots_that_differ_beyond_sampling_error_widen_the_null():
    rng = np.random.default_rng(0)
    snapshot = np.repeat(np.arange(12), 1000)
    p = np.tile([0.7, 0.3], (12_000, 1))
    steady = (rng.random(12_000) < 0.3).astype(np.intp)
    uneven = (rng.random(12_000) < 0.3 + 0.08 * (snapshot % 2)).astype(np.intp)
    assert flip_null(p, steady, snapshot, 0.05).between.max() == 0
    assert flip_null(p, uneven, snapshot, 0.05).between.min() > 0


@given(st.integers(1, 500), st.integers(0, 5000), st.floats(0.01, 500))
def test_excess_is_zero_at_the_trusted_rate_and_grows_with_the_count(k, trusted, chance):
    counts = np.array([k, k + 1], dtype=float)
    low, high = excess(counts, np.full(2, float(trusted)), 1000, 5000, np.full(2, chance))
    assert 0 <= low <= high
    assert low == 0 or (k > trusted / 5 and k > chance)


def test_the_oddest_triple_is_the_planted_one():
    rng = np.random.default_rng(0)
    trusted, batch = rng.normal(size=(4000, 6)), rng.normal(size=(1000, 6))
    labels, own = rng.integers(2, size=4000), rng.integers(2, size=1000)
    batch[:12, [1, 4]] = 0.125, -0.75
    own[:12] = 1
    found = [s for s in ItemScan(trusted, labels).scan(batch, own) if s is not None]
    exact = max(found, key=lambda s: s.z)
    assert {(i.column, i.low) for i in exact.items} >= {(1, 0.125), (4, -0.75)}
    assert exact.rows.tolist() == list(range(12))
    assert exact.trusted == 0


def test_columns_that_have_moved_together_are_no_odd_combination():
    rng = np.random.default_rng(0)
    trusted, batch = rng.normal(size=(4000, 4)), rng.normal(size=(1000, 4))
    batch[:, 2:] = rng.integers(20, 25, size=(1000, 2))  # values never seen, independent of each other
    found = ItemScan(trusted, rng.integers(2, size=4000)).scan(batch, rng.integers(2, size=1000))
    assert max(s.z for s in found if s is not None) < 5.2


def test_any_column_becomes_a_number():
    frame = plain(
        pl.DataFrame(
            {
                "text": ["b", None, "a"],
                "day": [START, None, START],
                "flag": [True, None, False],
                "number": [1.0, np.inf, np.nan],
                "constant": [1, 1, 1],
                "list": [[1], [2], [3]],
            }
        )
    )
    encoder = Encoder.of(frame)
    assert list(encoder.texts) == ["text", "day", "flag", "number"]
    encoded = encoder.encode(frame)
    np.testing.assert_array_equal(encoded[:, [0, 2, 3]], [[1, 1, 1], [np.nan] * 3, [0, 0, np.nan]])
    assert encoder.encode(frame.with_columns(text=pl.lit("new")))[0, 0] == -1
    assert encoder.missing(frame.drop("flag").with_columns(number=pl.lit("1"))) == ["flag", "number"]
    assert label_text(pl.Series([1.0, None, np.nan])).to_list() == ["1", None, None]


# What is fitted on is not calibrated on


@pytest.mark.parametrize(
    "frames",
    [
        {"one": applications(500, 1)},
        {f"s{i}": applications(300, i) for i in range(3)},
        {f"s{i}": applications(300, 1).head(100 * (i + 1)) for i in range(3)},  # a growing table
    ],
    ids=["one snapshot", "several", "cumulative"],
)
def test_no_row_is_in_both_parts_of_the_baseline(frames):
    parts = []
    for part in LabelPoisoning(QUICK).split(window(frames)):
        assert isinstance(part.source, FrameSource)
        held = [rows.collect() for rows in part.source.snapshots.values()]
        parts.append(pl.concat(held).select(sorted(held[0].columns)))
    fitted, calibrating = parts
    assert len(fitted) + len(calibrating) == len(pl.concat(frames.values()).unique())
    assert fitted.join(calibrating, on=["income", "debt", LABEL], how="inner").is_empty()
    assert len(calibrating) == pytest.approx(0.2 * (len(fitted) + len(calibrating)), abs=1)


def test_quiet_chunks_are_really_judged():
    detector = LabelPoisoning(QUICK)
    fitted, held_out = detector.split(window({"one": applications(1500, 1)}))
    chunks = list(detector.chunks(held_out.with_baseline(detector.fit(fitted))))
    scores = [score for chunk in chunks for score in detector.score(chunk)]
    assert len(scores) == QUICK.chunks
    assert all(0 < score.value < 1.5 and "not judged" not in score.reason for score in scores)


def test_a_baseline_outlives_its_process(tmp_path):
    baseline = loans()
    for name, frame in baseline.frames.items():
        frame.write_parquet(tmp_path / f"{name}.parquet")
    frames = {name: pl.read_parquet(tmp_path / f"{name}.parquet") for name in baseline.frames}
    read = Baseline(frames, json.loads(json.dumps(baseline.values)), baseline.threshold)
    assert read.digest == baseline.digest
    batch = {"b": applications(1000, 5, approve=0.1)}
    assert judged(batch, read).scores.equals(judged(batch, baseline).scores)


# What it says


def test_a_finding_names_direction_writer_snapshot_and_the_rows():
    clean, poisoned = applications(1000, 5), applications(1000, 5, approve=0.15)
    result = judged({"b": poisoned}, loans())
    evidence = found(result)
    assert result.findings[0].severity in (Severity.HIGH, Severity.CRITICAL)
    assert "from '1' to '0'" in result.findings[0].reason
    assert (evidence["snapshot"], evidence["writer"]) == ("b", "feed")
    changed = (clean[LABEL] != poisoned[LABEL]).to_list()
    named = [row["row"] for row in evidence["suspicious"]]
    assert len(named) == 20
    assert sum(changed[row] for row in named) > 10
    assert all(poisoned[LABEL][row] == 0 for row in named)


def test_a_trigger_is_named_with_its_values_and_rows():
    evidence = found(judged({"b": applications(1000, 5, trigger=0.02)}, loans()))
    assert evidence["combination"].items() >= {"income": 31337.0, "debt": 1042.5}.items()
    assert evidence["rows_sharing"] == 20
    assert len(evidence["suspicious"]) == 20


def test_of_several_snapshots_in_a_window_the_worst_counts():
    batches = {"good": applications(1000, 5), "bad": applications(1000, 6, approve=0.15)}
    result = judged(batches, loans())
    assert len(result.scores) == 1
    assert found(result)["snapshot"] == "bad"


def test_labels_never_heard_of_are_a_finding():
    batch = applications(1000, 5).with_columns(
        pl.when(pl.int_range(pl.len()) < 40).then(7).otherwise(LABEL).alias(LABEL)
    )
    assert found(judged({"b": batch}, loans()))["test"] == "unseen labels"


def test_several_classes_text_labels_and_gaps():
    def graded(rows: int, seed: int, spoil: int = 0) -> pl.DataFrame:
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(rows, 3))
        grade = np.digitize(x[:, 0] + 0.6 * rng.normal(size=rows), [-0.7, 0.7])
        grade[rng.choice(np.flatnonzero(grade == 2), spoil, replace=False)] = 0
        names = np.array(["poor", "fair", "good"])[grade]
        return pl.DataFrame({"x": x[:, 0], "y": x[:, 1], "flag": x[:, 2] > 0, "grade": names}).with_columns(
            pl.when(pl.int_range(pl.len()) % 17 > 0).then("y").alias("y"),
            pl.when(pl.int_range(pl.len()) % 50 > 0).then("grade").alias("grade"),
        )

    trusted = {"t": graded(2000, 1)}
    quiet = judged({"b": graded(1000, 2)}, trusted, "grade")
    assert not quiet.findings
    assert quiet.baseline is not None
    evidence = found(judged({"b": graded(1000, 2, spoil=80)}, quiet.baseline, "grade"))
    assert (evidence["into"], evidence["rows"]) == ("poor", 980)


# Odd snapshots


def test_a_numeric_target_is_not_judged_and_the_error_says_so():
    with pytest.raises(BaselineError, match="loans: its label has 400 different values"):
        judged({"b": applications(500, 2)}, {"t": applications(500, 1)}, "debt")


def test_too_few_trusted_rows_are_no_baseline():
    with pytest.raises(BaselineError, match="fewer than 300 trusted rows"):
        judged({"b": applications(500, 2)}, {"t": applications(200, 1)})


@pytest.mark.parametrize(
    ("frame", "reason", "aspect"),
    [
        (applications(500, 2).drop(LABEL), "has no column default", "label column"),
        (applications(20, 2), "20 new rows", ""),
        (applications(500, 2).clear(), "0 new rows", ""),
        (applications(500, 2).select(LABEL, other="age"), "none of the columns", "columns"),
    ],
)
def test_what_cannot_be_judged_gets_no_score_and_a_reason(frame, reason, aspect):
    result = judged({"b": frame}, loans())
    assert result.scores["score"][0] == 0.0
    assert reason in result.scores["reason"][0]
    assert [(f.aspect, f.severity) for f in result.findings] == (
        [(aspect, Severity.MEDIUM)] if aspect else []
    )
    assert len(result.scores) == 1 + len(result.findings)


def test_a_snapshot_whose_rows_are_gone_and_a_dataset_without_baseline():
    events = {"dataset": pl.DataFrame([event("gone", 50), event("new", 50, "others")])}
    rows = {"new": applications(500, 2).lazy()}
    result = evaluate(LabelPoisoning(QUICK), events, baseline=loans(), snapshots=rows)
    scores = result.scores
    assert scores.select("subject.id", "score").rows() == [("loans", 0.0), ("others", 0.0), ("loans", 2.0)]
    assert all("not judged" in reason for reason in scores["reason"])
    assert [(f.aspect, f.severity) for f in result.findings] == [("unreadable", Severity.HIGH)]


def test_another_schema_is_judged_on_the_common_columns():
    spoiled = applications(1000, 5, approve=0.15)
    changed = spoiled.with_columns(pl.col("age").cast(pl.String), extra=pl.lit(1)).drop("owner")
    assert found(judged({"b": changed}, loans()))["columns_missing"] == ["age", "owner"]
    assert not judged({"b": applications(1000, 6).drop("region")}, loans()).findings


def test_a_growing_table_is_judged_by_its_new_rows():
    trusted, new = applications(3000, 1), applications(600, 5, approve=0.15)
    result = judged({"b": pl.concat([trusted, new])}, {"t": trusted})
    evidence = found(result)
    assert evidence["rows_known"] >= 0.75 * len(trusted)  # those that were fitted on
    assert sum(row["row"] >= len(trusted) for row in evidence["suspicious"]) > 10


def test_a_column_of_dates_that_only_rises_raises_no_alarm():
    def dated(rows: int, seed: int, day: int) -> pl.DataFrame:
        days = pl.lit(pl.Series(np.random.default_rng(seed).integers(0, 7, rows) + day))
        made = pl.lit(START) + pl.duration(days=days)
        return applications(rows, seed).with_columns(
            made.alias("made"), (made + pl.duration(days=1)).alias("decided")
        )

    trusted = {f"t{i}": dated(800, i, 7 * i) for i in range(3)}
    assert not judged({"b": dated(800, 9, 60)}, trusted).findings


# Real applications


def test_credit_applications(shared_data):
    raw = (shared_data("credit_default_uci") / "UCI_Credit_Card.csv.gz").read_bytes()
    label = "default-payment-next-month"
    table = pl.read_csv(gzip.decompress(raw)).drop("ID").sample(10_000, shuffle=True, seed=3)
    rows = {f"t{i}": table[i * 1000 : (i + 1) * 1000] for i in range(5)}
    trusted = {"dataset": pl.DataFrame([event(digest, day, label=label) for day, digest in enumerate(rows)])}
    batches = [table[i * 1000 : (i + 1) * 1000] for i in range(5, 10)]
    for old in (0, 1):
        position = pl.when(pl.col(label) == old).then(pl.col(label).eq(old).cum_sum())
        flipped = pl.when(position <= 150).then(1 - old).otherwise(label).alias(label)
        batches.append(batches[1].with_columns(flipped))
    rows |= {f"b{i}": batch for i, batch in enumerate(batches)}
    events = {"dataset": pl.DataFrame([event(f"b{i}", 50 + i, label=label) for i in range(len(batches))])}
    result = evaluate(LabelPoisoning(QUICK), events, baseline=trusted, snapshots=_lazy(rows))
    ratio = (result.scores["score"] / result.scores["threshold"]).to_list()
    assert 1 <= result.scores["threshold"][0] < 1.4
    assert max(ratio[:5]) < 1.5
    assert min(ratio[5:]) >= 2.5
    assert [f.evidence["into"] for f in result.findings[-2:]] == ["1", "0"]


def test_the_threshold_never_lies_below_the_floor():
    baseline = fit(LabelPoisoning(QUICK), window({"one": applications(1500, 1)}), 0.2)
    assert baseline.threshold == LabelPoisoning.floor
