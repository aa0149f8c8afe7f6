"""Logarithms of tail probabilities: SciPy's where a float can hold the probability, and rising beyond."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tocsin.stats.log_tails import log_chi_squared_tail, log_gamma_tail, log_kolmogorov_tail, log_mean_tail
from tocsin.stats.multiplicity import benjamini_hochberg, log_benjamini_hochberg, log_normal_deviate


@given(st.floats(0.1, 500), st.floats(0, 600))
def test_gamma_is_scipys(shape, value):
    expected = stats.gamma.logsf(value, shape)
    if math.isfinite(expected) and expected > -600:
        assert log_gamma_tail(shape, value) == pytest.approx(expected, rel=1e-6, abs=1e-12)


@given(st.integers(1, 60), st.floats(0, 1e5), st.floats(1, 1e4))
def test_a_larger_statistic_has_a_smaller_logarithm(freedom, statistic, more):
    assert log_chi_squared_tail(statistic + more, freedom) < log_chi_squared_tail(statistic, freedom) + 1e-9
    assert math.isfinite(log_chi_squared_tail(statistic + more, freedom))


def test_tails_are_continuous_where_the_formula_changes():
    at = np.linspace(1200, 1400, 400)  # the chi-squared tail falls below the smallest float here
    falls = np.diff([log_chi_squared_tail(x, 5) for x in at])
    assert falls == pytest.approx(np.full(399, falls.mean()), rel=0.01)
    at = np.linspace(17, 19.5, 400)
    values = [log_kolmogorov_tail(x) for x in at]
    assert values == pytest.approx((math.log(2) - 2 * at**2).tolist(), rel=1e-6)


def test_a_skewed_mean_is_a_gamma_and_without_skewness_normal():
    assert log_mean_tail(3.0, 0.0) == pytest.approx(stats.norm.logsf(3.0))
    assert log_mean_tail(3.0, 0.5) == pytest.approx(stats.pearson3.logsf(3.0, 0.5), rel=1e-6)
    assert log_mean_tail(-50.0, 0.5) == 0.0


@given(st.lists(st.floats(1e-12, 1), min_size=1, max_size=30))
def test_adjusted_logarithms_are_logarithms_of_adjusted_values(p):
    found = np.exp(log_benjamini_hochberg(np.log(p)))
    assert found == pytest.approx(benjamini_hochberg(p))


def test_deviates_do_not_saturate():
    assert log_normal_deviate(math.log(0.005)) == pytest.approx(2.576, abs=0.001)
    assert log_normal_deviate(0.0) == 0.0
    assert log_normal_deviate(-5000.0) == pytest.approx(math.sqrt(2 * 5000), rel=0.01)
    with pytest.raises(ValueError, match="at most 0"):
        log_benjamini_hochberg([0.1])
