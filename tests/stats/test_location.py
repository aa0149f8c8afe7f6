import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tocsin.stats.location import mean_shift_p_value


def test_agrees_with_a_z_test():
    rng = np.random.default_rng(0)
    first, second = np.sort(rng.normal(size=900)), np.sort(rng.normal(0.1, 1, size=800))
    low, high = first[0], first[899]
    a, b = np.clip(first, low, high), np.clip(second, low, high)
    z = (b.mean() - a.mean()) / np.sqrt(a.var() * (1 / 900 + 1 / 800))
    assert mean_shift_p_value(first, second) == pytest.approx(2 * stats.norm.sf(abs(z)), rel=0.02)


@given(st.floats(0, 3), st.floats(0, 3))
def test_falls_with_the_shift(less, more):
    less, more = sorted((less, more))
    base = np.sort(np.random.default_rng(1).normal(size=500))
    assert mean_shift_p_value(base, base + more) <= mean_shift_p_value(base, base + less) + 1e-12


def test_no_single_value_decides():
    base = np.sort(np.random.default_rng(2).normal(size=2000))
    wild = np.sort(np.append(base[::2], 1e12))
    assert mean_shift_p_value(base, wild) > 0.5


def test_more_rows_than_the_limit_count_as_the_limit():
    rng = np.random.default_rng(3)
    base, many = np.sort(rng.normal(size=20_000)), np.sort(rng.normal(0.05, 1, 50_000))
    assert mean_shift_p_value(base, many, 500) > 0.05 > mean_shift_p_value(base, many)


def test_a_constant_says_nothing():
    assert mean_shift_p_value(np.ones(5), np.zeros(5)) == 1
