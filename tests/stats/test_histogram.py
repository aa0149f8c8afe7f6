import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.stats.histogram import FEW_VALUES, Bins, quantiles

SAMPLE = st.lists(st.integers(-5, 5) | st.floats(-1e6, 1e6), min_size=1, max_size=300).map(
    lambda values: np.sort(np.array(values, dtype=np.float64))
)


@given(SAMPLE, SAMPLE, st.booleans())
def test_every_value_is_counted_once(baseline, current, nominal):
    counts = Bins.of(baseline, nominal=nominal).counts(current)
    assert counts.sum() == len(current)
    assert (counts >= 0).all()


@given(SAMPLE)
def test_few_values_are_counted_exactly(sample):
    few = sample[:FEW_VALUES]
    values, counts = np.unique(few, return_counts=True)
    bins = Bins.of(few)
    assert bins.exact
    assert bins.marks.tolist() == values.tolist()
    assert bins.counts(few).tolist() == [*counts.tolist(), 0]


def test_values_that_nobody_had_stand_last():
    assert Bins.of(np.array([1.0, 1.0, 2.0])).counts(np.array([0.0, 1.0, 1.5, 2.0, 9.0])).tolist() == [
        1,
        1,
        3,
    ]


def test_many_values_are_counted_between_quantiles():
    sample = np.arange(1000, dtype=np.float64)
    counts = Bins.of(sample).counts(sample)
    assert counts.tolist() == [10, 20, 30, 40, *[100] * 8, 40, 30, 20, 10]
    assert Bins.of(sample).counts(sample + 1e6)[-1] == 1000


def test_many_names_keep_the_frequent_ones():
    names = np.sort(np.concatenate((np.arange(200), np.repeat(np.arange(50, 60), 5)))).astype(np.float64)
    bins = Bins.of(names, nominal=True)
    assert bins.exact
    assert len(bins.marks) == FEW_VALUES
    assert set(range(50, 60)) <= set(bins.marks.tolist())


@given(SAMPLE)
def test_quantiles_are_values_of_the_sample(sample):
    assert set(quantiles(sample, (0.0, 0.25, 0.5, 1.0)).tolist()) <= set(sample.tolist())


def test_an_empty_sample_has_no_quantiles():
    with pytest.raises(ValueError, match="empty"):
        quantiles(np.array([]), (0.5,))
