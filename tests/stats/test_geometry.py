"""Domains, the two spaces, and what is noted of a run of queries."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tocsin.stats.geometry import Placed, Reference, Space, domains, edits, marks, walks


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def known(rng: np.random.Generator, count: int = 500) -> np.ndarray:
    """A code, an age, an amount in hundreds, two correlated measurements."""
    size = rng.normal(size=count)
    return np.column_stack(
        [
            rng.integers(0, 3, count),
            rng.integers(20, 60, count),
            100 * rng.integers(1, 2000, count),
            size + 0.1 * rng.normal(size=count),
            1e6 * (size + 0.1 * rng.normal(size=count)),
        ]
    ).astype(np.float64)


def placed(rng: np.random.Generator, rows: np.ndarray, owner: str = "new") -> Placed:
    reference = known(rng)
    return Reference(reference, ["a", "b"] * 250, domains(reference)).place(rows, [owner] * len(rows))


def test_a_feature_is_closed_where_values_repeat(rng: np.random.Generator) -> None:
    code, age, amount, measured, _ = domains(known(rng))
    assert code.closed == (0.0, 1.0, 2.0)
    assert age.closed is not None
    assert amount.closed is None
    assert amount.whole
    assert not measured.whole


def test_unseen_values(rng: np.random.Generator) -> None:
    code, _, amount, measured, _ = domains(known(rng))
    assert code.unseen(np.array([0.0, 1.5, 3.0])).tolist() == [False, True, True]
    assert amount.unseen(np.array([12_345.0, 12_345.5, -1.0])).tolist() == [False, True, True]
    assert measured.unseen(np.array([0.01234, 99.0])).tolist() == [False, True]


def test_a_missing_value_is_a_value(rng: np.random.Generator) -> None:
    rows = known(rng)
    assert domains(rows)[0].unseen(np.array([-np.inf])).tolist() == [True]
    rows[::2, 0] = np.nan
    assert domains(rows)[0].unseen(np.array([-np.inf])).tolist() == [False]
    assert np.isfinite(Space(rows).ranks(rows)).all()
    assert np.isfinite(Space(rows).deviations(rows)).all()


def test_a_feature_that_is_always_missing_or_constant_does_no_harm(rng: np.random.Generator) -> None:
    rows = known(rng)
    rows[:, 0], rows[:, 1] = np.nan, 7.0
    space = Space(rows)
    assert np.ptp(space.ranks(rows)[:, :2], axis=0).tolist() == [0, 0]
    assert not space.deviations(rows)[:, :2].any()


@given(
    hnp.arrays(np.float64, st.tuples(st.integers(2, 20), st.just(2)), elements=st.integers(-50, 50)),
    st.floats(0.01, 1e6),
)
def test_ranks_follow_neither_scale_nor_shift(rows: np.ndarray, scale: float) -> None:
    moved = rows * scale + 3 * scale
    np.testing.assert_allclose(Space(rows).ranks(rows), Space(moved).ranks(moved))


def test_what_if_questions_are_edits(rng: np.random.Generator) -> None:
    rows = known(rng, 3)
    rows[2] = rows[0]
    rows[2, 2] = 500.0
    origin, edit = edits(rows)
    assert edit.tolist() == [False, False, True]
    assert origin[2] == 0


def test_marks_of_each_kind(rng: np.random.Generator) -> None:
    rows = known(rng, 5)
    rows[1] = rows[0]
    rows[1, 1] = 20.5  # a what-if with a value nobody has
    rows[2] = rows[0] + [0, 0, 100, 0.001, 1e3]  # a small step in three features
    rows[3, :3] = [0.5, 33.3, 12_345.6]  # three values that nobody has
    noted = marks(placed(rng, rows))
    assert noted["edit"].tolist() == [0, 1, 0, 0, 0]
    assert noted["probe"].tolist() == [0, 1, 0, 0, 0]
    assert noted["step"].tolist() == [0, 0, 1, 0, 0]
    assert noted["unseen"].tolist() == [0, 0, 0, 1, 0]
    assert np.isnan(noted["alone"]).tolist() == [False, True, False, False, False]
    assert np.isnan(noted["scatter"]).tolist() == [True, True, False, False, False]


def test_an_edit_is_not_blamed_for_what_it_kept(rng: np.random.Generator) -> None:
    rows = known(rng, 3)
    rows[1] = rows[0]
    rows[1, 1] = 20.5
    rows[2] = rows[1]
    rows[2, 3] = 0.0
    assert marks(placed(rng, rows))["probe"].tolist() == [0, 1, 0]


def test_earlier_queries_only_say_what_was_edited(rng: np.random.Generator) -> None:
    rows = known(rng, 30)
    rows[25] = rows[3]
    rows[25, 0] = (rows[3, 0] + 1) % 3
    of_all, of_run = marks(placed(rng, rows)), marks(placed(rng, rows), 20)
    assert of_run["edit"].tolist() == of_all["edit"][20:].tolist()
    assert of_run["edit"][5] == 1
    assert np.isnan(of_run["scatter"][0])


def test_own_rows_do_not_count_as_reference(rng: np.random.Generator) -> None:
    reference = known(rng, 200)
    both = Reference(reference, ["a", "b"] * 100, domains(reference))
    assert (both.place(reference[::2], ["a"] * 100).far > 0.01).all()
    np.testing.assert_allclose(both.place(reference[::2], ["c"] * 100).far, 0, atol=1e-6)
    alone = Reference(reference, ["a"] * 200, domains(reference))
    np.testing.assert_allclose(alone.place(reference, ["a"] * 200).far, 0, atol=1e-6)


def walk(rows: np.ndarray) -> list[bool]:
    line, path = walks(rows, *edits(rows))
    return (line | path).tolist()


def test_a_path_from_one_row_to_another_is_a_walk(rng: np.random.Generator) -> None:
    here, there = rng.normal(size=(2, 8))
    path = np.array([np.where(np.arange(8) < k, there, here) for k in range(7)])
    assert walk(path) == [False, False, False, True, True, True, True]
    apart = np.empty((14, 8))
    apart[::2], apart[1::2] = path, rng.normal(size=(7, 8))  # hidden among other queries
    assert walk(apart)[::2] == walk(path)
    assert not any(walk(apart)[1::2])


def test_values_of_one_feature_are_a_line_search(rng: np.random.Generator) -> None:
    line = np.repeat(rng.normal(size=(1, 6)), 9, axis=0)
    line[1:, 2] = rng.normal(size=8)
    assert walk(line) == [False] * 6 + [True] * 3


def test_single_what_ifs_about_many_customers_are_no_walk(rng: np.random.Generator) -> None:
    rows = np.repeat(rng.normal(size=(20, 6)), 2, axis=0)
    rows[1::2, 3] = rng.normal(size=20)
    assert not any(walk(rows))


def test_what_ifs_about_one_customer_in_turn_are_no_path(rng: np.random.Generator) -> None:
    rows = np.repeat(rng.normal(size=(1, 8)), 9, axis=0)
    rows[np.arange(1, 9), np.arange(8)] = rng.normal(size=8)
    assert not any(walk(rows))
