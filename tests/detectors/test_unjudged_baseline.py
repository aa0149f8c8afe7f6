"""What the baseline had too is not reported again: calls without vectors, and models without any."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.generators import queries
from tests.generators.quiet_days import MODEL, NAMES, VALUES
from tocsin.testing.evaluate import Evaluation, evaluate

MONTH, TODAY = queries.calls(0, 28), queries.calls(28, 1)
_NONE = (pl.lit(None, pl.String).alias(NAMES), pl.lit(None, pl.List(pl.Float64)).alias(VALUES))


def bare(calls: pl.DataFrame, share: float, seed: int) -> pl.DataFrame:
    """Calls of which a share carries no vector."""
    hit = pl.int_range(pl.len()).shuffle(seed) < share * pl.len()
    return calls.with_columns(
        pl.when(hit).then(None).otherwise(column).alias(column) for column in (NAMES, VALUES)
    )


def texts(calls: pl.DataFrame) -> pl.DataFrame:
    """Calls of a model that gets texts, beside the calls of `credit`."""
    others = calls.with_columns(pl.lit("texts").alias(MODEL), pl.col("event.id") + "-texts", *_NONE)
    return pl.concat([calls, others])


def drift(calls: pl.DataFrame, baseline: pl.DataFrame | Evaluation) -> Evaluation:
    known = {"inference": baseline} if isinstance(baseline, pl.DataFrame) else baseline.baseline
    return evaluate("feature_drift", {"inference": calls}, baseline=known)


@settings(max_examples=5, deadline=None)
@given(st.integers(1, 60), st.integers(0, 99))
def test_calls_without_vectors_as_in_the_baseline_are_quiet(percent: int, seed: int) -> None:
    share = percent / 100
    found = drift(bare(TODAY, share, seed), bare(MONTH, share, seed)).findings
    assert not [f.reason for f in found if f.aspect]


@pytest.mark.parametrize(
    ("before", "now", "severity"), [(0.0, 0.02, "low"), (0.02, 0.5, "medium"), (0.0, 1.0, "high")]
)
def test_more_calls_without_vectors_than_in_the_baseline_are_found(
    before: float, now: float, severity: str
) -> None:
    found = [f for f in drift(bare(TODAY, now, 1), bare(MONTH, before, 2)).findings if f.aspect]
    assert [(f.aspect, f.severity.value) for f in found] == [("missing features", severity)]


def test_a_model_that_never_had_vectors_is_quiet() -> None:
    assert not drift(texts(TODAY), texts(MONTH)).findings


def test_a_model_whose_vectors_are_new_is_found() -> None:
    today = pl.concat(
        [TODAY, TODAY.with_columns(pl.lit("texts").alias(MODEL), pl.col("event.id") + "-texts")]
    )
    found = drift(today, texts(MONTH)).findings
    assert [(f.subject.id, f.aspect, f.severity.value) for f in found] == [("texts", "no baseline", "medium")]


def respelled(calls: pl.DataFrame, *clients: str) -> pl.DataFrame:
    """Calls of which some clients write the names of features in upper case, with spaces."""
    names = pl.col(NAMES).str.to_uppercase().str.replace_all(",", ", ")
    theirs = pl.col("user.id").is_in(clients)
    return calls.with_columns(pl.when(theirs).then(names).otherwise(NAMES).alias(NAMES))


@pytest.mark.parametrize("clients", [("client-1",), ("client-0", "client-7", "client-9")])
def test_spellings_of_features_in_a_baseline_are_one_feature(clients: tuple[str, ...]) -> None:
    fitted = drift(TODAY, respelled(MONTH, *clients))
    assert not fitted.findings
    assert not drift(respelled(TODAY, "client-3"), fitted).findings


def test_a_few_other_spellings_in_the_baseline_do_not_hide_a_drift() -> None:
    shifted = TODAY.with_columns(pl.col(VALUES).list.eval(pl.element() * 1.5).alias(VALUES))
    before = drift(shifted, MONTH).findings
    after = drift(shifted, respelled(MONTH, "client-1")).findings
    assert [(f.subject, f.aspect, f.severity) for f in after] == [
        (f.subject, f.aspect, f.severity) for f in before
    ]
    assert before


def test_features_that_differ_only_in_case_stay_two() -> None:
    names = pl.lit("a,A,f2,f3,f4,f5,f6,f7").alias(NAMES)
    assert not drift(TODAY.with_columns(names), MONTH.with_columns(names)).findings
