import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tocsin.stats.runs import ranges


@given(st.lists(st.tuples(st.integers(-50, 50), st.integers(-50, 50)), max_size=20))
def test_ranges_are_one_after_the_other(pairs):
    starts, ends = (np.array([pair[k] for pair in pairs], dtype=np.int64) for k in (0, 1))
    assert ranges(starts, ends).tolist() == [n for start, end in pairs for n in range(start, end)]
