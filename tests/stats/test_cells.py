"""Cells of rows: equal rows share them, nearly equal rows mostly, other rows hardly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tests.generators.queries import applicants
from tocsin.stats.binomial import binomial_deviate
from tocsin.stats.cells import TABLES, Cells

KNOWN = applicants(3000, seed=3)
FLOATS = st.floats(allow_nan=True, allow_infinity=True, width=64)


def shared(cells: Cells, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Which rows share a cell with the row at the same place."""
    return np.asarray((cells.hashes(one) == cells.hashes(other)).any(axis=1))


@settings(deadline=None)
@given(
    arrays(np.float64, (5, 3), elements=FLOATS),
    st.sampled_from([0.5, 1e-5]),
    st.sampled_from([0.5, 1.0]),
    st.integers(0, 2**40),
)
def test_equal_rows_share_all_cells(rows: np.ndarray, width: float, share: float, seed: int) -> None:
    hashes = Cells.of(rows, width, share, seed).hashes(np.vstack([rows, rows]))
    assert hashes.shape == (10, TABLES)
    assert (hashes[:5] == hashes[5:]).all()


@pytest.mark.parametrize("width", [0.5, 0.1, 1e-5])
def test_rows_far_apart_share_none(width: float) -> None:
    """With eight features, one in fifty pairs of applicants is nearer than the widest cells tell."""
    cells = Cells.of(KNOWN, width, 1.0, 1)
    assert shared(cells, KNOWN[:1500], KNOWN[1500:]).mean() < 0.02


def test_nearly_equal_rows_mostly_share_one() -> None:
    cells, rng = Cells.of(KNOWN, 0.5, 1.0, 1), np.random.default_rng(0)
    moved = KNOWN + 0.01 * np.array(cells.spreads) * rng.normal(size=KNOWN.shape)
    assert shared(cells, KNOWN, moved).mean() > 0.95
    assert not shared(Cells.of(KNOWN, 1e-5, 1.0, 1), KNOWN, moved).any()


@pytest.mark.parametrize("feature", range(8))
def test_rows_that_differ_in_one_feature_share_one_if_a_table_lacks_the_feature(feature: int) -> None:
    moved = KNOWN.copy()
    moved[:, feature] = np.nan
    assert shared(Cells.of(KNOWN, 0.03, 0.5, 1), KNOWN, moved).all()
    assert shared(Cells.of(KNOWN, 0.03, 1.0, 1), KNOWN, moved).mean() < 0.05


def test_the_seed_decides_the_borders() -> None:
    first, second = (Cells.of(KNOWN, 0.5, 1.0, seed).hashes(KNOWN) for seed in (1, 2))
    assert (first == second).mean() < 0.001


@settings(deadline=None)
@given(st.integers(1, 5000), st.floats(0.001, 0.999), st.data())
def test_the_deviate_rises_with_the_count_and_is_zero_at_the_expected_one(
    trials: int, share: float, data: st.DataObject
) -> None:
    found = data.draw(st.integers(0, trials - 1))
    assert binomial_deviate(found, trials, share) <= binomial_deviate(found + 1, trials, share)
    assert binomial_deviate(trials, trials, 1.0) == 0
    assert (binomial_deviate(found, trials, share) >= 0) == (found >= trials * share)


def test_the_deviate_is_about_standard_normal() -> None:
    draws = np.random.default_rng(0).binomial(500, 0.1, 4000)
    deviates = np.array([binomial_deviate(int(found), 500, 0.1) for found in draws])
    assert abs(deviates.mean()) < 0.1
    assert abs(deviates.std() - 1) < 0.05
