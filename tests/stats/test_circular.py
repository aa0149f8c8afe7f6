"""Densities of the hour of day."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.stats.circular import HOURS, hour_density, shrunk

COUNTS = st.lists(st.integers(0, 500), min_size=HOURS, max_size=HOURS)


@given(COUNTS)
def test_it_is_a_distribution(counts: list[int]) -> None:
    density = hour_density(np.asarray(counts, dtype=float))
    assert density.sum() == pytest.approx(1)
    assert (density > 0).all() or sum(counts) > 0


@given(COUNTS, st.integers(0, HOURS))
def test_it_has_no_midnight(counts: list[int], turn: int) -> None:
    values = np.asarray(counts, dtype=float)
    assert hour_density(np.roll(values, turn)) == pytest.approx(np.roll(hour_density(values), turn))


def test_nothing_seen_is_even() -> None:
    assert hour_density(np.zeros(HOURS)) == pytest.approx(np.full(HOURS, 1 / HOURS))


def test_neighboring_hours_share_and_far_ones_do_not() -> None:
    density = hour_density(np.eye(HOURS)[23])
    assert density[23] > density[0] > density[1] > 0.01 > density[11]


@given(COUNTS)
def test_shrinking_lies_between_own_and_team(counts: list[int]) -> None:
    own, team = np.asarray(counts, dtype=float), hour_density(np.eye(HOURS)[9])
    mixed = shrunk(own, team, 10)
    alone = hour_density(own) if own.sum() else team
    assert mixed.sum() == pytest.approx(1)
    assert (mixed <= np.maximum(alone, team) + 1e-12).all()
    assert (mixed >= np.minimum(alone, team) - 1e-12).all()
