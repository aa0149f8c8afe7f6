"""The performance of a classifier: SciPy's AUC, and estimates that labels confirm."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tocsin.stats.performance import Calibration, auc, expected_accuracy, log_loss, out_of_fold


@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=40))
def test_the_auc_is_the_share_of_pairs_in_order(rows):
    scores = np.array([float(score) for score, _ in rows])
    positive = np.array([label for _, label in rows])
    found = auc(scores, positive)
    if positive.all() or not positive.any():
        assert np.isnan(found.value)
        return
    statistic = stats.mannwhitneyu(scores[positive], scores[~positive]).statistic
    assert found.value == pytest.approx(statistic / (positive.sum() * (~positive).sum()))
    assert found.error > 0


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=5, max_size=60))
def test_calibrated_probabilities_rise_and_stay_inside(rows):
    scores, positive = np.array([s for s, _ in rows]), np.array([y for _, y in rows])
    p = Calibration.of(scores, positive).of_scores(np.linspace(-1, 2, 50))
    assert (np.diff(p) >= -1e-12).all()
    assert (p >= 1e-3).all()
    assert (p <= 1 - 1e-3).all()
    assert np.isfinite(log_loss(out_of_fold(scores, positive), positive)).all()


def test_the_estimate_is_what_labels_will_say():
    rng = np.random.default_rng(0)
    truth = rng.beta(0.4, 0.9, 60_000)
    positive = rng.random(60_000) < truth
    scores = truth**2  # not calibrated
    learned = Calibration.of(scores[:10_000], positive[:10_000])
    easier = 10_000 + np.flatnonzero((truth[10_000:] < 0.3) | (truth[10_000:] > 0.6))  # another mix of calls
    p, answered = learned.of_scores(scores[easier]), scores[easier] >= 0.25
    estimate = expected_accuracy(p, answered, 10_000)
    assert estimate.value == pytest.approx((answered == positive[easier]).mean(), abs=0.01)
    assert auc(scores[easier], p).value == pytest.approx(
        auc(scores[easier], positive[easier]).value, abs=0.01
    )


def test_the_error_of_an_auc_is_its_scatter():
    rng = np.random.default_rng(1)
    found = []
    for _ in range(300):
        positive = rng.random(400) < 0.3
        found.append(auc(rng.normal(size=400) + 1.5 * positive, positive))
    assert np.mean([f.error for f in found]) == pytest.approx(np.std([f.value for f in found]), rel=0.2)
