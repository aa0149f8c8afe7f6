"""Detect: touched windows, baselines, revisions, failures and re-evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from tocsin.clock import ScriptedClock
from tocsin.contract.findings import Score, Subject
from tocsin.contract.frames import NEWEST_LAST, conform
from tocsin.contract.plugin import Detector, NoParams, Requires
from tocsin.contract.streams import ID, TIME
from tocsin.contract.windows import Baseline, Window
from tocsin.errors import BaselineError
from tocsin.pipeline.detecting.coverage import coverage
from tocsin.pipeline.detecting.detect import Detect, Setting
from tocsin.pipeline.detecting.records import newest_findings
from tocsin.store.cluster.elastic import ElasticStore
from tocsin.store.embedded.delta import DeltaStore
from tocsin.store.protocol import Store

START = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Count(Detector[NoParams]):
    """How many accesses a principal made: a rule."""

    id = "count"
    requires = Requires("access", window="1h")
    threshold = 10.0

    def score(self, window: Window) -> Iterator[Score]:
        for user, count in window.summary("access", ["user.id"]).iter_rows():
            yield Score(Subject("principal", user), float(count), f"{count} accesses in {window.words}")


class Learned(Detector[NoParams]):
    """The same against the most of a baseline."""

    id = "learned"
    requires = Requires("access", window="1h", baseline="2d")

    def fit(self, window: Window) -> Baseline | None:
        rows = window.summary("access", ["user.id"])
        return Baseline(values={"most": max(rows["count"].to_list())}) if rows.height else None

    def score(self, window: Window) -> Iterator[Score]:
        for user, count in window.summary("access", ["user.id"]).iter_rows():
            yield Score(Subject("principal", user), float(count), f"{count} accesses")


class Broken(Detector[NoParams]):
    """Fails."""

    id = "broken"
    requires = Requires("access", window="1h")
    threshold = 1.0

    def score(self, window: Window) -> Iterator[Score]:
        raise ZeroDivisionError("no")
        yield


class Bench:
    def __init__(self, clock: ScriptedClock, store: Store) -> None:
        self.clock, self.store = clock, store
        self.detect = Detect(store, clock)

    def add(
        self, hour: int, count: int, user: str = "ana", prefix: str = "", at: timedelta = timedelta(0)
    ) -> None:
        rows = {
            TIME: [START + hour * HOUR + at + timedelta(seconds=i) for i in range(count)],
            ID: [f"{prefix}{hour}-{user}-{i}" for i in range(count)],
            "user.id": [user] * count,
        }
        self.store.append("access", conform(pl.DataFrame(rows), "access"))

    def run(self, detector: type[Detector[NoParams]] = Count, **how: object) -> list[tuple[str, int, int]]:
        setting = Setting(detector(NoParams()), **how)  # type: ignore[arg-type]
        return [(r.outcome, (r.start - START) // HOUR, len(r.findings)) for r in self.detect.run([setting])]

    def stream(self, name: str) -> pl.DataFrame:
        return self.store.scan(name).collect()


@pytest.fixture(params=["delta", "elasticsearch"])
def bench(request: pytest.FixtureRequest, tmp_path: Path, namespace: str) -> Iterator[Bench]:
    """Every test runs on both stores: findings must not depend on the store."""
    clock = ScriptedClock(START)
    store: Store = DeltaStore.open(tmp_path, clock=clock)
    if request.param == "elasticsearch":
        url = request.getfixturevalue("elasticsearch_url")
        store = ElasticStore.open(url, namespace, clock, replicas=0)
    yield Bench(clock, store)
    store.close()


def test_only_windows_that_are_over_are_evaluated(bench: Bench) -> None:
    bench.add(0, 12)
    bench.add(1, 3)
    assert bench.run() == []
    bench.clock.set(START + HOUR)
    assert bench.run() == [("evaluated", 0, 1)]
    bench.clock.set(START + 2 * HOUR)
    assert bench.run(lateness=timedelta(minutes=10)) == []
    bench.clock.advance(timedelta(minutes=10))
    assert bench.run(lateness=timedelta(minutes=10)) == [("evaluated", 1, 0)]
    assert bench.run() == []


def test_running_again_changes_nothing(bench: Bench) -> None:
    bench.add(0, 12)
    bench.clock.set(START + HOUR)
    bench.run()
    before = {name: bench.stream(name) for name in ("score", "finding", "run")}
    setting = Setting(Count(NoParams()))
    assert len(bench.detect.run([setting], START, START + HOUR)) == 1
    for name, frame in before.items():
        assert bench.stream(name).equals(frame)


def test_late_data_amends_a_finding_and_never_doubles_it(bench: Bench) -> None:
    bench.add(0, 12)
    bench.clock.set(START + HOUR)
    bench.run()
    bench.add(0, 30, prefix="late-")
    assert bench.run() == [("late", 0, 1)]
    assert bench.stream("finding").height == 2
    found = newest_findings(bench.store)
    assert found.height == 1
    assert found["tocsin.score"].to_list() == [42.0]
    assert found["tocsin.severity"].to_list() == ["critical"]


def test_a_finding_that_late_data_takes_back_is_withdrawn_and_can_come_again(bench: Bench) -> None:
    class Shy(Count):
        """Silent as soon as bob is there."""

        def score(self, window: Window) -> Iterator[Score]:
            users = window.summary("access", ["user.id"])["user.id"].to_list()
            if "bob" not in users or "eve" in users:
                yield Score(Subject("principal", "ana"), 12.0, "without bob")

    bench.add(0, 12)
    bench.clock.set(START + HOUR)
    bench.run(Shy)
    bench.add(0, 1, "bob")
    assert bench.run(Shy) == [("late", 0, 0)]
    assert newest_findings(bench.store).is_empty()
    assert newest_findings(bench.store, withdrawn=True).height == 1
    bench.add(0, 1, "eve")
    assert bench.run(Shy) == [("late", 0, 1)]
    assert newest_findings(bench.store).height == 1
    assert bench.stream("finding").height == 3


def test_a_baseline_rolls_and_a_pinned_one_stands(bench: Bench) -> None:
    for hour in range(60):
        bench.add(hour, 5)
    bench.add(60, 40)
    bench.clock.set(START + 61 * HOUR)
    runs = bench.run(Learned)
    assert runs[-1] == ("evaluated", 60, 1)
    skipped = [hour for outcome, hour, _ in runs if outcome == "skipped"]
    assert skipped == list(range(24))
    versions = bench.detect.baselines.versions("learned")
    assert [version.end for version in versions] == [
        START + h * HOUR for h in (24, 36, 48, 60)
    ]  # a quarter of 2 d
    reasons = bench.stream("run").filter(pl.col("event.action") == "skipped")["event.reason"]
    assert reasons.str.contains("shorter than half").all()

    pinned = bench.detect.fit(Setting(Learned(NoParams())), START + 50 * HOUR)
    bench.detect.baselines.pin("learned", pinned.number)
    bench.add(61, 40)
    bench.clock.set(START + 62 * HOUR)
    assert bench.run(Learned) == [("evaluated", 61, 1)]
    used = bench.stream("run").filter(pl.col("tocsin.window.start") == START + 61 * HOUR)
    assert used["tocsin.baseline.digest"].to_list() == [pinned.digest]
    bench.detect.baselines.pin("learned", None)
    assert bench.detect.baselines.pinned("learned") is None


def test_an_attack_does_not_teach_a_rolling_baseline(bench: Bench) -> None:
    for hour in range(96):
        bench.add(hour, 40 if 60 <= hour < 70 else 5)
    bench.clock.set(START + 96 * HOUR)
    bench.run(Learned)
    version = bench.detect.fit(Setting(Learned(NoParams())), START + 96 * HOUR)
    assert version.threshold == 5.0


def test_a_changed_baseline_is_not_trusted(bench: Bench) -> None:
    for hour in range(60):
        bench.add(hour, 5)
    version = bench.detect.fit(Setting(Learned(NoParams())), START + 60 * HOUR)
    forged = b'{"values": {"most": 999}, "threshold": 99999.0}'
    name = f"baselines/learned/000001-{version.digest}/values.json"
    bench.store.save_file(name, lambda path: _write(Path(path), forged))
    with pytest.raises(BaselineError, match="has changed since it was fitted"):
        Detect(bench.store, bench.clock).baselines.load(version)
    bench.detect.baselines.pin("learned", version.number)
    bench.add(60, 5)
    bench.clock.set(START + 61 * HOUR)
    runs = Detect(bench.store, bench.clock).run([Setting(Learned(NoParams()))])
    assert not any(run.done for run in runs)
    assert (START + 60 * HOUR, "baseline") in [(run.start, run.fault) for run in runs]


def test_one_that_fails_is_recorded_tried_again_ever_less_often_and_stops_nobody(bench: Bench) -> None:
    bench.add(0, 12)
    bench.clock.set(START + HOUR)
    both = [Setting(Broken(NoParams())), Setting(Count(NoParams()))]
    assert [r.outcome for r in bench.detect.run(both)] == ["failed", "evaluated"]
    assert bench.detect.run(both) == []  # not at once
    for minutes in (1, 2, 4):
        bench.clock.advance(timedelta(minutes=minutes))
        assert [(r.outcome, r.attempt) for r in bench.detect.run(both)] == [
            ("failed", minutes.bit_length() + 1)
        ]
    bench.clock.advance(timedelta(minutes=8, seconds=1))
    assert [r.outcome for r in bench.detect.run(both)] == ["gap", "failed"]
    runs = bench.stream("run").filter(pl.col("tocsin.detector.id") == "broken").sort("tocsin.run.attempt")
    assert runs["event.action"].to_list().count("gap") == 1
    failed = runs.filter(pl.col("event.action") == "failed")
    assert failed["tocsin.run.attempt"].to_list() == [1, 2, 3, 4, 5]
    assert set(failed["event.reason"]) == {"ZeroDivisionError: no"}
    assert set(failed["error.type"]) == {"raised"}
    assert "4 attempts failed" in runs.filter(pl.col("event.action") == "gap")["event.reason"][0]


def test_a_gap_is_recorded_and_filled_oldest_first(bench: Bench) -> None:
    for hour in range(3):
        bench.add(hour, 12)
    bench.clock.set(START + HOUR)
    assert bench.run() == [("evaluated", 0, 1)]
    bench.clock.set(START + 9 * HOUR)  # no worker ran
    assert bench.run() == [("gap", 1, 0), ("gap", 2, 0), ("filled", 1, 1), ("filled", 2, 1)]
    assert bench.run() == []
    gaps = bench.stream("run").filter(pl.col("event.action") == "gap")
    assert gaps.height == 2
    assert gaps["event.reason"].str.contains("it was due at 2026-03-01T0[23]:00:00Z").all()
    assert newest_findings(bench.store).height == 3


@pytest.mark.parametrize("wrong", ["score", "subject", "evidence", "value"])
def test_wrong_output_is_a_failure_of_its_own(bench: Bench, wrong: str) -> None:
    class Wrong(Count):
        def score(self, window: Window) -> Iterator[Score]:
            good = Score(Subject("principal", "ana"), 12.0, "so")
            yield {  # type: ignore[misc]
                "score": ("ana", 12.0),
                "subject": replace(good, subject=Subject("principal", 7)),  # type: ignore[arg-type]
                "evidence": replace(good, evidence={"rows": object()}),  # type: ignore[dict-item]
                "value": replace(good, value="high"),  # type: ignore[arg-type]
            }[wrong]

    bench.add(0, 12)
    bench.clock.set(START + HOUR)
    assert bench.run(Wrong) == [("failed", 0, 0)]
    assert bench.stream("run")["error.type"].to_list() == ["output"]


def test_a_window_without_baseline_is_recorded_as_skipped(bench: Bench) -> None:
    bench.add(0, 3)
    bench.clock.set(START + HOUR)
    assert bench.run(Learned) == [("skipped", 0, 0)]
    with pytest.raises(BaselineError, match="does not use a baseline"):
        bench.detect.fit(Setting(Count(NoParams())), START + HOUR)


def test_a_time_that_is_named_is_evaluated_whole(bench: Bench) -> None:
    for hour in range(5):
        bench.add(hour, 12)
    bench.clock.set(START + 24 * HOUR)
    middle = START + timedelta(minutes=90)
    runs = bench.detect.run([Setting(Count(NoParams()))], middle, START + 3 * HOUR)
    assert [(r.start - START) // HOUR for r in runs] == [1, 2]
    assert [r.rows for r in runs] == [12, 12]


def test_events_that_come_during_an_attempt_keep_the_window_pending(bench: Bench) -> None:
    """Two processes: one re-evaluates an open window while the other ingests more events of it."""
    bench.add(0, 3)
    other, setting = Detect(bench.store, bench.clock), Setting(Count(NoParams()))

    class Slow(Count):
        def score(self, window: Window) -> Iterator[Score]:
            yield from super().score(window)
            bench.add(0, 9, prefix="meanwhile-")
            other.due(setting)  # its cursor advances past them

    bench.detect.run([Setting(Slow(NoParams()))], START, START + HOUR)
    bench.clock.set(START + HOUR)
    assert [(run.outcome, run.rows) for run in other.run([setting])] == [("late", 12)]


@pytest.mark.parametrize(("seconds", "first"), [(30, 90), (90, 90)])
def test_a_backfill_finds_the_windows_of_any_length(bench: Bench, seconds: int, first: int) -> None:
    bench.add(0, 1, at=timedelta(seconds=105))
    detector = Count(NoParams())
    detector.configure("count", Requires("access", window=f"{seconds}s"), None)
    runs = bench.detect.run([Setting(detector)], START, START + HOUR)
    assert [run.start for run in runs] == [START + timedelta(seconds=first)]


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


class Moody(Detector[NoParams]):
    """Returns a different score at each evaluation of the same window."""

    id = "moody"
    requires = Requires("access", window="1h")
    threshold = 1.0
    mood = 2.0

    def score(self, window: Window) -> Iterator[Score]:
        if not self.mood:
            raise KeyError("boom")
        yield Score(Subject("principal", "eve"), self.mood, "moody")


def test_what_is_said_again_after_something_else_is_in_force_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.add(0, 3)
    bench.clock.set(START + HOUR)
    setting = Setting(Moody(NoParams()))
    bench.detect.run([setting])
    for mood, outcome, findings in [
        (0.0, "gap", 1),
        (2.0, "evaluated", 1),
        (0.5, "evaluated", 0),
        (2.0, "evaluated", 1),
    ]:
        monkeypatch.setattr(Moody, "mood", mood)
        bench.clock.advance(timedelta(minutes=1))
        bench.detect.run([setting], START, START + HOUR)
        (span,) = coverage(bench.store, bench.clock, bench.detect.ledger, setting, START, START + HOUR)
        assert span.outcome == outcome
        assert newest_findings(bench.store).height == findings
        assert bench.stream("score").sort(NEWEST_LAST)["tocsin.score"].last() == (mood or 2.0)
        before = {name: bench.stream(name).height for name in ("score", "finding", "run")}
        bench.detect.run([setting], START, START + HOUR)  # repeating it adds no rows
        assert {name: bench.stream(name).height for name in before} == before


def test_a_threshold_that_is_taken_back_is_in_force_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The numbers of scores and findings are equal: only the judgements differ."""
    bench.add(0, 12)
    bench.clock.set(START + HOUR)
    for threshold in (10.0, 11.0, 10.0):
        monkeypatch.setattr(Count, "threshold", threshold)
        bench.detect.run([Setting(Count(NoParams()))], START, START + HOUR)
        assert bench.stream("score").sort(NEWEST_LAST)["tocsin.threshold"].last() == threshold


def test_a_backfill_with_another_window_length_is_done(bench: Bench) -> None:
    bench.add(0, 3)
    bench.clock.set(START + HOUR)
    assert bench.run() == [("evaluated", 0, 0)]
    other = Count(NoParams())
    other.configure("count", Requires("access", window="30m"), None)
    runs = bench.detect.run([Setting(other)], START, START + HOUR)
    assert [(run.start, run.end - run.start, run.rows) for run in runs if run.done] == [(START, HOUR / 2, 3)]
