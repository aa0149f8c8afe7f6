"""Verdicts over windows to episodes, and episodes to alerts, as pure functions."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.alerting.conftest import DAY, MODEL, START
from tocsin.contract.alerts import Alert
from tocsin.contract.findings import Finding, Severity, finding_id
from tocsin_alerting.episodes import Verdict, episodes, join

NOW = START + 100 * DAY
verdicts = st.dictionaries(
    st.integers(0, 12), st.sampled_from([None, *Severity]), min_size=1, max_size=13
).map(lambda days: [verdict(day, severity) for day, severity in days.items()])


def verdict(day: int, severity: Severity | None, length: timedelta = DAY) -> Verdict:
    start = START + day * DAY
    if severity is None:
        return Verdict(start, start + length)
    found = Finding(
        id=finding_id("d", start, start + length, MODEL),
        detector="d",
        subject=MODEL,
        severity=severity,
        score=1.0 + severity.rank,
        threshold=1.0,
        window_start=start,
        window_end=start + length,
        techniques=(),
        reason="moved",
        evidence={},
    )
    return Verdict(start, start + length, found)


@given(verdicts, st.randoms())
def test_the_order_of_evaluation_does_not_matter(evaluated: list[Verdict], random: Random) -> None:
    shuffled = list(evaluated)
    random.shuffle(shuffled)
    assert episodes(shuffled) == episodes(evaluated)


@given(verdicts)
def test_every_finding_is_in_exactly_one_episode_and_they_do_not_overlap(evaluated: list[Verdict]) -> None:
    found = episodes(evaluated)
    inside = [f.id for episode in found for f in episode.findings]
    assert sorted(inside) == sorted(v.finding.id for v in evaluated if v.finding)
    assert all(
        a.resolved is not None and a.resolved <= b.start for a, b in zip(found, found[1:], strict=False)
    )


@given(verdicts)
def test_the_newest_window_decides_whether_it_fires(evaluated: list[Verdict]) -> None:
    found = episodes(evaluated)
    newest = max(evaluated, key=lambda v: v.end)
    assert (bool(found) and found[-1].resolved is None) == (newest.finding is not None)


def test_a_quiet_window_that_overlaps_the_last_finding_resolves_nothing() -> None:
    quiet = Verdict(START + DAY / 2, START + 1.5 * DAY)
    assert episodes([verdict(0, Severity.HIGH), quiet])[0].resolved is None
    after = Verdict(START + DAY, START + 2 * DAY)
    assert episodes([verdict(0, Severity.HIGH), quiet, after])[0].resolved == START + 2 * DAY


def merge(known: list[Alert], changed: list[Alert]) -> list[Alert]:
    return list({**{a.id: a for a in known}, **{a.id: a for a in changed}}.values())


@given(verdicts)
def test_joining_again_changes_nothing(evaluated: list[Verdict]) -> None:
    known = join([], episodes(evaluated), START, "default", NOW)
    assert join(known, episodes(evaluated), START, "default", NOW + DAY) == []


@given(verdicts, verdicts)
def test_after_any_amendment_the_alerts_say_what_the_windows_say(
    first: list[Verdict], second: list[Verdict]
) -> None:
    known = join([], episodes(first), START, "default", NOW)
    amended = {v.start: v for v in [*first, *second]}.values()
    truth = episodes(amended)
    alerts = merge(known, join(known, truth, START, "default", NOW + DAY))
    firing = [a for a in alerts if a.firing]
    assert len(firing) == (bool(truth) and truth[-1].resolved is None)
    for episode in truth:  # every finding is in an alert
        assert any(a.started <= episode.start and episode.end <= a.window_end for a in alerts)
    for alert in firing:
        assert (alert.started, alert.window_end) == (truth[-1].start, truth[-1].end)
        assert alert.severity == truth[-1].severity
        assert alert.findings == len(truth[-1].findings)


def test_reading_only_the_newest_windows_of_a_long_alert_keeps_its_worst_and_its_count() -> None:
    days = [verdict(day, Severity.CRITICAL if day == 0 else Severity.LOW) for day in range(5)]
    (known,) = join([], episodes(days[:4]), START, "default", NOW)
    (alert,) = join([known], episodes(days[3:]), START + 3 * DAY, "default", NOW)
    assert (alert.severity, alert.findings, alert.started) == (Severity.CRITICAL, 5, START)


@pytest.mark.parametrize("severity", [Severity.LOW, Severity.CRITICAL])
def test_a_resolved_alert_that_got_worse_is_told_again(severity: Severity) -> None:
    evaluated = [verdict(0, Severity.MEDIUM), verdict(1, None)]
    (known,) = join([], episodes(evaluated), START, "default", NOW)
    known = settled(known)
    (alert,) = join([known], episodes([verdict(0, severity), evaluated[1]]), START, "default", NOW)
    assert alert.settled is (severity is Severity.LOW)


def settled(alert: Alert) -> Alert:
    return replace(alert, settled=True, unwritten=())
