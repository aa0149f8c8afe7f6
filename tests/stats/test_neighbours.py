"""Distances and changed places, against the plain definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tocsin.stats.neighbours import distances, fewest_changed, nearest, nearest_earlier

values = st.floats(-100, 100, width=32)
matrices = hnp.arrays(np.float64, st.tuples(st.integers(1, 12), st.just(4)), elements=values)


def plain(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    return np.sqrt(((rows[:, None, :] - others[None, :, :]) ** 2).sum(axis=2))


@given(matrices, matrices)
def test_distances_are_euclidean(rows: np.ndarray, others: np.ndarray) -> None:
    np.testing.assert_allclose(distances(rows, others), plain(rows, others), atol=1e-4)


@given(matrices)
def test_distances_are_symmetric_and_zero_on_themselves(rows: np.ndarray) -> None:
    found = distances(rows, rows)
    np.testing.assert_allclose(found, found.T, atol=1e-5)
    np.testing.assert_allclose(np.diag(found), 0, atol=1e-4)


@given(matrices, matrices, st.integers(0, 3))
def test_nearest_leaves_its_own_group_out(rows: np.ndarray, others: np.ndarray, group: int) -> None:
    groups = np.full(len(rows), group)
    other_groups = np.arange(len(others)) % 4
    expected = plain(rows, others[other_groups != group]).min(axis=1, initial=np.inf)
    np.testing.assert_allclose(nearest(rows, others, groups, other_groups), expected, atol=1e-4)


def test_nearest_of_many_rows_is_the_same_in_blocks() -> None:
    rng = np.random.default_rng(0)
    rows, others = rng.normal(size=(700, 5)), rng.normal(size=(50, 5))
    none = np.full(len(rows), -1)
    found = nearest(rows, others, none, np.zeros(len(others), dtype=np.int64))
    np.testing.assert_allclose(found, plain(rows, others).min(axis=1))


@pytest.mark.parametrize("count", [0, 3])
def test_nearest_among_nobody_is_infinite(count: int) -> None:
    rows = np.zeros((count, 2))
    found = nearest(rows, np.empty((0, 2)), np.zeros(count, dtype=np.int64), np.empty(0, dtype=np.int64))
    assert found.tolist() == [np.inf] * count


@given(matrices)
def test_nearest_earlier_looks_only_back(rows: np.ndarray) -> None:
    found = nearest_earlier(rows)
    assert found[0] == np.inf
    for i in range(1, len(rows)):
        assert found[i] == pytest.approx(plain(rows[i : i + 1], rows[:i]).min(), abs=1e-4)


@given(
    hnp.arrays(np.float64, st.tuples(st.integers(1, 9), st.just(3)), elements=st.integers(0, 2)), st.data()
)
def test_fewest_changed_counts_places(rows: np.ndarray, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(rows) - 1))
    place, count = fewest_changed(rows, start)
    for i in range(start, len(rows)):
        changed = [(rows[i] != rows[j]).sum() for j in range(i)] or [4]
        assert count[i - start] == min(changed)
        assert place[i - start] == (int(np.argmin(changed)) if i else 0)


def test_equal_infinities_are_no_change() -> None:
    rows = np.array([[-np.inf, 1.0], [-np.inf, 2.0]])
    assert fewest_changed(rows)[1].tolist() == [3, 1]
