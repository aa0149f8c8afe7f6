"""Rows whose values hardly ever occur together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tocsin.stats.dependence import MOST_FEATURES, RARE, Dependence


def related(count: int, seed: int, features: int = 5) -> np.ndarray:
    """Nominal features that mostly follow the first one."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 4, count)
    own = rng.integers(0, 4, (count, features))
    return np.where(rng.uniform(size=(count, features)) < 0.85, kind[:, None], own).astype(float)


def permuted(rows: np.ndarray, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.column_stack([rng.permutation(column) for column in rows.T])


def test_features_drawn_one_by_one_are_rare_together() -> None:
    known = Dependence.of(related(2000, 0))
    assert known.rare(related(1000, 1)).mean() < 3 * RARE
    assert known.rare(permuted(related(1000, 1), 2)).mean() > 10 * RARE


def test_the_pairs_are_a_tree_over_the_dependent_features() -> None:
    noise = np.random.default_rng(1).integers(0, 3, (2000, 1)).astype(float)
    known = Dependence.of(np.hstack([related(2000, 0), noise]))
    assert len(known.pairs) >= 4
    assert {feature for pair in known.pairs for feature in (pair.first, pair.second)} >= set(range(5))


def test_no_dependence_is_unknown() -> None:
    known = Dependence.of(np.zeros((50, 3)))
    assert known.pairs == []
    assert np.isnan(known.rare(np.ones((4, 3)))).all()


def test_the_number_of_compared_features_is_limited() -> None:
    rows = related(200, 0, MOST_FEATURES + 6)
    known = Dependence.of(rows)
    assert len(known.cuts) == MOST_FEATURES
    assert np.isfinite(known.of_rows(rows)).all()


@given(
    hnp.arrays(
        np.float64,
        st.tuples(st.integers(1, 30), st.integers(1, 4)),
        elements=st.one_of(st.sampled_from([0.0, 1.0, 2.0]), st.just(-np.inf), st.floats(-1e9, 1e9)),
    ),
    st.integers(0, 9),
)
def test_any_rows_have_finite_surprise_or_none(rows: np.ndarray, seed: int) -> None:
    known = Dependence.of(rows)
    found = known.of_rows(permuted(rows, seed))
    assert np.isfinite(found).all() or not known.pairs


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_rows_does_not_matter(seed: int) -> None:
    rows = related(300, seed)
    order = np.random.default_rng(seed).permutation(len(rows))
    np.testing.assert_array_equal(
        Dependence.of(rows).of_rows(rows)[order], Dependence.of(rows[order]).of_rows(rows[order])
    )
