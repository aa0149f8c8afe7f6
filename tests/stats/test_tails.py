"""The upper tail of what is normal."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.stats.tails import Tail


def test_an_exponential_tail_is_passed_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    tail = Tail.of(rng.exponential(3.0, 20_000), noise=0.0)
    z = (rng.exponential(3.0, 100_000) - tail.start) / tail.excess
    assert np.mean(z >= 3) == pytest.approx(0.2 * np.exp(-3), rel=0.15)


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=40), st.floats(0, 10))
def test_it_starts_inside_and_its_excess_is_at_least_the_noise(values: list[float], noise: float) -> None:
    tail = Tail.of(np.array(values), noise)
    assert min(values) <= tail.start <= max(values)
    assert tail.excess >= max(noise, 1e-9)


def test_one_value_has_no_tail() -> None:
    with pytest.raises(ValueError, match="1 normal values; a tail needs at least 2"):
        Tail.of(np.array([1.0]), 0.0)
