import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tocsin.stats.multiplicity import benjamini_hochberg, normal_deviate

P = st.lists(st.floats(0, 1), min_size=1, max_size=50)


@given(P)
def test_agrees_with_scipy(p):
    assert benjamini_hochberg(p) == pytest.approx(stats.false_discovery_control(p))


@given(P)
def test_never_smaller_never_reordered_never_above_one(p):
    adjusted = benjamini_hochberg(p)
    assert (adjusted >= np.array(p) - 1e-12).all()
    assert (adjusted <= 1).all()
    order = np.argsort(p, kind="stable")
    assert (np.diff(adjusted[order]) >= 0).all()


def test_nothing_gives_nothing():
    assert benjamini_hochberg([]).size == 0


def test_what_is_no_probability_is_refused():
    with pytest.raises(ValueError, match="between 0 and 1"):
        benjamini_hochberg([0.5, 1.5])


@pytest.mark.parametrize(("p", "deviate"), [(1, 0), (0.5, 0), (0.005, 2.576), (1e-300, 37.05), (0, 37.05)])
def test_a_p_value_as_a_score(p, deviate):
    assert normal_deviate(p) == pytest.approx(deviate, abs=0.005)
