"""Variants of one input: what is found among other rows, and what is left to chance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.generators.queries import applicants
from tocsin.stats.variants import Variants

KNOWN = applicants(4000, seed=3)
HASHES = Variants(KNOWN)


def hidden(variants: np.ndarray, among: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The variants at random places among other rows, and their places."""
    rng = np.random.default_rng(seed)
    rows = np.vstack([variants, applicants(among, seed=seed + 100)])
    order = rng.permutation(len(rows))
    return rows[order], np.flatnonzero(order < len(variants))


@pytest.mark.parametrize("among", [0, 1000])
@pytest.mark.parametrize("features", [[0], [2], [1, 5]])
def test_rows_that_vary_few_features_are_one_family(features: list[int], among: int) -> None:
    variants = np.repeat(KNOWN[:1], 40, axis=0)
    variants[:, features] = applicants(40, seed=9)[:, features]
    variants = np.unique(variants, axis=0)
    rows, places = hidden(variants, among, 1)
    [family] = HASHES.families(rows, np.array([0]))
    assert len(np.intersect1d(family.rows, places)) >= 0.9 * len(places)
    assert family.size >= 0.4 * len(places)


def test_small_moves_of_all_features_are_a_family() -> None:
    rng = np.random.default_rng(0)
    rows, places = hidden(KNOWN[5] + 0.02 * KNOWN.std(axis=0) * rng.normal(size=(60, 8)), 1000, 2)
    [family] = HASHES.families(rows, np.array([0]))
    assert family.size >= 10
    assert np.isin(family.rows, places).mean() > 0.9


@pytest.mark.parametrize("among", [20, 300, 3000])
def test_other_rows_agree_only_by_chance(among: int) -> None:
    sizes = [HASHES.families(applicants(among, seed=50 + seed), np.array([0]))[0].size for seed in range(10)]
    assert np.median(sizes) < 5


@given(st.lists(st.integers(0, 12), min_size=1, max_size=6), st.integers(0, 100))
@settings(deadline=None, max_examples=30)
def test_principals_are_judged_apart_from_one_another(sizes: list[int], seed: int) -> None:
    """The families of many principals together are those of each alone."""
    rng = np.random.default_rng(seed)
    parts = [
        KNOWN[rng.integers(20, size=size)] + (np.arange(8) == 5) * rng.normal(size=(size, 1))
        for size in sizes
    ]
    parts = [part for part in parts if len(part)]
    if not parts:
        return
    starts = np.cumsum([0, *map(len, parts[:-1])])
    together = HASHES.families(np.vstack(parts), starts)
    for start, part, family in zip(starts, parts, together, strict=True):
        [alone] = HASHES.families(part, np.array([0]))
        assert family.size == alone.size
        assert (family.rows - start).tolist() == alone.rows.tolist()


def test_missing_values_are_values() -> None:
    rows = np.repeat(KNOWN[:1], 12, axis=0)
    rows[:, 2] = np.nan
    rows[:, 0] = np.arange(12)
    [family] = HASHES.families(rows, np.array([0]))
    assert len(family.rows) == 12


def test_variants_with_different_gaps_agree() -> None:
    rows = np.repeat(KNOWN[:1], 40, axis=0)
    rows[:, 5] = np.linspace(-1, 1, 40)
    whole = HASHES.families(rows, np.array([0]))[0].size
    rows[np.arange(40), np.arange(40) % 8] = np.nan
    assert HASHES.families(rows, np.array([0]))[0].size >= 0.8 * whole


def test_rows_of_one_value_are_expected() -> None:
    """Where known rows are all alike, so are a principal's: nothing is unusual about them."""
    known = np.zeros((500, 3))
    known[:, 0] = np.arange(500) % 2
    [family] = Variants(known).families(np.tile([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]], (50, 1)), np.array([0]))
    assert family.size <= 2
