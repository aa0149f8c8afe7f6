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
