"""The blinding suite in short: every fifth attempt on each detector. `make blind` runs all of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.blinding.outcomes import BLIND
from benchmarks.blinding.suite import trials

#: Half a minute; `tests/detectors/test_blinded_*.py` try these two detectors in less time.
_SLOW = {"collusion", "performance"}


@pytest.mark.parametrize(
    "detector",
    [pytest.param(name, marks=pytest.mark.full if name in _SLOW else ()) for name in sorted(trials())],
)
def test_no_attempt_blinds_a_detector(detector: str) -> None:
    trial = trials()[detector]()
    outcomes = dict(replace(trial, attempts=trial.attempts[::5]).runs())  # type: ignore[arg-type]
    assert len(outcomes) >= 5
    assert [attempt for attempt, outcome in outcomes.items() if outcome == BLIND] == []
