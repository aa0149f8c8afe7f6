"""Rivals of the scorecard: each has an environment of its own, and one that cannot answer is skipped with a reason."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from benchmarks.rivals import environments
from benchmarks.rivals.environments import LICENCES, Skipped, Windows, ask

ASKED = Windows(["a", "b"], np.zeros((5, 2)), [np.ones((3, 2)), np.full((4, 2), 2.0)])
ANSWER = """
import json, sys
import numpy as np
now = np.load(sys.argv[1] + "/windows.npz")
means = [float(now["rows"][now["window"] == n].mean()) for n in range(2)]
json.dump([[mean, VERDICT] for mean in means], open(sys.argv[1] + "/answers.json", "w"))
"""


@pytest.fixture
def script(tmp_path, monkeypatch):
    """A rival whose script is given, on this interpreter."""
    monkeypatch.setattr(environments, "HERE", tmp_path)
    monkeypatch.setattr(environments, "python", lambda _rival: sys.executable)
    return (tmp_path / "answer_other.py").write_text


@pytest.mark.parametrize("rival", LICENCES)
def test_a_rival_has_pinned_versions_and_a_script(rival):
    pins = (environments.HERE / f"{rival}.txt").read_text().splitlines()
    assert all(pin.count("==") == 1 and "/" not in pin for pin in pins)
    assert any(pin.startswith(f"{rival}==") for pin in pins)
    assert (environments.HERE / f"answer_{rival}.py").exists()


@pytest.mark.parametrize(("verdict", "own"), [("mean > 1", [False, True]), ("None", None)])
def test_a_rival_answers_on_each_window(script, verdict, own):
    script(ANSWER.replace("VERDICT", verdict))
    answers = ask("other", ASKED)
    assert answers.scores.tolist() == [1, 2]
    assert (answers.verdicts if answers.verdicts is None else answers.verdicts.tolist()) == own


def test_a_rival_that_fails_is_skipped_with_the_reason(script):
    script("raise SystemExit('it needs pandas')")
    with pytest.raises(Skipped, match="other: no answer: it needs pandas"):
        ask("other", ASKED)


def test_a_rival_that_cannot_be_installed_is_skipped(tmp_path, monkeypatch):
    (tmp_path / "other.txt").write_text("nothing==1\n")
    monkeypatch.setattr(environments, "HERE", tmp_path)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    with pytest.raises(Skipped, match="other: no environment"):
        environments.python("other", tmp_path)
