import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tocsin.stats.wasserstein import wasserstein

SAMPLE = st.lists(st.integers(-20, 20) | st.floats(-1e3, 1e3), min_size=1, max_size=60).map(
    lambda values: np.sort(np.array(values, dtype=np.float64))
)


@given(SAMPLE, SAMPLE)
def test_agrees_with_scipy(first, second):
    expected = stats.wasserstein_distance(first, second)
    assert wasserstein(first, second) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(SAMPLE, SAMPLE)
def test_is_symmetric(first, second):
    assert wasserstein(first, second) == wasserstein(second, first)


@given(SAMPLE, st.floats(-100, 100))
def test_is_the_size_of_a_shift(sample, shift):
    assert wasserstein(sample, sample + shift) == pytest.approx(abs(shift), abs=1e-9)


def test_samples_of_very_different_sizes():
    rng = np.random.default_rng(0)
    few, many = np.sort(rng.normal(size=7)), np.sort(rng.normal(size=20_011))
    assert wasserstein(few, many) == pytest.approx(stats.wasserstein_distance(few, many))


def test_an_empty_sample_is_refused():
    with pytest.raises(ValueError, match="empty"):
        wasserstein(np.array([]), np.array([1.0]))


@given(st.integers(0, 2**32 - 1), st.integers(1, 900), st.integers(1, 900), st.integers(1, 400))
def test_samples_of_many_blocks_agree_with_scipy(seed, n, m, different):
    rng = np.random.default_rng(seed)
    first, second = (np.sort(rng.integers(0, different, size) / 7 + rng.choice([0, 0.01])) for size in (n, m))
    expected = stats.wasserstein_distance(first, second)
    assert wasserstein(first, second) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_a_small_shift_far_from_zero():
    rng = np.random.default_rng(0)
    first, second = np.sort(1e6 + rng.normal(size=5_000)), np.sort(1e6 + 1e-3 + rng.normal(size=4_999))
    assert wasserstein(first, second) == pytest.approx(stats.wasserstein_distance(first, second), rel=1e-6)
