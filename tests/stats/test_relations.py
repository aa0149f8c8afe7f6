"""Relations: what surprises and what does not, whatever the columns are."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.stats.relations import TOTAL_BINS, Coding, Relations

CELL = st.floats(-1e9, 1e9) | st.sampled_from([np.nan, np.inf, -np.inf, 0.0, 1.0])
COLUMN = st.lists(CELL, min_size=1, max_size=40).map(np.array)


def pairs(rng: np.random.Generator, rows: int) -> np.ndarray:
    """A category and a number that depends on it, and a number that depends on nothing."""
    kind = rng.choice(4, rows)
    return np.column_stack((kind, 2.0 * kind + rng.normal(size=rows), rng.normal(size=rows)))


@pytest.fixture(scope="module")
def learned() -> Relations:
    return Relations.of(pairs(np.random.default_rng(0), 4000), [True, False, False])


@given(COLUMN, COLUMN, st.booleans())
def test_each_value_has_one_bin(column, others, nominal):
    coding = Coding.of(column, 5, nominal=nominal)
    for values in (column, others):
        codes = coding.codes(values)
        assert ((codes >= 0) & (codes < coding.size)).all()
        assert ((codes == coding.size - 1) == ~np.isfinite(values)).all()


@settings(deadline=None, max_examples=30)
@given(
    st.integers(2, 5).flatmap(
        lambda k: st.lists(st.lists(CELL, min_size=k, max_size=k), min_size=2, max_size=30)
    )
)
def test_any_table_has_finite_surprises(rows):
    matrix = np.array(rows)
    found = Relations.of(matrix, [False] * matrix.shape[1])
    surprise = found.surprise(matrix)
    assert np.isfinite(surprise).all()
    assert (surprise >= 0).all()
    assert all(log_p <= 0 and math.isfinite(log_p) for log_p in found.log_p(surprise))


def test_a_broken_relation_to_a_category_is_seen_in_a_tenth_of_the_rows(learned):
    rng = np.random.default_rng(1)
    rows = pairs(rng, 1000)
    rows[:100, 1] = rng.permutation(rows[:100, 1])
    kind, number, alone = learned.log_p(learned.surprise(rows))
    assert kind < math.log(1e-4)
    assert number < math.log(1e-4)
    assert alone > math.log(0.01)


def test_fresh_rows_have_honest_p_values():
    rng = np.random.default_rng(2)
    p = []
    for _ in range(60):
        learned = Relations.of(pairs(rng, 1500), [True, False, False])
        p += [learned.log_p(learned.surprise(pairs(rng, 300))) for _ in range(5)]
    found = np.exp(p)
    assert (found <= 0.05).mean() <= 0.075
    assert (found <= 0.005).mean() <= 0.012
    assert (found[:, :2] <= 0.5).mean() == pytest.approx(
        0.45, abs=0.1
    )  # conservative: each fold learns from fewer rows


def test_wide_tables_stay_within_the_bins():
    matrix = np.random.default_rng(3).normal(size=(1600, 80))
    found = Relations.of(matrix, [False] * 80)
    assert len(found.weights) <= 2 * TOTAL_BINS
    assert found.surprise(matrix[:10]).shape == (10, 80)


def one_hot(rng: np.random.Generator, rows: int, rare: float) -> np.ndarray:
    """The columns of a category with four common levels and one rare level."""
    level = rng.choice(5, rows, p=[*[(1 - rare) / 4] * 4, rare])
    return (level[:, None] == np.arange(5)).astype(float)


@pytest.mark.parametrize("rare", [1 / 4000, 1 / 1000])
def test_a_level_that_is_too_rare_for_the_baseline_is_no_finding(rare: float) -> None:
    rng = np.random.default_rng(4)
    worst = []
    for _ in range(20):
        learned = Relations.of(one_hot(rng, 2000, rare), [False] * 5)
        for _ in range(10):
            worst.append(min(learned.log_p(learned.surprise(one_hot(rng, 300, rare)))))
    assert np.mean(np.array(worst) <= math.log(0.005 / 5)) <= 0.01
    assert min(worst) > math.log(1e-6)


def test_many_rows_of_an_unseen_level_are_a_finding() -> None:
    rng = np.random.default_rng(5)
    learned = Relations.of(one_hot(rng, 2000, 0.0), [False] * 5)
    assert min(learned.log_p(learned.surprise(one_hot(rng, 300, 0.05)))) < math.log(1e-9)
