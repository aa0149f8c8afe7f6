import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import distance

from tocsin.stats.divergence import jensen_shannon, psi

PAIR = st.integers(1, 20).flatmap(
    lambda bins: st.tuples(
        *[
            st.lists(st.integers(0, 1000), min_size=bins, max_size=bins).filter(
                lambda counts: sum(counts) > 0
            )
            for _ in range(2)
        ]
    )
)


@given(PAIR)
def test_jensen_shannon_agrees_with_scipy_and_is_bounded(pair):
    first, second = pair
    found = jensen_shannon(first, second)
    assert found == pytest.approx(distance.jensenshannon(first, second, base=2), abs=1e-6)
    assert 0 <= found <= 1


@given(PAIR)
def test_both_are_symmetric_and_zero_on_themselves(pair):
    first, second = pair
    for measure in (psi, jensen_shannon):
        assert measure(first, second) == pytest.approx(measure(second, first), abs=1e-12)
        assert measure(first, first) == pytest.approx(0, abs=1e-7)
    assert psi(first, second) >= 0


def test_psi_grows_with_a_shift_and_an_empty_bin_is_finite():
    before = [100, 100, 100, 100]
    found = [psi(before, [100 - moved, 100, 100, 100 + moved]) for moved in (0, 20, 60, 100)]
    assert found == sorted(found)
    assert np.isfinite(found[-1])


def test_psi_is_the_textbook_figure():
    p, q = np.array([0.5, 0.5]), np.array([0.4, 0.6])
    assert psi(p * 1e9, q * 1e9) == pytest.approx(((p - q) * np.log(p / q)).sum())


@pytest.mark.parametrize("measure", [psi, jensen_shannon])
def test_other_bins_are_refused(measure):
    with pytest.raises(ValueError, match="bins"):
        measure([1, 2], [1, 2, 3])


def test_counts_of_nothing_are_refused():
    with pytest.raises(ValueError, match="a histogram has no counts"):
        jensen_shannon([0, 0], [1, 2])
