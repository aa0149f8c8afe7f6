"""How many labels changed, in which way, and since when."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.stats.label_change import Level, flips_or_shift, level, step_or_ramp
from tocsin.stats.residuals import flip_null


def draw(rows: int, seed: int, scale: float = 1.0, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    logit = 2.5 * rng.normal(size=rows)
    one, now = 1 / (1 + np.exp(-logit)), 1 / (1 + np.exp(-scale * logit - shift))
    return np.column_stack([1 - one, one]), (rng.random(rows) < now).astype(np.intp)


NULL = flip_null(*draw(20_000, 0), np.zeros(20_000, dtype=np.intp), 0.02)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.05])
def test_the_share_of_random_flips_is_estimated(share) -> None:
    p, labels = draw(20_000, 1)
    chosen = np.random.default_rng(2).choice(20_000, round(share * 20_000), replace=False)
    labels[chosen] = 1 - labels[chosen]
    found = level(p, labels, NULL, 0.02, 2)
    assert abs(found.share - share) < max(3 * found.error, 0.1 * share)


def test_flips_are_told_from_a_shift_of_the_relation() -> None:
    flips, shifts = [], []
    for seed in range(20):
        p, labels = draw(1000, seed)
        chosen = np.random.default_rng(seed).choice(np.flatnonzero(labels == 0), 60, replace=False)
        labels[chosen] = 1
        flips.append(flips_or_shift(p, labels, NULL, 1))
        shifts.append(flips_or_shift(*draw(1000, seed, shift=1.0), NULL, 1))
    assert np.mean(np.array(flips) > 0) > 0.9
    assert np.mean(np.array(shifts) < 0) > 0.9
    assert flips_or_shift(np.full((5, 3), 1 / 3), np.zeros(5, dtype=np.intp), NULL, 0) == 0


def drawn_by_a_feature(rows: int, seed: int, effect: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A relation that has gained the effect of the third of six features; labels that were drawn from it by four in five."""
    rng = np.random.default_rng(seed)
    logit, features = 2.5 * rng.normal(size=rows), rng.exponential(size=(rows, 6))
    features[rng.random(rows) < 0.1, 2] = np.nan
    feature = np.nan_to_num(features[:, 2], nan=1.0) - 1
    moved = rng.random(rows) < 0.8
    now = 1 / (1 + np.exp(-np.where(moved, 0.3 * logit + effect * feature, logit)))
    one = 1 / (1 + np.exp(-logit))
    return np.column_stack([1 - one, one]), (rng.random(rows) < now).astype(np.intp), features


def test_a_relation_that_gains_a_feature_is_told_from_flips() -> None:
    moved = [drawn_by_a_feature(1000, seed, effect) for seed in range(10) for effect in (-1.5, 1.5)]
    told = [flips_or_shift(p, labels, NULL, 2, features) < 0 for p, labels, features in moved]
    assert np.mean(told) > 0.9


@pytest.mark.parametrize("share", [0.05, 0.1, 0.2])
def test_flips_are_flips_beside_features_and_in_a_group(share: float) -> None:
    """A quarter of the rows is the group. Features, of which the group is one, do not explain its flips."""
    told = []
    for seed in range(20):
        p, labels = draw(1000, seed)
        rng = np.random.default_rng(seed)
        group = rng.random(1000) < 0.25
        features = np.column_stack([rng.normal(size=(1000, 20)), group])
        for part in (np.arange(1000), np.flatnonzero(group)):
            flipped = labels.copy()
            chosen = rng.choice(part, round(share * 1000 / (1 if len(part) == 1000 else 2)), replace=False)
            flipped[chosen] = 1 - flipped[chosen]
            told.append(flips_or_shift(p, flipped, NULL, 2, features, group) > 0)
    assert np.mean(told) > 0.9


@given(st.integers(3, 12), st.floats(0.05, 0.5))
def test_growth_is_told_from_a_step(snapshots, height) -> None:
    errors = 0.01
    ramp = [Level(height * (i + 1) / snapshots, errors) for i in range(snapshots)]
    step = [Level(height * (i >= snapshots // 2), errors) for i in range(snapshots)]
    assert step_or_ramp(ramp) < 0 < step_or_ramp(step) or snapshots == 3


def test_one_snapshot_is_neither() -> None:
    assert step_or_ramp([Level(0.0, 0.01), Level(0.0, 0.01), Level(0.1, 0.01)]) == pytest.approx(0)
