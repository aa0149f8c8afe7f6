"""Severities: the table of ratios, calibrated tables, and how often known distributions reach them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.config import discovery
from tocsin.contract.findings import Severity
from tocsin.contract.plugin import Detector
from tocsin.contract.severities import RATES, RATIOS, Severities, Tail, supported
from tocsin.stats.calibration import calibrate

TAILS = st.sampled_from(Tail)


def test_the_ratios_are_those_of_the_handbook() -> None:
    steps = {0.99: None, 1.0: "low", 1.5: "medium", 2.0: "high", 3.0: "critical", 300.0: "critical"}
    for ratio, severity in steps.items():
        found = RATIOS.of(ratio * 0.2, 0.2)
        assert (found and found.value) == severity


@given(TAILS, st.floats(1e-6, 0.5), st.floats(0, 10), st.floats(0, 10))
def test_severity_rises_with_the_score_and_never_comes_below_the_threshold(
    tail: Tail, alarms: float, first: float, second: float
) -> None:
    table = Severities.calibrated(tail, alarms)
    low, high = (table.of(score, 1.0) for score in sorted((first, second)))
    assert (low.rank if low else -1) <= (high.rank if high else -1)
    assert (high is None) == (max(first, second) < 1 - 1e-9)
    assert 1 <= table.medium <= table.high <= table.critical


@settings(deadline=None)  # the first call imports scipy
@given(TAILS, st.floats(1e-4, 0.1))
def test_a_calibrated_severity_has_its_rate(tail: Tail, alarms: float) -> None:
    """On the distribution that the tail names, whatever the rate of the threshold."""
    from scipy.special import ndtr

    exceeds = {Tail.NORMAL: lambda x: ndtr(-x), Tail.EXPONENTIAL: lambda x: 0.5 * math.exp(-x)}[tail]
    table, threshold = Severities.calibrated(tail, alarms), tail.quantile(alarms)
    for multiple, (severity, rate) in zip(table, RATES.items(), strict=True):
        assert exceeds(multiple * threshold) == pytest.approx(min(rate, alarms), rel=1e-6)
        assert table.of(multiple * threshold, threshold).rank >= severity.rank  # type: ignore[union-attr]


@pytest.mark.parametrize("tail", Tail)
def test_learned_thresholds_keep_the_rates_that_can_be_counted(tail: Tail) -> None:
    """300 baselines with 200 quiet scores each, and a million scores: one in a thousand at most is `medium`."""
    rng = np.random.default_rng(0)

    def draw(count: int) -> np.ndarray:
        signs = rng.random(count) < 0.5
        own = np.abs(rng.normal(size=count)) if tail is Tail.NORMAL else rng.exponential(size=count)
        return np.where(signs, own, 0.0)

    table, scores = Severities.calibrated(tail, 0.01), draw(1_000_000)
    thresholds = [calibrate(draw(200).tolist(), 0.01) for _ in range(300)]
    medium = np.median([(scores >= table.medium * threshold).mean() for threshold in thresholds])
    high = np.mean([(scores >= table.high * threshold).mean() for threshold in thresholds])
    assert medium <= 1.0e-3
    assert (
        high <= 1.0e-4
    )  # a threshold from 200 scores is often too low by a fifth: ten times the stated rate


@given(TAILS, st.floats(1e-4, 0.2), st.floats(0, 6))
def test_the_consequence_of_a_rule_has_the_severity_that_it_states(
    tail: Tail, alarms: float, points: float
) -> None:
    table = Severities.calibrated(tail, alarms)
    stated, placed = RATIOS.of(points, 1.0), table.of(table.placed(points), 1.0)
    assert (placed.rank if placed else -1) >= (stated.rank if stated else -1)


def test_a_quantile_needs_a_probability() -> None:
    with pytest.raises(ValueError, match="above 0 and below"):
        Tail.NORMAL.quantile(0.5)


def test_few_scores_support_no_critical_severity() -> None:
    assert [supported(n) for n in (8, 29, 30, 99, 100, 5000)] == [
        Severity.MEDIUM, Severity.MEDIUM, Severity.HIGH, Severity.HIGH, Severity.CRITICAL, Severity.CRITICAL,
    ]  # fmt: skip


def test_the_handbook_has_the_multiples_of_each_detector() -> None:
    lines = (Path(__file__).parents[2] / "docs/analyst.md").read_text().splitlines()
    table = [
        line.strip("| ").split(" | ") for line in lines if line.startswith("| `") or "all others" in line
    ]
    known = {name.strip("` "): row[1:] for row in table if len(row) == 4 for name in row[0].split(",")}
    for id, plugin in discovery.discover().of(Detector).items():  # type: ignore[type-abstract]
        assert (id in known) == (plugin.tail is not None)
        row = known[id if plugin.tail else "all others"]
        assert [float(multiple) for multiple in row] == pytest.approx(list(plugin.table()), abs=0.01)
