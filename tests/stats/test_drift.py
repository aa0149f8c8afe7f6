import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tocsin.stats.drift import Sample, counts, effect, shift

COLUMN = st.lists(
    st.floats(-1e6, 1e6) | st.sampled_from([np.nan, np.inf, -np.inf, 0.0]), min_size=1, max_size=80
).map(np.array)


@given(COLUMN)
def test_a_sample_is_sorted_finite_and_loses_no_row(column):
    sample = Sample.of(column)
    assert sample.values.tolist() == sorted(column[np.isfinite(column)].tolist())
    assert sample.rows == len(column)


@given(COLUMN, COLUMN, st.booleans())
def test_every_result_is_a_number_in_its_bounds(first, second, nominal):
    baseline, current = Sample.of(first), Sample.of(second)
    found, size = shift(baseline, current, nominal=nominal), effect(baseline, current, nominal=nominal)
    assert all(0 <= value <= 1 for value in found)
    assert size.psi >= 0
    assert 0 <= size.jensen_shannon <= 1
    assert size.wasserstein_sd is None or size.wasserstein_sd >= 0


@given(COLUMN)
def test_nothing_moves_against_itself(column):
    sample = Sample.of(column)
    assert tuple(shift(sample, sample)) == pytest.approx((0, 1, 1))
    assert effect(sample, sample)[:2] == pytest.approx((0, 0), abs=1e-6)


def test_both_tests_are_scipys():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=5000), rng.normal(0.05, 1, size=1000)
    baseline, current = Sample.of(first), Sample.of(second)
    found = shift(baseline, current)
    expected = stats.ks_2samp(first, second, method="asymp")
    assert found.ks == pytest.approx(expected.statistic)
    assert found.ks_p == pytest.approx(expected.pvalue, rel=0.05)
    table = [c[:-1] for c in counts(baseline, current)]
    expected_counts = stats.chi2_contingency(table, lambda_="log-likelihood")
    assert found.counts_p == pytest.approx(expected_counts.pvalue, abs=0.02)  # but for Williams' correction
    distance = stats.wasserstein_distance(first, second) / first.std()
    assert effect(baseline, current).wasserstein_sd == pytest.approx(distance)


def test_missing_values_are_a_change():
    values = np.random.default_rng(1).normal(size=2000)
    holes = np.where(np.arange(1000) % 20 == 0, np.nan, values[:1000])
    assert shift(Sample.of(values), Sample.of(holes)).counts_p < 1e-10
    assert shift(Sample.of(values), Sample.of(np.full(500, np.nan))).counts_p < 1e-10


def test_names_have_no_order():
    rng = np.random.default_rng(2)
    codes, others = rng.integers(0, 5, 2000).astype(float), rng.integers(1, 6, 500).astype(float)
    found = shift(Sample.of(codes), Sample.of(others), nominal=True)
    assert found.ks_p == 1
    assert found.counts_p < 1e-10
    names = Sample.of(np.array([1.0, 2.0]))
    assert effect(names, names, nominal=True).wasserstein_sd is None


@pytest.mark.parametrize("rows", [5_000, 50_000, 500_000])
def test_a_verdict_follows_the_size_of_a_change_and_not_of_the_sample(rows):
    rng = np.random.default_rng(3)
    baseline = Sample.of(rng.normal(size=20_000))
    tiny, real = (Sample.of(rng.normal(moved, 1, rows)) for moved in (0.02, 0.3))
    assert min(shift(baseline, tiny, row_limit=5000)[1:]) > 1e-3
    assert max(shift(baseline, real, row_limit=5000)[1:]) < 1e-12
