"""A new installation: rules judge at once, a shortened baseline judges with a wider threshold, and both say so."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pipeline.test_detect import HOUR, START, Bench, Learned
from tocsin.clock import ScriptedClock
from tocsin.contract.evaluation import judge
from tocsin.contract.findings import Score, Severity, Subject
from tocsin.contract.plugin import NoParams, Requires
from tocsin.contract.short import capped, is_short, widened, wider
from tocsin.contract.streams import ID, TIME
from tocsin.contract.windows import Baseline, FrameSource, Window
from tocsin.pipeline.detecting.coverage import coverage
from tocsin.pipeline.detecting.records import newest_findings
from tocsin.pipeline.detecting.settings import Setting
from tocsin.store.embedded.delta import DeltaStore
from tocsin.testing.cases import Case
from tocsin.testing.day_one_checks import check_rules, check_shortest, of
from tocsin.testing.reruns import CheckError

DAY = timedelta(days=1)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    clock = ScriptedClock(START)
    store = DeltaStore.open(tmp_path, clock=clock)
    yield Bench(clock, store)
    store.close()


class Ruled(Learned):
    """Learns how many accesses are usual; with 100 accesses, a rule is broken whatever is usual."""

    id = "ruled"
    requires = Requires("access", window="1h", baseline="2d", shortest="16h")
    rules = True
    floor = 1.0

    def score(self, window: Window) -> Iterator[Score]:
        for user, count in window.summary("access", ["user.id"]).iter_rows():
            value = float(count) if window.baseline else 2.0 * (count >= 100)
            yield Score(Subject("principal", user), value, f"{count} accesses")


def test_rules_judge_before_there_is_a_baseline_and_then_a_short_one_does(bench: Bench) -> None:
    for hour in range(18):
        bench.add(hour, 5)
    bench.add(1, 100, "eve")
    bench.add(17, 50, "eve")
    bench.add(17, 120, "mal")
    bench.clock.set(START + 18 * HOUR)
    setting = Setting(Ruled(NoParams()))
    bench.detect.run([setting])

    found = newest_findings(bench.store).sort("tocsin.window.start", "tocsin.subject.id")
    assert found["tocsin.subject.id"].to_list() == ["eve", "eve", "mal"]
    first, short, rule = found.to_dicts()
    assert (first["tocsin.severity"], first["tocsin.baseline.digest"] or "") == ("high", "")
    assert short["tocsin.severity"] == "medium"
    assert "short baseline of 16h" in short["event.reason"]
    assert "at most medium" in short["event.reason"]
    assert rule["tocsin.severity"] == "high"  # by the rule, which needs no history

    spans = coverage(bench.store, bench.clock, bench.detect.ledger, setting, START, START + 18 * HOUR)
    assert {span.outcome for span in spans} == {"evaluated"}
    assert "judged with a short baseline of" in spans[-1].reason
    reasons = bench.stream("run").sort("tocsin.window.start")["event.reason"].to_list()
    assert reasons[0].startswith("judged without a baseline: rules only")
    (version, *_) = bench.detect.baselines.versions("ruled")
    assert version.start == START
    assert version.threshold is not None


class Hourly(Ruled):
    """Learns the most accesses in an hour."""

    id = "hourly"

    def fit(self, window: Window) -> Baseline | None:
        hours = window.scan("access", [TIME]).select(pl.col(TIME).dt.truncate("1h")).collect()
        return Baseline(values={"most": int(hours[TIME].value_counts()["count"].max())})  # type: ignore[arg-type]


def test_a_habit_that_a_short_baseline_reports_is_learned_and_what_a_whole_one_reports_is_not(
    bench: Bench,
) -> None:
    for hour in range(48):
        bench.add(hour, 5)
    bench.add(17, 20)
    bench.add(40, 90)
    bench.clock.set(START + 48 * HOUR)
    setting = Setting(Hourly(NoParams()))
    bench.detect.run([setting])
    found = newest_findings(bench.store).sort("tocsin.window.start")
    short = found.filter(pl.col("tocsin.window.start") == START + 17 * HOUR)
    assert short["tocsin.severity"].to_list() == ["medium"]
    recorded = bench.detect.fit(setting, START + 48 * HOUR)
    *_, last = bench.detect.baselines.versions("hourly")[:-1]  # fitted before the first finding was recorded
    for version in (last, recorded):
        assert bench.detect.baselines.load(version).values == {"most": 20}


def test_a_detector_without_declarations_waits_as_before() -> None:
    assert not is_short(Learned.requires, HOUR)
    assert wider(Learned.requires, HOUR) == 1.0
    assert of(Learned) == ()


@given(st.floats(7.0, 200.0), st.floats(7.0, 200.0))
def test_a_threshold_is_wider_the_shorter_the_history(one: float, two: float) -> None:
    requires = Requires("access", window="1d", baseline="90d", shortest="7d")
    factors = sorted((wider(requires, timedelta(days=length)), -length) for length in (one, two))
    assert factors[0][1] <= factors[1][1]
    assert 1.0 <= factors[0][0] <= factors[1][0] <= math.sqrt(45 / 7)
    assert widened(Baseline(threshold=2.0), requires, 45 * DAY).threshold == 2.0
    assert widened(Baseline(threshold=2.0), requires, 11.25 * DAY).threshold == 4.0
    assert widened(Baseline(), requires, 8 * DAY).threshold is None


def test_the_cap_says_so_and_leaves_what_is_mild() -> None:
    rows = pl.DataFrame({TIME: [START], ID: ["1"], "user.id": ["ana"]})
    window = Window(START, START + HOUR, FrameSource.of({"access": rows}), Baseline(threshold=0.25))
    (judged,) = judge(Ruled(NoParams()), window)
    found = judged.finding
    assert found is not None
    assert found.severity is Severity.CRITICAL
    requires = Requires("access", window="1d", baseline="90d", shortest="7d")
    for length, severity in ((9, Severity.MEDIUM), (14, Severity.HIGH)):
        worst = capped(judged, requires, length * DAY).finding
        assert worst is not None
        assert worst.severity is severity
        assert worst.reason == f"1 accesses; short baseline of {length}d, so at most {severity}"
        assert worst.evidence["uncapped"] == "critical"
    mild = capped(replace(judged, finding=replace(found, severity=Severity.LOW)), requires, 9 * DAY).finding
    assert mild is not None
    assert (mild.severity, mild.reason) == (Severity.LOW, "1 accesses; short baseline of 9d")


def test_the_conformance_checks_refuse_false_declarations() -> None:
    class Pretends(Learned):
        id = "pretends"
        requires = Requires("access", window="1h", baseline="2d", shortest="1d")
        rules = True

    case = Case.__new__(Case)
    with pytest.raises(CheckError, match="floor"):
        check_rules(Pretends, case)
    with pytest.raises(CheckError, match="less than half"):
        check_shortest(Pretends, case)
