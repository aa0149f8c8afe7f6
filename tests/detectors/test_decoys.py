"""Usual values under the names of a baseline's features, the real ones under further names: they hide no attack."""

from __future__ import annotations

import functools

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.generators import drift, queries
from tocsin.contract.findings import Finding, Severity
from tocsin.contract.windows import Baseline
from tocsin.testing.evaluate import Evaluation, evaluate
from tocsin_detectors._alignment import Shape, align

NAMES, VALUES, USER, ID = "tocsin.features.names", "tocsin.features.values", "user.id", "event.id"
TODAY = queries.calls(28, 1, copied=200)
SHIFTED = drift.calls(400, seed=3, day=40).with_columns(pl.col(VALUES).list.eval(pl.element() * 3))
USUAL = drift.calls(400, seed=2, day=40)


@functools.cache
def fitted(detector: str) -> Evaluation:
    month = queries.calls(0, 28) if detector == "model_extraction" else drift.calls(2000, seed=20, days=28)
    return judged(detector, pl.concat([TODAY] if detector == "model_extraction" else [USUAL, SHIFTED]), month)


def judged(
    detector: str, events: pl.DataFrame, baseline: pl.DataFrame | Baseline | None = None
) -> Evaluation:
    params = {"columns": [VALUES]} if detector == "pyod" else {}
    known = fitted(detector).baseline if baseline is None else baseline
    history = {"inference": known} if isinstance(known, pl.DataFrame) else known
    return evaluate(detector, {"inference": events}, params, history)


def decoyed(calls: pl.DataFrame, usual: pl.Series, few: int, seed: int, word: str = "x") -> pl.DataFrame:
    """Usual values in the first `few` features, the real ones under further names, all in an order of `seed`.

    Without a `word`, the further features have the names of the first ones.
    """
    names = calls[NAMES][0].split(",")
    names = [*names, *(f"{word}{k}" if word else names[k] for k in range(few))]
    order = np.random.default_rng(seed).permutation(len(names)) if word else np.arange(len(names))
    rows = []
    for call, real in enumerate(calls[VALUES].to_list()):
        values = [*usual[call % len(usual)][:few], *real[few:], *real[:few]]
        rows.append([values[place] for place in order])
    return calls.with_columns(
        pl.lit(",".join(names[place] for place in order)).alias(NAMES),
        pl.Series(VALUES, rows, dtype=pl.List(pl.Float64)),
    )


def is_found(findings: list[Finding], attack: Finding) -> bool:
    """Whether the attack's finding stays, or an aspect of `medium` or more takes its place."""
    real = [f for f in findings if not f.aspect and f.subject == attack.subject]
    return any(f.severity.rank >= attack.severity.rank for f in real) or any(
        f.aspect and f.severity.rank >= Severity.MEDIUM.rank for f in findings
    )


@settings(max_examples=12, deadline=None)
@given(few=st.integers(1, 8), seed=st.integers(0, 99), word=st.sampled_from(("x", "limit ", "")))
def test_no_decoy_hides_a_copied_model(few: int, seed: int, word: str) -> None:
    (attack,) = [f for f in fitted("model_extraction").findings if not f.aspect]
    theirs = pl.col(USER) == "thief"
    others = TODAY.filter(~theirs)
    calls = pl.concat([others, decoyed(TODAY.filter(theirs), others[VALUES], few, seed, word)])
    assert is_found(judged("model_extraction", calls).findings, attack)


@pytest.mark.parametrize("detector", ["feature_drift", "pyod"])
@settings(max_examples=8, deadline=None)
@given(few=st.integers(1, 6), seed=st.integers(0, 99), word=st.sampled_from(("x", "")))
def test_no_decoy_hides_shifted_values(detector: str, few: int, seed: int, word: str) -> None:
    (attack,) = [f for f in fitted(detector).findings if not f.aspect]
    calls = pl.concat([USUAL, decoyed(SHIFTED, USUAL[VALUES], few, seed, word)])
    assert is_found(judged(detector, calls).findings, attack)


def test_queries_that_differ_only_in_further_features_are_not_judged() -> None:
    theirs = pl.col(USER) == "thief"
    usual = TODAY.filter(~theirs)[VALUES]
    thief = decoyed(TODAY.filter(theirs), usual.head(1), 8, 0)
    one = thief.with_columns(
        pl.lit(",".join(f"f{k}" for k in range(8)) + ",x").alias(NAMES),
        pl.Series(VALUES, [[*usual[0], float(call)] for call in range(len(thief))]),
    )
    found = judged("model_extraction", pl.concat([TODAY.filter(~theirs), one])).findings
    assert [(f.subject.id, f.aspect, f.severity.value) for f in found] == [
        ("thief", "features of credit", "high")
    ]


@pytest.mark.parametrize("detector", ["model_extraction", "feature_drift", "pyod"])
def test_one_feature_more_is_no_more_than_low(detector: str) -> None:
    quiet = TODAY.filter(pl.col(USER) != "thief") if detector == "model_extraction" else USUAL
    more = quiet.with_columns(pl.concat_str(NAMES, pl.lit(",tenure")).alias(NAMES))
    tenure = pl.Series(np.random.default_rng(0).integers(0, 40, len(quiet)).astype(float))
    found = judged(detector, more.with_columns(pl.concat_list(VALUES, tenure).alias(VALUES))).findings
    assert {f.severity.value for f in found} <= {"low"}


@given(width=st.integers(1, 9), further=st.integers(0, 9), seed=st.integers(0, 99))
def test_vectors_are_aligned_or_left_and_never_lost(width: int, further: int, seed: int) -> None:
    names = [f"f{k}" for k in range(width + further)]
    order = np.random.default_rng(seed).permutation(len(names))
    calls = pl.DataFrame(
        {NAMES: [",".join(names[k] for k in order)], VALUES: [[float(k) for k in order]]},
        schema_overrides={VALUES: pl.List(pl.Float64)},
    )
    found = align(calls, Shape(",".join(names[:width]), width))
    assert found.calls[VALUES].to_list() == [[float(k) for k in range(width)]]
    assert found.rest.is_empty() or found.rest.equals(calls)
    assert len(found.rest) == (further >= min(2, width) and 3 * further >= width)


def test_an_answered_value_under_a_further_name_is_medium_and_a_column_that_is_not_read_low() -> None:
    """One feature of six: the true name has the row's own usual value, so that the inputs alone show nothing."""
    place = drift.DEBT
    honest = drift.calls(400, seed=7, day=40)
    for read in (True, False):
        real = honest[VALUES].list.get(place) * (0.0 if read else 1.0)
        calls = honest.with_columns(
            pl.concat_str(NAMES, pl.lit(",x0")).alias(NAMES), pl.concat_list(VALUES, real).alias(VALUES)
        )
        if read:  # the model answers a debt of 0: all scores fall
            low = 1 / (1 + np.exp(2.2 + np.random.default_rng(0).normal(0, 0.5, len(calls))))
            calls = calls.with_columns(pl.Series("tocsin.output.score", low))
        found = {f.aspect: f.severity for f in judged("feature_drift", calls).findings}
        assert found == {"new features": Severity.MEDIUM if read else Severity.LOW}
        renewed = judged(
            "feature_drift", calls.with_columns(pl.lit("2").alias("tocsin.model.version"))
        ).findings
        assert {f.severity for f in renewed} == {Severity.LOW}  # another version may answer in another way


@pytest.mark.parametrize("checks", [0, 30])
@settings(max_examples=6, deadline=None)
@given(day=st.integers(28, 200))
def test_calls_that_depend_on_each_other_do_not_make_a_new_feature_medium(checks: int, day: int) -> None:
    """A third of the calls vary an earlier one, so residuals repeat; a health checker repeats one call all day."""
    quiet = queries.calls(day, 1)
    quiet = pl.concat(
        [quiet, *[quiet.head(1).with_columns(pl.lit(f"c{i}").alias(ID)) for i in range(checks)]]
    )
    tenure = pl.Series(np.random.default_rng(day).integers(0, 40, len(quiet)).astype(float))
    more = quiet.with_columns(
        pl.concat_str(NAMES, pl.lit(",tenure")).alias(NAMES), pl.concat_list(VALUES, tenure).alias(VALUES)
    )
    found = judged("feature_drift", more, what_ifs()).findings
    assert [f.severity for f in found if f.aspect] == [Severity.LOW]


@functools.cache
def what_ifs() -> Baseline:
    """The baseline of a month in which a third of the calls vary an earlier one."""
    month, today = queries.calls(0, 28), queries.calls(28, 1)
    known = evaluate("feature_drift", {"inference": today}, baseline={"inference": month}).baseline
    assert known is not None
    return known
