"""The newest queries of many principals, compared at once: as those of each principal alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.stats.test_extraction import queries, rows, world
from tocsin.stats import newest_runs
from tocsin.stats.extraction import Honest
from tocsin.stats.geometry import Reference
from tocsin.stats.newest_runs import Many, highest

__all__ = ["world"]
#: Numbers of queries that are cut into runs of exactly their size.
WHOLE = (5, 19, 20, 40, 100, 200, 1000)


def asked(rng: np.random.Generator, count: int, odd: float) -> np.ndarray:
    """Queries of which a share edits an earlier one, or lacks a value, or is random."""
    found = rows(rng, count)
    for i in np.flatnonzero(rng.random(count) < odd):
        kind = rng.integers(3)
        if kind == 0 and i:
            found[i] = found[int(rng.integers(max(0, int(i) - 30), int(i)))]
            found[i, rng.integers(6)] = rng.normal()
        elif kind == 1:
            found[i, rng.integers(6)] = np.nan
        else:
            found[i] = rng.uniform(-3, 3, 6)
    return found


@settings(deadline=None, max_examples=30)
@given(st.lists(st.sampled_from(WHOLE), min_size=1, max_size=6), st.integers(0, 9), st.booleans())
def test_the_highest_z_of_each_is_that_of_its_own_judgement(
    world: tuple[Honest, Reference], counts: list[int], seed: int, small: bool
) -> None:
    honest, reference = world
    rng = np.random.default_rng(seed)
    sent = [asked(rng, n, (0.0, 0.2, 0.8)[(seed + i) % 3]) for i, n in enumerate(counts)]
    every = [queries(reference, f"q{i}", one, rng) for i, one in enumerate(sent)]
    stops = np.cumsum(counts).astype(np.intp)
    owners = [one.owner for one in every for _ in range(len(one.placed))]
    many = Many(
        reference.place(np.concatenate(sent), owners),
        np.concatenate([one.confidence for one in every]),
        [one.owner for one in every],
        np.concatenate([np.zeros(1, dtype=np.intp), stops[:-1]]),
        stops,
    )
    with pytest.MonkeyPatch.context() as patch:
        if small:
            patch.setattr(newest_runs, "_PAIRS", 1)  # a call for each principal
        found = highest(honest, many, 50)
    for z, one in zip(found, every, strict=True):
        judged = honest.judge(one, 50)
        assert z == pytest.approx(0.0 if judged is None else judged.z)


def test_no_principals(world: tuple[Honest, Reference]) -> None:
    honest, reference = world
    none = np.zeros(0, dtype=np.intp)
    many = Many(reference.place(np.zeros((0, 6)), []), np.zeros(0), [], none, none)
    assert highest(honest, many, 5).shape == (0,)
