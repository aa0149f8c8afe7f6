"""Tocsin's own health: failing plug-ins, silent sources, rising dead letters, clocks that disagree."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from tests.pipeline.test_detect import START, Bench, Broken, bench
from tests.pipeline.test_ledger import SETTING, Skewed
from tocsin.contract.findings import Score
from tocsin.contract.frames import conform
from tocsin.contract.plugin import NoParams
from tocsin.contract.streams import ID, TIME
from tocsin.errors import StoreError
from tocsin.pipeline.detecting.detect import Detect, Setting
from tocsin.pipeline.detecting.health import HealthCheck
from tocsin.pipeline.ingesting.rhythm import Rhythms

__all__ = ["bench"]
MINUTE = timedelta(minutes=1)


class Ward:
    def __init__(self, bench: Bench, clock: object = None) -> None:
        self.bench, self.clock = bench, clock or bench.clock
        self.rhythms = Rhythms(bench.store, self.clock)  # type: ignore[arg-type]
        self.detect = Detect(bench.store, self.clock)  # type: ignore[arg-type]
        self.health_check = HealthCheck(bench.store, self.clock, self.detect.ledger, self.rhythms)  # type: ignore[arg-type]

    def score(self, kind: str, settings: tuple[Setting, ...] = ()) -> Score:
        (score,) = [s for s in self.health_check.scores(settings, {}, ["feed"]) if s.subject.type == kind]
        return score

    def receive(self, hours: Iterator[int] | range) -> None:
        for hour in hours:
            self.bench.clock.set(START + timedelta(hours=hour))
            self.rhythms.record_activity("feed")


@pytest.fixture
def ward(bench: Bench) -> Ward:
    return Ward(bench)


def test_a_plugin_that_fails_is_unhealthy_until_it_works(ward: Ward) -> None:
    bench, broken = ward.bench, Setting(Broken(NoParams()))
    bench.add(0, 3)
    bench.clock.set(START + timedelta(hours=1))
    assert ward.score("plugin", (broken,)).value == 0.0
    ward.detect.run([broken])
    score = ward.score("plugin", (broken,))
    assert (score.subject.id, score.value) == ("broken", 1.0)
    assert "failed 1 times on the window of 2026-03-01T00:00:00Z: ZeroDivisionError: no" in score.reason
    bench.clock.advance(MINUTE)
    ward.detect.run([broken])
    assert ward.score("plugin", (broken,)).value == 2.0

    class Mended(Broken):
        def score(self, window: object) -> Iterator[Score]:
            yield from ()

    bench.clock.advance(2 * MINUTE)
    ward.detect.run([Setting(Mended(NoParams()))])
    assert ward.score("plugin", (broken,)).value == 0.0


def test_a_module_that_cannot_be_imported_is_named(ward: Ward) -> None:
    (score,) = [
        s for s in ward.health_check.scores([SETTING], {"acme.detectors": "no module acme"}) if s.value
    ]
    assert (score.subject.id, score.reason) == ("acme.detectors", "cannot be imported: no module acme")


def test_a_source_that_goes_silent_is_noticed_by_its_own_rhythm(ward: Ward) -> None:
    """The source delivers events every hour from 6 to 22, never at night."""
    hours = [d * 24 + h for d in range(7) for h in range(6, 23)]
    ward.receive(iter(hours))
    last = START + timedelta(hours=hours[-1])
    for silent, loud in (
        (8, False),
        (11, False),
        (13, True),
        (25, True),
    ):  # its longest silence is 8 hours
        ward.bench.clock.set(last + timedelta(hours=silent))
        assert (ward.score("source").value >= 1) is loud, silent
    assert (
        "no event for 25 h 0 min; the longest silence in the last 28 days with events was 8 h 0 min"
        in ward.score("source").reason
    )
    ward.rhythms.record_activity("feed")
    assert ward.score("source").value == 0.0


def test_a_rhythm_is_not_known_at_once_and_an_outage_teaches_little(ward: Ward) -> None:
    ward.receive(range(30))
    ward.bench.clock.set(START + timedelta(days=2))
    assert ward.score("source").value == 0.0
    ward.receive(range(48, 100))
    ward.bench.clock.set(START + timedelta(days=20))
    assert ward.score("source").value > 3
    ward.rhythms.record_activity("feed")
    (rhythm,) = ward.rhythms.all()
    assert rhythm.longest is not None
    assert rhythm.longest < timedelta(days=2)


def test_a_dead_letter_that_grows(ward: Ward) -> None:
    def reject(count: int, word: str) -> None:
        now = ward.bench.clock.now()
        rows = {TIME: [now] * count, ID: [f"{word}{now}{i}" for i in range(count)]}
        ward.bench.store.append("dead_letter", conform(pl.DataFrame(rows), "dead_letter"))

    for _ in range(24 * 7):
        reject(10, "usual")
        ward.bench.clock.advance(timedelta(hours=1))
    reject(25, "more")
    assert ward.score("stream").value < 1
    reject(60, "flood")
    ward.bench.clock.advance(MINUTE)
    score = ward.score("stream")
    assert score.value >= 1
    assert score.evidence["new"] == 85 or score.evidence["new"] == 95


@pytest.mark.parametrize(
    ("seconds", "loud"), [(3600, True), (-3600, True), (40, True), (-40, True), (20, False), (-20, False)]
)
def test_clocks_that_disagree(bench: Bench, seconds: int, loud: bool) -> None:
    right, wrong = Ward(bench), Ward(bench, Skewed(bench.clock, timedelta(seconds=seconds)))
    for _ in range(4):
        wrong.health_check.report()
        right.health_check.report()
        score = right.score("clock")
        bench.clock.advance(timedelta(seconds=5))
    assert (score.value >= 1) is loud
    if loud:
        assert wrong.detect.ledger.worker in score.reason


def test_findings_of_health_are_written_once_for_all_workers(bench: Bench) -> None:
    one, two = Ward(bench), Ward(bench)
    bench.clock.set(START + timedelta(hours=1))
    unimported = {"acme": "broken"}
    run = one.health_check.judge([SETTING], unimported)
    assert run is not None
    assert [f.severity for f in run.findings] == ["high"]
    assert two.health_check.judge([SETTING], unimported) is None
    bench.clock.advance(5 * MINUTE)
    second = two.health_check.judge([SETTING], {})
    assert second is not None
    assert second.findings == ()
    findings = bench.stream("finding")
    assert findings["tocsin.playbook.id"].to_list() == ["tocsin-health"]
    assert bench.stream("run")["tocsin.detector.id"].to_list() == ["health", "health"]


def test_a_worker_that_is_gone_is_forgotten(bench: Bench, tmp_path: Path) -> None:
    ward, gone = Ward(bench), Ward(bench)
    gone.health_check.report()
    assert set(ward.health_check.workers()) == {gone.detect.ledger.worker}
    bench.clock.advance(timedelta(days=2))
    ward.score("clock")
    ward.score("clock")
    assert ward.health_check.workers() == {}


def test_dead_letters_that_cannot_be_read_are_unhealthy_and_hide_nothing_else(
    ward: Ward, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise StoreError("all shards failed")

    monkeypatch.setattr(ward.bench.store, "summarize", broken)
    assert (ward.score("stream").value, ward.score("stream").reason) == (
        2.0,
        "cannot be read: all shards failed",
    )
    ward.bench.clock.set(START + timedelta(hours=2))
    run = ward.health_check.judge([SETTING], {"acme": "no module acme"})
    assert run is not None
    assert {f.subject.id for f in run.findings} >= {"acme", "dead_letter"}


def test_a_source_that_cannot_be_read_is_unhealthy_until_it_can(ward: Ward) -> None:
    ward.rhythms.record_state("feed", "in: cannot be read: Permission denied")
    ward.bench.clock.advance(MINUTE)
    ward.rhythms.record_state("feed", "x" * 5000)
    ward.receive(range(1, 30))
    score = ward.score("source")  # one score, in place of that of its rhythm
    assert (score.subject.id, score.value, len(score.reason)) == ("feed", 2.0, 200)
    assert score.reason.startswith("could not be read since 2026-03-01T00:00:00Z: xxx")
    assert ward.rhythms.all()[0].source == "feed"
    ward.rhythms.record_state("other", "not configured any more")
    assert [s.subject.id for s in ward.rhythms.scores(["feed"])] == ["feed"]
    ward.rhythms.record_state("feed", "")
    assert ward.score("source").value < 2.0
