"""Which groups explain a rise, and when it began."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.stats.attribution import Group, attribute
from tocsin.stats.onset import onset

SEEDS = st.integers(0, 10_000)


def groups(rises: list[float], seed: int, rows: int = 60) -> list[Group]:
    """Groups of rows with a spread of 1, each with a rise of its own."""
    rng = np.random.default_rng(seed)
    values = [rng.normal(rise, 1, rows) for rise in rises]
    return [
        Group(f"g{k}", rows, float(v.mean()), float(v.std()) / rows**0.5, 0.0) for k, v in enumerate(values)
    ]


@given(SEEDS, st.integers(4, 30), st.floats(3, 50))
def test_one_group_that_rose_is_named(seed: int, number: int, rise: float) -> None:
    found = attribute(groups([rise, *[0.0] * (number - 1)], seed))
    assert "g0" in [group.name for group in found.few]
    assert not found.alike


@given(SEEDS, st.integers(4, 30), st.floats(2, 50))
def test_groups_that_rose_alike_are_not_few(seed: int, number: int, rise: float) -> None:
    found = attribute(groups([rise] * number, seed))
    assert found.alike
    assert not found.few


@given(SEEDS, st.integers(4, 20))
def test_half_of_the_groups_are_neither_few_nor_alike(seed: int, half: int) -> None:
    found = attribute(groups([5.0] * half + [0.0] * half, seed))
    assert not found.few
    assert not found.alike


def test_two_groups_cannot_be_told_apart() -> None:
    assert attribute(groups([9.0, 0.0], 0)) == attribute([])


@given(SEEDS, st.integers(20, 400), st.integers(20, 400))
def test_an_onset_is_found(seed: int, before: int, after: int) -> None:
    rng = np.random.default_rng(seed)
    found = onset(np.concatenate((rng.normal(0, 1, before), rng.normal(4, 1, after))), 0.0)
    assert abs(found.place - before) <= 5
    assert found.first <= found.place <= found.last


@given(SEEDS, st.floats(-5, 5), st.floats(0.1, 100))
def test_an_onset_does_not_depend_on_the_unit(seed: int, shift: float, scale: float) -> None:
    rng = np.random.default_rng(seed)
    values = np.concatenate((rng.normal(0, 1, 100), rng.normal(3, 1, 50)))
    assert onset(values, 0.0).place == onset(values * scale + shift, shift).place


def test_an_onset_needs_values() -> None:
    with pytest.raises(ValueError, match="needs values"):
        onset(np.array([]), 0.0)
