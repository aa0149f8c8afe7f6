"""Surprise: what a principal does is cheap, what only others do is dear."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.stats.surprise import Floats, Touches, counted, surprise

NOW = 100.0


def touches(rows: list[tuple[int, int, int]], principals: int = 5, resources: int = 8) -> Touches:
    """Touches of (day, principal, resource), all of one pool."""
    rows = sorted(set(rows))
    day, who, what = (np.asarray([row[i] for row in rows], dtype=np.int64) for i in range(3))
    return Touches(day.astype(np.float64), who, what, np.zeros(principals, dtype=np.int64), resources)


def judge(past: Touches, *pairs: tuple[int, int], now: float = NOW, half_life: float = 365.0) -> Floats:
    who, what = (np.asarray([pair[i] for pair in pairs], dtype=np.int64) for i in range(2))
    return surprise(past, who, what, np.full(len(pairs), 0.05), now, half_life)


#: Principals 0 and 1 work on resources 0 to 2 every day, 2 to 4 on 3 to 5.
TEAMS = touches([(d, p, r) for d in range(90) for p in range(5) for r in ((0, 1, 2) if p < 2 else (3, 4, 5))])


def test_own_resources_are_no_surprise() -> None:
    assert judge(TEAMS, (0, 0))[0] < 1


def test_another_teams_resource_is_a_surprise() -> None:
    own, other = judge(TEAMS, (0, 0))[0], judge(TEAMS, (0, 3))[0]
    assert other > 3 > own


def test_a_newcomer_at_what_is_popular_is_hardly_one() -> None:
    rows = [(d, p, r) for d in range(90) for p in range(4) for r in range(3)]
    assert judge(touches(rows), (4, 0))[0] < 1.5


def test_what_nobody_touched_before_is_hardly_one() -> None:
    assert judge(TEAMS, (0, 7))[0] < judge(TEAMS, (0, 3))[0]


def test_who_often_touches_what_is_new_surprises_less() -> None:
    wanderer = [(d, 0, d % 7) for d in range(60)]
    settled = [(d, 1, 0) for d in range(60)] + [
        (d, p, r) for d in range(60) for p in (2, 3) for r in range(8)
    ]
    found = judge(touches(wanderer + settled), (0, 7), (1, 7))
    assert found[0] < found[1]


def test_what_goes_together_surprises_less() -> None:
    """Resources 3 and 4 are touched on the same days, 5 on others: 3 with 4 is one step, 3 with 5 two."""
    rows = [(d, 0, 0) for d in range(90)]
    rows += [(d, p, r) for d in range(0, 90, 2) for p in (2, 3) for r in (3, 4)]
    rows += [(d, p, 5) for d in range(1, 90, 2) for p in (2, 3)]
    past = touches(rows)
    assert judge(past, (0, 3), (0, 4)).sum() < judge(past, (0, 3), (0, 5)).sum()


def test_an_old_habit_fades() -> None:
    rows = [(d, 0, 0) for d in range(10)] + [(d, p, r) for d in range(100) for p in (1, 2) for r in range(3)]
    rows += [(d, 0, 3) for d in range(60, 100)]
    past = touches(rows)
    assert judge(past, (0, 0), half_life=10)[0] > judge(past, (0, 0), half_life=1000)[0]


def test_pools_do_not_share_what_is_lately_new() -> None:
    rows = [(d, p, 0) for d in range(90) for p in range(5)]
    rows += [(d, p, r) for d in range(80, 90) for p, r in ((1, 1), (2, 1), (3, 2), (4, 2))]
    past = touches(rows)
    apart = Touches(past.time, past.principal, past.resource, np.asarray([0, 1, 1, 0, 0]), past.resources)
    assert judge(apart, (0, 1))[0] > judge(past, (0, 1))[0]


def test_without_a_past_nothing_is_a_surprise() -> None:
    assert judge(touches([]), (0, 0), (1, 3)).tolist() == [0.0, 0.0]
    assert len(judge(TEAMS)) == 0


ROWS = st.lists(st.tuples(st.integers(0, 99), st.integers(0, 4), st.integers(0, 7)), max_size=60)
PAIRS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 7)), min_size=1, max_size=12, unique=True)


@given(ROWS, PAIRS)
def test_it_is_finite_and_never_below_zero(
    rows: list[tuple[int, int, int]], pairs: list[tuple[int, int]]
) -> None:
    found = judge(touches(rows), *pairs)
    assert np.isfinite(found).all()
    assert (found >= 0).all()


@given(ROWS, PAIRS)
def test_the_order_of_accesses_does_not_matter(
    rows: list[tuple[int, int, int]], pairs: list[tuple[int, int]]
) -> None:
    found = dict(zip(pairs, judge(touches(rows), *pairs), strict=True))
    reversed_order = dict(zip(pairs[::-1], judge(touches(rows), *pairs[::-1]), strict=True))
    assert found == pytest.approx(reversed_order)


def test_counted_counts_and_weighs() -> None:
    codes = np.asarray([0, 2, 2])
    assert counted(codes, 4).tolist() == [1, 0, 2, 0]
    assert counted(codes, 3, np.asarray([0.5, 1.0, 2.0])).tolist() == [0.5, 0, 3.0]
