"""Flips in one group of rows."""

from __future__ import annotations

import functools
import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tocsin.stats.residuals import FlipNull, flip_null, flip_terms
from tocsin.stats.subgroups import OTHER, GroupNull, Groups, group_deviates, group_null

SHARE = 0.02


def draw(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows (a partner that says nothing, a column that says a lot, a number), probabilities and labels."""
    rng = np.random.default_rng(seed)
    partner, kind = rng.integers(0, 5, rows), rng.integers(0, 3, rows)
    one = np.array([0.03, 0.5, 0.97])[kind]
    labels = (rng.random(rows) < one).astype(np.intp)
    return np.column_stack([partner, kind, rng.normal(size=rows)]), np.column_stack([1 - one, one]), labels


@functools.cache
def trusted(seed: int = 0) -> tuple[Groups, FlipNull, GroupNull]:
    rows, p, labels = draw(6000, 1_000_000 + seed)
    groups, flips = Groups.of(rows, labels), flip_null(p, labels, np.zeros(6000, dtype=np.intp), SHARE)
    return (
        groups,
        flips,
        group_null(flip_terms(p, labels, flips.priors, SHARE), groups, groups.hot(rows), flips),
    )


def deviates(rows: np.ndarray, p: np.ndarray, labels: np.ndarray, seed: int = 0) -> np.ndarray:
    groups, flips, null = trusted(seed)
    return group_deviates(flip_terms(p, labels, flips.priors, SHARE), groups, groups.hot(rows), flips, null)


def test_every_row_is_in_one_group_of_each_column_also_with_new_values() -> None:
    groups, *_ = trusted()
    rows, *_ = draw(100, 1)
    rows[:10, 0], rows[10:20, 0] = -1, np.nan
    hot = groups.hot(rows)
    for column in (0, 1):
        assert hot[[c == column for c in groups.columns]].sum(axis=0).tolist() == [1.0] * 100
    other = [c == 0 and v == OTHER for c, v in zip(groups.columns, groups.values, strict=True)]
    assert hot[other][0, :20].all()
    assert 2 not in groups.columns  # every value of the number is rare


def test_the_column_that_says_least_of_the_label_has_the_fewest_tests() -> None:
    groups, *_ = trusted()
    tests = dict(zip(groups.columns, groups.tests, strict=True))
    assert groups.columns[0] == 0
    assert tests[0] == 6 * 1.5
    assert tests[1] == 4 * 2 * 1.5


def test_quiet_batches_reach_the_unit_as_rarely_as_they_should() -> None:
    shares = []
    for baseline in range(6):  # each has a sampling error of its own, which all its batches share
        largest = np.array([deviates(*draw(500, seed), baseline).max() for seed in range(100)])
        null = trusted(baseline)[2]
        shares.append([np.mean(largest >= null.largest(alpha)) for alpha in (0.05, 0.003)])
    common, rare = np.mean(shares, axis=0)
    assert common < 0.08
    assert rare < 0.01


def test_flips_of_one_partner_are_found_in_its_group() -> None:
    groups, _, null = trusted()
    rows, p, labels = draw(1000, 7)
    chosen = np.flatnonzero((rows[:, 0] == 3) & (rows[:, 1] != 1))[:25]
    labels[chosen] = 1 - labels[chosen]
    found = deviates(rows, p, labels)
    place = int(found.max(axis=1).argmax())
    assert (groups.columns[place], groups.values[place]) == (0, 3.0)
    assert found.max() > 2 * null.largest(0.003)


def test_flips_under_new_names_are_found_together() -> None:
    groups, *_ = trusted()
    rows, p, labels = draw(1000, 8)
    new = np.flatnonzero(rows[:, 0] == 3)
    rows[new, 0] = 100 + np.arange(len(new))
    labels[new[:60]] = 1 - labels[new[:60]]
    place = int(deviates(rows, p, labels).max(axis=1).argmax())
    assert (groups.columns[place], groups.values[place]) == (0, OTHER)


@given(st.integers(0, 19))
def test_a_group_with_few_rows_is_not_tested(few) -> None:
    rows, p, labels = draw(300, 9)
    rows[:, 0] = 0
    rows[:few, 0] = 3
    groups, *_ = trusted()
    at = [c == 0 and v in (0.0, 3.0) for c, v in zip(groups.columns, groups.values, strict=True)]
    assert deviates(rows, p, labels)[at].max() == 0


def test_a_null_is_plain_numbers() -> None:
    *_, null = trusted()
    read = GroupNull.from_dict(json.loads(json.dumps(null.to_dict())))
    assert all(
        np.array_equal(np.asarray(one), np.asarray(other)) for one, other in zip(null, read, strict=True)
    )


def test_without_columns_of_few_values_there_are_no_groups() -> None:
    rows, p, labels = draw(500, 3)
    groups = Groups.of(rows[:, 2:], labels)
    flips = flip_null(p, labels, np.zeros(500, dtype=np.intp), SHARE)
    terms = flip_terms(p, labels, flips.priors, SHARE)
    assert group_null(terms, groups, groups.hot(rows), flips).scale == 1.0
    assert not groups.values
