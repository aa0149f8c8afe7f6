import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tocsin.stats.ks import ks_p_value, ks_statistic

SAMPLE = st.lists(st.integers(-20, 20) | st.floats(-1e6, 1e6), min_size=1, max_size=60).map(
    lambda values: np.sort(np.array(values, dtype=np.float64))
)


@given(SAMPLE, SAMPLE)
def test_agrees_with_scipy_ties_included(first, second):
    expected = (
        stats.ks_2samp(first, second, method="asymp").statistic if min(len(first), len(second)) > 1 else None
    )
    found = ks_statistic(first, second)
    if expected is not None:
        assert found == pytest.approx(expected, abs=1e-12)
    assert 0 <= found <= 1


@given(SAMPLE, SAMPLE)
def test_is_symmetric(first, second):
    assert ks_statistic(first, second) == pytest.approx(ks_statistic(second, first), abs=1e-12)


@given(SAMPLE)
def test_is_zero_on_itself(sample):
    assert ks_statistic(sample, sample) == 0
    assert ks_statistic(sample, np.sort(np.tile(sample, 3))) == pytest.approx(0, abs=1e-12)


@given(SAMPLE, st.floats(0, 100), st.floats(0, 100))
def test_grows_with_a_shift(sample, less, more):
    less, more = sorted((less, more))
    assert ks_statistic(sample, sample + less) <= ks_statistic(sample, sample + more) + 1e-12


def test_without_overlap_it_is_one():
    assert ks_statistic(np.array([1.0, 2.0]), np.array([3.0])) == 1


@pytest.mark.parametrize("size", [50, 500, 5000])
@pytest.mark.parametrize("z", [0.8, 1.2, 1.6, 2.0])
def test_p_values_are_those_of_the_finite_distribution(size, z):
    statistic = z / np.sqrt(size)
    assert ks_p_value(statistic, size) == pytest.approx(stats.kstwo.sf(statistic, size), rel=0.1)


def test_p_values_are_uniform_under_the_null():
    rng = np.random.default_rng(0)
    p = [
        ks_p_value(ks_statistic(np.sort(rng.normal(size=150)), np.sort(rng.normal(size=600))), 120)
        for _ in range(1000)
    ]
    assert np.mean(np.array(p) < 0.05) == pytest.approx(0.05, abs=0.02)


def test_an_empty_sample_is_refused():
    with pytest.raises(ValueError, match="empty"):
        ks_statistic(np.array([]), np.array([1.0]))


@given(st.integers(0, 2**32 - 1), st.integers(1, 900), st.integers(1, 900), st.integers(1, 400))
def test_samples_of_many_blocks_agree_with_the_plain_definition(seed, n, m, different):
    rng = np.random.default_rng(seed)
    few, many = (np.sort(rng.integers(0, different, size) / 7 + rng.choice([0, 0.01, 3])) for size in (n, m))
    values = np.concatenate((few, many))
    distances = [
        np.abs(np.searchsorted(few, values, side) / n - np.searchsorted(many, values, side) / m).max()
        for side in ("left", "right")
    ]
    assert ks_statistic(few, many) == pytest.approx(max(distances), abs=1e-12)


@pytest.mark.parametrize("shift", [0.0, 1e-3, 0.5])
def test_large_samples_agree_with_scipy(shift):
    rng = np.random.default_rng(0)
    first, second = np.sort(rng.normal(size=40_000)), np.sort(rng.normal(shift, size=39_989))
    expected = stats.ks_2samp(first, second, method="asymp").statistic
    assert ks_statistic(first, second) == pytest.approx(expected, abs=1e-12)
