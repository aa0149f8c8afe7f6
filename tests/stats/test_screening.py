"""The cheap signs of queries, and the blocks that they choose."""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tocsin.stats.dependence import Dependence
from tocsin.stats.geometry import domains
from tocsin.stats.screening import BLOCK, Signs, chosen


def signs_of(rows: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    known = np.random.default_rng(0).integers(0, 9, (400, 4)).astype(np.float64)
    signs = Signs(
        domains(known),
        Dependence((), ()),
        known.mean(axis=0).astype(np.float32),
        known.std(axis=0).astype(np.float32),
        0.6,
    )
    columns = np.ascontiguousarray(rows.T, dtype=np.float32)
    return signs.of(columns, confidence.astype(np.float32), np.arange(len(rows)))


def test_each_sign_sees_its_queries() -> None:
    rows = np.array([[1, 2, 3, 4], [8, 7, 6, 5], [1, 2, 3, 9.5], [90, 90, 90, 90]], dtype=np.float64)
    strange, far, walks = signs_of(rows, np.array([0.9, 0.5, 0.9, np.nan]))
    assert strange.tolist() == [0, 1, 1, 1]
    assert far.argmax() == 3
    assert walks.tolist() == [0, 0, 1, 0]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.integers(0, 400), min_size=1, max_size=6), st.integers(0, 9))
def test_blocks_are_whole_within_a_principal_and_hold_the_newest(counts: list[int], seed: int) -> None:
    stops = np.cumsum(counts, dtype=np.intp)
    starts = stops - counts
    signs = np.random.default_rng(seed).uniform(size=(3, int(stops[-1]))).astype(np.float32)
    for start, stop, blocks in zip(starts, stops, chosen(signs, starts, stops), strict=True):
        assert len(blocks) <= len(signs) + 1
        assert all(start <= block <= stop - BLOCK for block in blocks)
        assert (stop - BLOCK in blocks) == (stop - start >= BLOCK)


def test_the_highest_block_of_each_sign_is_chosen() -> None:
    signs = np.zeros((2, 10 * BLOCK), dtype=np.float32)
    signs[0, 3 * BLOCK], signs[1, 6 * BLOCK + 7] = 1, 1
    (blocks,) = chosen(signs, np.array([0]), np.array([10 * BLOCK]))
    assert blocks.tolist() == [3 * BLOCK, 6 * BLOCK, 9 * BLOCK]
