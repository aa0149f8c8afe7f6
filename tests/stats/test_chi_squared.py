import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tocsin.stats.chi_squared import chi_squared

COUNTS = st.lists(st.integers(0, 200), min_size=4, max_size=12)


@given(st.lists(st.tuples(st.integers(20, 500), st.integers(20, 500)), min_size=2, max_size=12))
def test_agrees_with_scipy_where_no_bin_is_rare(pairs):
    first, second = map(list, zip(*pairs, strict=True))
    expected = stats.chi2_contingency([first, second], correction=False, lambda_="log-likelihood")
    if expected.expected_freq.min() < 5:
        return
    found = chi_squared(first, second)
    total, bins = sum(first) + sum(second), np.add(first, second)
    spread = (total / sum(first) + total / sum(second) - 1) * ((total / bins).sum() - 1)
    williams = 1 + spread / (6 * total * expected.dof)
    assert found.freedom == expected.dof
    assert found.statistic == pytest.approx(max(expected.statistic, 0) / williams, abs=1e-9)


def test_its_tail_is_right_where_bins_are_rare():
    rng = np.random.default_rng(0)
    shares = np.diff([0, 0.02, 0.04, 0.06, 0.1, 0.3, 0.5, 0.7, 0.9, 0.94, 0.97, 1])
    tables = zip(rng.multinomial(9000, shares, 20_000), rng.multinomial(300, shares, 20_000), strict=True)
    p = np.array([chi_squared(first, second).p for first, second in tables])
    assert 0.8 < np.mean(p < 1e-2) / 1e-2 < 1.2
    assert 0.4 < np.mean(p < 1e-3) / 1e-3 < 1.6


@given(COUNTS, st.integers(0, 2**32))
def test_is_symmetric_and_does_not_follow_the_order_of_bins(counts, seed):
    rng = np.random.default_rng(seed)
    other = rng.permutation(counts)
    found = chi_squared(counts, other)
    assert chi_squared(other, counts).p == pytest.approx(found.p)
    assert 0 <= found.p <= 1
    order = rng.permutation(len(counts))
    distinct = np.unique(np.add(counts, other)).size == len(counts)
    if distinct:  # of equally small bins any may take up the rare ones
        assert chi_squared(np.array(counts)[order], other[order]).p == pytest.approx(found.p)


@given(COUNTS)
def test_is_quiet_on_itself(counts):
    assert chi_squared(counts, counts).p == pytest.approx(1)


def test_rare_bins_are_pooled():
    assert chi_squared([500, 500, 1, 0, 0], [100, 100, 0, 1, 1]).freedom == 1


def test_a_flood_of_something_new_is_seen():
    assert chi_squared([5000, 0], [950, 50]).p < 1e-12


@pytest.mark.parametrize("counts", [[[0, 0], [1, 2]], [[5], [9]], [[0], [0]]])
def test_nothing_to_compare(counts):
    assert chi_squared(*counts).p == 1


def test_rare_categories_raise_no_false_alarms():
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.full(60, 0.3))
    p = [chi_squared(rng.multinomial(5000, shares), rng.multinomial(1000, shares)).p for _ in range(1000)]
    assert np.mean(np.array(p) < 0.01) < 0.025
