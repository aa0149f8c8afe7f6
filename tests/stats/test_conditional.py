import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tocsin.stats.conditional import NormalScores, conditional_weights, normal_scores


def test_residuals_are_those_of_least_squares():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(2000, 4)) @ rng.normal(size=(4, 4))
    left = scores @ conditional_weights(scores)
    for place in range(4):
        others = np.column_stack((np.delete(scores, place, axis=1), np.ones(2000)))
        fitted = others @ np.linalg.lstsq(others, scores[:, place], rcond=None)[0]
        assert np.corrcoef(left[:, place], scores[:, place] - fitted)[0, 1] > 0.95


def test_independent_features_keep_themselves():
    scores = np.random.default_rng(1).normal(size=(5000, 3))
    assert conditional_weights(scores) == pytest.approx(np.eye(3), abs=0.05)


def test_constant_and_copied_features_do_no_harm():
    column = np.random.default_rng(2).normal(size=300)
    weights = conditional_weights(np.column_stack((column, column, np.zeros(300))))
    assert np.isfinite(weights).all()
    assert np.abs(weights).max() < 10


def test_a_broken_relation_shows_in_the_residual_alone():
    rng = np.random.default_rng(3)
    first = rng.normal(size=5000)
    scores = np.column_stack((first, first + 0.2 * rng.normal(size=5000)))
    weights = conditional_weights(scores)
    broken = np.column_stack((scores[:, 0], rng.permutation(scores[:, 1])))
    assert (broken @ weights)[:, 0].std() > 3 * (scores @ weights)[:, 0].std()


@given(st.lists(st.floats(-1e9, 1e9) | st.sampled_from([np.nan, np.inf]), min_size=1, max_size=30))
def test_normal_scores_are_finite_and_keep_the_order(values):
    column = np.array(values)
    baseline = np.sort(np.random.default_rng(4).normal(0, 1e6, 50))
    scores = normal_scores(column[:, None], [NormalScores.of(baseline)])[:, 0]
    assert np.isfinite(scores).all()
    assert (scores[~np.isfinite(column)] == 0).all()
    finite = np.argsort(column[np.isfinite(column)])
    assert (np.diff(scores[np.isfinite(column)][finite]) >= 0).all()


def test_a_normal_score_is_the_middle_of_its_ties():
    normal = NormalScores.of(np.array([1.0, 2.0, 2.0, 2.0, 5.0]))
    ranks = np.array([0, 0.5, 1, 2.5, 4, 4.5, 5])  # below, at 1, between, at 2, between, at 5, above
    expected = stats.norm.ppf((ranks + 0.5) / 6)
    assert normal.of_column(np.array([0.0, 1, 1.5, 2, 3, 5, 9])) == pytest.approx(expected)
