"""What the scorecard computes from its trials: pooled seeds, intervals, AUC, and rows that stay on disk."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import cache
from benchmarks.card import Row, shared
from benchmarks.pooling import auc, pooled
from tests.conftest import ROOT

SCORES = st.lists(st.integers(0, 8).map(float), min_size=1, max_size=40)
OF = ("detector", "data", "case")


def test_seeds_become_one_share_with_an_interval():
    seeds = [[shared(OF, "TPR", scores)] for scores in ([0.5, 1.0], [2.0, 0.1, 3.0, 1.5])]
    (row,) = pooled(seeds)
    assert row.trials == 6
    assert row.value == pytest.approx(4 / 6)
    assert row.low is not None and row.high is not None and row.low < row.value < row.high


@given(SCORES, SCORES)
def test_the_share_of_pooled_seeds_is_that_of_all_trials(first, second):
    row = pooled([[shared(OF, "TPR", first, least=4)], [shared(OF, "TPR", second, least=4)]])[0]
    assert row.value == pytest.approx(np.mean(np.asarray([*first, *second]) >= 4))
    assert row.low is not None and row.high is not None
    assert 0 <= row.low <= row.value + 1e-12 and row.value - 1e-12 <= row.high <= 1


@pytest.mark.parametrize(("score", "ends"), [(2.0, (0.6915, 1.0)), (0.5, (0.0, 0.3085))])
def test_trials_that_all_agree_have_an_interval_too(score, ends):
    (row,) = pooled([[shared(OF, "TPR", [score] * 10)]])
    assert (row.low, row.high) == pytest.approx(ends, abs=1e-4)


@given(SCORES, SCORES)
def test_auc_is_the_share_of_pairs_in_order(quiet, attack):
    expected = np.mean([(a > q) + 0.5 * (a == q) for q in quiet for a in attack])
    assert auc(np.asarray(quiet), np.asarray(attack)) == pytest.approx(expected)


def test_permuted_labels_have_an_auc_of_a_half():
    scores = np.random.default_rng(0).normal(size=4000)
    assert auc(scores[:2000], scores[2000:]) == pytest.approx(0.5, abs=0.03)


def test_a_fixed_rate_of_false_alarms_comes_from_quiet_trials_alone():
    quiet = shared((*OF[:2], "quiet"), "FPR", np.linspace(0, 1, 100), quiet=True)
    attack = shared(OF, "TPR", [0.5, 0.992, 2.0, 2.0])
    found = {row.metric: row.value for row in pooled([[quiet, attack]]) if row.case == "case"}
    assert found["TPR at 1 % FPR"] == pytest.approx(0.5)
    assert "TPR at 0.1 % FPR" not in found
    assert found["AUC"] == pytest.approx(auc(np.linspace(0, 1, 100), np.asarray([0.5, 0.992, 2.0, 2.0])))


def test_rows_stay_on_disk_until_the_code_changes(tmp_path, monkeypatch):
    rows = [shared(OF, "TPR", [1.0, 2.0], 0.9), Row(*OF, "error", 0.1, 3)]
    assert cache.load("drift", 0, tmp_path) is None
    cache.store("drift", 0, rows, 1.5, tmp_path)
    assert cache.load("drift", 0, tmp_path) == (rows, 1.5)
    assert cache.load("drift", 1, tmp_path) is None
    monkeypatch.setattr(cache, "digest", lambda _family: "another")
    assert cache.load("drift", 0, tmp_path) is None


def test_a_family_depends_on_the_modules_that_it_imports():
    names = {
        str(path.relative_to(ROOT)) for path in cache._imported(ROOT / "benchmarks/scorecards/poisoning.py")
    }
    assert {"benchmarks/card.py", "benchmarks/scorecards/label_verdicts.py"} <= names
    assert "benchmarks/scorecards/access.py" not in names


def test_the_page_is_up_to_date():
    done = subprocess.run(
        [sys.executable, "docs/scorecard.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
