"""Coverage: every window has an outcome."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pipeline.test_detect import HOUR, START, Bench, Broken, Learned, bench
from tests.pipeline.test_ledger import SETTING
from tests.stores import open_store
from tocsin.clock import ScriptedClock
from tocsin.contract.plugin import NoParams
from tocsin.pipeline.detecting.coverage import Span, coverage
from tocsin.pipeline.detecting.detect import Detect, Setting

__all__ = ["bench"]


def covered(bench: Bench, hours: int, setting: Setting = SETTING) -> list[Span]:
    return coverage(bench.store, bench.clock, bench.detect.ledger, setting, START, START + hours * HOUR)


def words(spans: list[Span]) -> list[tuple[str, int]]:
    return [(s.outcome, s.windows) for s in spans]


def test_every_answer(bench: Bench) -> None:
    for hour in (0, 1, 3, 4, 6):
        bench.add(hour, 12)
    bench.clock.set(START + 2 * HOUR)
    bench.run()
    bench.add(1, 1, "late")
    bench.run()
    bench.clock.set(START + 5 * HOUR)  # no worker ran for two hours
    bench.run()
    bench.clock.set(START + 7 * HOUR)
    bench.detect.due(SETTING)  # another worker is about to evaluate it
    assert words(covered(bench, 9)) == [
        ("evaluated", 1), ("late", 1), ("empty", 1), ("filled", 1), ("evaluated", 1), ("empty", 1), ("due", 1),
        ("open", 2),
    ]  # fmt: skip


def test_what_nobody_looked_at_is_a_gap(bench: Bench) -> None:
    bench.add(0, 3)
    bench.clock.set(START + 3 * HOUR)
    (gap, empty) = covered(bench, 3)
    assert (gap.outcome, gap.windows, empty.outcome) == ("gap", 1, "empty")
    assert "no worker is running" in gap.reason


def test_failures_are_gaps_and_skips_say_why(bench: Bench) -> None:
    bench.add(0, 3)
    bench.clock.set(START + HOUR)
    for detector, outcome, reason in (
        (Broken, "gap", "ZeroDivisionError: no"),
        (Learned, "skipped", "shorter than half"),
    ):
        setting = Setting(detector(NoParams()))
        bench.detect.run([setting])
        (span,) = covered(bench, 1, setting)
        assert span.outcome == outcome
        assert reason in span.reason


def test_the_searched_range_begins_with_the_baseline(bench: Bench) -> None:
    for hour in range(30):
        bench.add(hour, 5)
    bench.clock.set(START + 30 * HOUR)
    setting = Setting(Learned(NoParams()))
    bench.detect.run([setting])
    spans = covered(bench, 30, setting)
    assert words(spans) == [("skipped", 24), ("evaluated", 6)]
    assert spans[1].rows == 30
    assert spans[1].searched == START + 24 * HOUR - timedelta(days=2)


@settings(max_examples=15, deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["add", "run", "wait", "claim"]), st.integers(0, 7)),
        min_size=1,
        max_size=12,
    )
)
def test_spans_cover_the_time_without_holes(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    clock = ScriptedClock(START)
    bench = Bench(clock, open_store(tmp_path_factory.mktemp("coverage"), clock))
    for number, (step, hour) in enumerate(steps):
        if step == "add":
            bench.add(hour, 2, prefix=f"{number}-")
        elif step == "run":
            bench.run()
        elif step == "claim":
            Detect(bench.store, clock).ledger.claim(SETTING, 1)
        else:
            clock.advance(hour * HOUR)
    spans = covered(bench, 10)
    assert spans[0].start == START
    assert spans[-1].end == START + 10 * HOUR
    assert all(a.end == b.start for a, b in zip(spans, spans[1:], strict=False))
    assert sum(s.windows for s in spans) == 10
    full = {(t - START) // HOUR for t in bench.stream("access")["@timestamp"].to_list()}
    for span in spans:
        if span.outcome == "empty":
            assert not full & set(range((span.start - START) // HOUR, (span.end - START) // HOUR))
    bench.store.close()
