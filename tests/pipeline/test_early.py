"""Early evaluation: open windows are judged as they grow, and only the full window withdraws a finding."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pipeline.test_detect import HOUR, START, Bench, Count, Learned, bench
from tocsin.contract.early import EACH, GROWTH, Early
from tocsin.contract.findings import Score, Subject
from tocsin.contract.plugin import Detector, NoParams, Requires
from tocsin.contract.streams import SILENT, TIME
from tocsin.contract.windows import Baseline, Window
from tocsin.errors import StoreError
from tocsin.pipeline.detecting.coverage import coverage
from tocsin.pipeline.detecting.early import EVERY
from tocsin.pipeline.detecting.leases import LENGTH
from tocsin.pipeline.detecting.records import newest_findings
from tocsin.pipeline.detecting.settings import Setting

__all__ = ["bench"]
MINUTE = timedelta(minutes=1)


class Growing(Count):
    """A count can only grow."""

    id = "growing"
    early = Early(by="user.id", grows=True)
    seen: list[frozenset[str | None] | None]

    def score(self, window: Window) -> Iterator[Score]:
        self.seen = [*getattr(self, "seen", []), window.changed]
        for score in super().score(window):
            if window.changed is None or score.subject.id in window.changed:
                yield score


class Share(Detector[NoParams]):
    """The share of accesses that ana made: it rises and falls."""

    id = "share"
    requires = Requires("access", window="1h")
    threshold = 0.4
    early = Early()

    def score(self, window: Window) -> Iterator[Score]:
        users = window.rows("access", ["user.id"])["user.id"]
        share = (users == "ana").sum() / max(len(users), 1)
        yield Score(Subject("principal", "ana"), float(share), f"{share:.0%} of {len(users)} accesses")


class Fails(Growing):
    """Fails in an open window."""

    id = "fails"

    def score(self, window: Window) -> Iterator[Score]:
        if window.changed is not None:
            raise ZeroDivisionError("no")
        yield from super().score(window)


def actions(bench: Bench) -> list[tuple[str, bool]]:
    rows = bench.stream("finding").sort("event.ingested")
    return [(a, bool(e)) for a, e in rows.select("event.action", "tocsin.run.early").iter_rows()]


def test_a_finding_comes_while_the_window_is_open(bench: Bench) -> None:
    bench.clock.set(START + 10 * MINUTE)
    bench.add(0, 12)
    assert bench.run(Growing) == [("early", 0, 1)]
    [found] = newest_findings(bench.store).to_dicts()
    assert found["tocsin.run.early"]
    assert found[TIME] == START + 10 * MINUTE  # boards show what was found until now
    assert found["tocsin.window.end"] == START + HOUR
    assert bench.stream("score").is_empty()

    bench.clock.set(START + HOUR)
    assert bench.run(Growing) == [("evaluated", 0, 1)]
    [final] = newest_findings(bench.store).to_dicts()
    assert final["tocsin.finding.id"] == found["tocsin.finding.id"]
    assert not final["tocsin.run.early"]
    assert final[TIME] == START + HOUR


def test_a_finding_has_the_times_of_its_first_revision(bench: Bench) -> None:
    outcomes: list[tuple[str, str]] = []
    bench.detect.early_finding = lambda detector, outcome: outcomes.append((detector, outcome))
    bench.clock.set(START + 10 * MINUTE)
    bench.add(0, 12)
    bench.add(0, 3, "bea", at=9 * MINUTE)  # newer, but of another subject
    bench.clock.advance(MINUTE)
    bench.run(Growing)
    [found] = newest_findings(bench.store).to_dicts()
    assert found["tocsin.finding.newest_event"] == START + timedelta(seconds=11)
    assert found["tocsin.finding.ingested"] - (START + 10 * MINUTE) < timedelta(seconds=1)
    assert found["tocsin.finding.evaluated"] == START + 11 * MINUTE
    assert found["tocsin.finding.found"] is None

    bench.clock.advance(5 * MINUTE)
    bench.add(0, 5, prefix="more", at=15 * MINUTE)
    bench.run(Growing)
    bench.clock.set(START + HOUR)
    bench.run(Growing)
    revisions = bench.stream("finding").sort("event.ingested").to_dicts()
    assert [row["tocsin.score"] for row in revisions] == [12, 17, 17]
    names = ["tocsin.finding.newest_event", "tocsin.finding.ingested", "tocsin.finding.evaluated"]
    assert len({tuple(row[name] for name in names) for row in revisions}) == 1
    assert {row["tocsin.finding.found"] for row in revisions[1:]} == {revisions[0]["event.ingested"]}
    assert outcomes == [("growing", "found"), ("growing", "confirmed")]


def test_the_newest_event_of_an_unknown_type_of_subject_is_that_of_the_window(bench: Bench) -> None:
    class Pipelines(Count):
        id = "pipelines"

        def score(self, window: Window) -> Iterator[Score]:
            for score in super().score(window):
                yield Score(Subject("pipeline", "train"), score.value, score.reason)
                return

    bench.add(0, 12)
    bench.clock.set(START + HOUR)
    bench.run(Pipelines)
    [found] = newest_findings(bench.store).to_dicts()
    assert found["tocsin.finding.newest_event"] == START + timedelta(seconds=11)


def test_a_detector_that_declares_nothing_waits_for_the_end(bench: Bench) -> None:
    bench.clock.set(START + 10 * MINUTE)
    bench.add(0, 12)
    assert bench.run(Count) == []


def test_early_evaluation_can_be_switched_off(bench: Bench) -> None:
    bench.clock.set(START + 10 * MINUTE)
    bench.add(0, 12)
    assert bench.run(Growing, early=False) == []


def test_only_changed_values_are_judged_and_not_too_often(bench: Bench) -> None:
    setting = Setting(Growing(NoParams()))
    assert isinstance(setting.detector, Growing)
    bench.clock.set(START + 10 * MINUTE)
    bench.add(0, 3, "ana")
    bench.add(0, 3, "bea")
    bench.detect.run([setting])
    assert setting.detector.seen == [frozenset({"ana", "bea"})]
    bench.add(0, 2, "bea", "more", 5 * MINUTE)
    bench.detect.run([setting])  # too soon
    assert len(setting.detector.seen) == 1
    bench.clock.advance(EVERY)
    bench.detect.run([setting])
    again = (
        {"ana"} if bench.store.overlap else set()
    )  # rows of the overlap may be new, so they count as new once more
    assert setting.detector.seen[1:] == [frozenset({"bea", *again})]
    bench.clock.advance(EVERY)
    bench.detect.run([setting])  # nothing new
    assert len(setting.detector.seen) == 2


def test_a_score_that_crosses_back_and_forth_is_found_once_and_withdrawn_once(bench: Bench) -> None:
    setting, outcomes = Setting(Share(NoParams())), list[str]()
    bench.detect.early_finding = lambda _, outcome: outcomes.append(outcome)
    for turn in range(20):
        bench.clock.set(START + turn * 2 * MINUTE)
        bench.add(
            0, 20 * 2**turn if turn < 4 else 1, "ana" if turn % 2 == 0 else "bea", f"{turn}", turn * MINUTE
        )
        bench.detect.run([setting])
    assert actions(bench) == [("found", True)]
    bench.add(0, 500, "bea", "last", 50 * MINUTE)
    bench.clock.set(START + HOUR)
    bench.detect.run([setting])
    assert actions(bench) == [("found", True), ("withdrawn", True)]
    assert outcomes == ["found", "withdrawn"]
    assert newest_findings(bench.store).is_empty()


def test_an_early_score_must_reach_the_margin(bench: Bench) -> None:
    bench.clock.set(START + 10 * MINUTE)
    bench.add(0, 9, "ana")
    bench.add(0, 11, "bea")  # a share of 0.45 with a threshold of 0.4: below the margin
    assert bench.run(Share) == [("early", 0, 0)]
    bench.clock.set(START + HOUR)
    assert bench.run(Share) == [("evaluated", 0, 1)]


def test_coverage_does_not_count_early_evaluations(bench: Bench) -> None:
    setting = Setting(Growing(NoParams()))
    bench.clock.set(START + 10 * MINUTE)
    bench.add(0, 12)
    bench.detect.run([setting])
    spans = coverage(bench.store, bench.clock, bench.detect.ledger, setting, START, START + HOUR)
    assert [span.outcome for span in spans] == ["open"]
    bench.clock.set(START + 2 * HOUR)
    spans = coverage(bench.store, bench.clock, bench.detect.ledger, setting, START, START + HOUR)
    assert [span.outcome for span in spans] == ["due"]


def test_a_failed_early_evaluation_is_repeated_later_and_hides_nothing(bench: Bench) -> None:
    setting = Setting(Fails(NoParams()))
    bench.clock.set(START + 10 * MINUTE)
    bench.add(0, 12)
    [run] = bench.detect.run([setting])
    assert (run.outcome, run.fault, run.findings) == ("early", "raised", ())
    assert "ZeroDivisionError" in run.reason
    bench.clock.advance(EVERY)
    assert bench.detect.run([setting]) == []  # waits longer after a failure
    bench.clock.set(START + HOUR)
    assert [(r.outcome, len(r.findings)) for r in bench.detect.run([setting])] == [("evaluated", 1)]


@pytest.mark.parametrize("rows", [1, 200])
@given(st.lists(st.integers(1, 5_000), max_size=60), st.integers(1, 5))
def test_triggers_depend_on_the_number_of_rows_only(rows: int, batches: list[int], split: int) -> None:
    """However rows arrive: a trigger fires at the latest when they have grown by `GROWTH`."""
    early, judged, total = Early(rows=rows), 0, 0
    for batch in batches:
        for part in [batch // split] * split + [batch % split]:
            if early.triggered(total, total + part):
                judged = total + part
            total += part
        if total >= rows:
            assert total < max(judged, 1) * GROWTH * GROWTH + 1 or total == judged
            assert total > EACH or judged == total


def test_rows_of_a_triggered_value_are_counted_across_evaluations(bench: Bench) -> None:
    class Late(Growing):
        id = "late"
        early = Early(by="user.id", rows=5, grows=True)

    setting = Setting(Late(NoParams()))
    assert isinstance(setting.detector, Growing)
    bench.clock.set(START + 10 * MINUTE)
    for turn in range(3):
        bench.add(0, 2, "ana", f"{turn}", turn * MINUTE)
        bench.clock.advance(EVERY)
        bench.detect.run([setting])
    assert setting.detector.seen == [frozenset({"ana"})]
    assert pl.Series([len(bench.stream("run"))]).to_list() == [1]


@pytest.mark.parametrize(("growth", "judged"), [(1.05, 2), (1.0, 4)])
def test_a_critical_value_is_judged_again_once_its_rows_have_grown_by_a_quarter(
    bench: Bench, growth: float, judged: int
) -> None:
    """30 accesses are critical; 34 are not a quarter more, 38 are. With growth 1 each new row is a trigger."""

    class Patient(Growing):
        id = "patient"
        early = Early(by="user.id", grows=True, growth=growth)

    setting = Setting(Patient(NoParams()))
    assert isinstance(setting.detector, Patient)
    bench.clock.set(START + 10 * MINUTE)
    for turn, rows in enumerate((30, 4, 0, 4, 2)):
        bench.add(0, rows, "ana", f"{turn}", turn * MINUTE)
        bench.clock.advance(EVERY)
        bench.detect.run([setting])
    assert setting.detector.seen == [frozenset({"ana"})] * judged
    bench.clock.set(START + 2 * HOUR)
    bench.detect.run([setting])
    assert setting.detector.seen[-1] is None  # the final evaluation judges it
    assert bench.stream("score")["tocsin.score"].to_list() == [40.0]


def test_a_value_that_is_not_critical_is_judged_at_each_trigger(bench: Bench) -> None:
    setting = Setting(Growing(NoParams()))
    assert isinstance(setting.detector, Growing)
    bench.clock.set(START + 10 * MINUTE)
    for turn, rows in enumerate((25, 1, 1)):
        bench.add(0, rows, "ana", f"{turn}", turn * MINUTE)
        bench.clock.advance(EVERY)
        bench.detect.run([setting])
    assert setting.detector.seen == [frozenset({"ana"})] * 3


def test_a_critical_finding_that_was_not_recorded_is_judged_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting = Setting(Growing(NoParams()))
    assert isinstance(setting.detector, Growing)
    bench.clock.set(START + 10 * MINUTE)
    bench.add(0, 40)
    bench.clock.advance(EVERY)
    with monkeypatch.context() as broken:
        broken.setattr("tocsin.pipeline.detecting.detect.write_runs", _fail)
        with pytest.raises(StoreError):
            bench.detect.run([setting])
    bench.add(0, 1, prefix="more")
    bench.clock.advance(LENGTH + EVERY)
    bench.detect.run([setting])
    assert len(setting.detector.seen) == 2
    assert len(newest_findings(bench.store)) == 1


def _fail(*_: object) -> None:
    raise StoreError("the disk is full")


class Fitted(Learned):
    """Learned, and judged early."""

    id = "fitted"
    early = Early(by="user.id")


def test_a_baseline_is_fitted_early_only_if_no_earlier_window_is_pending(bench: Bench) -> None:
    setting = Setting(Fitted(NoParams()), lateness=HOUR, refit=HOUR)

    def newest() -> int:
        return max((v.end - START) // HOUR for v in bench.detect.baselines.versions("fitted"))

    for hour in range(48):
        bench.add(hour, 3)
    bench.clock.set(START + 48 * HOUR + 10 * MINUTE)
    bench.add(48, 12)
    bench.detect.run([setting])  # window 47 has ended, and is pending for an hour
    assert newest() < 48
    bench.clock.set(START + 49 * HOUR)
    bench.detect.run([setting])  # evaluates window 47
    assert newest() < 48
    bench.clock.set(START + 49 * HOUR + MINUTE)
    bench.add(48, 12, "bea")
    [run] = bench.detect.run([setting])
    assert (run.outcome, (run.start - START) // HOUR) == ("early", 48)
    assert "bea" in [finding.subject.id for finding in run.findings]
    assert newest() == 48


def test_a_window_that_ends_while_it_is_claimed_is_still_evaluated_finally(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting, ledger = Setting(Growing(NoParams())), bench.detect.ledger
    bench.clock.set(START + HOUR - timedelta(milliseconds=200))
    bench.add(0, 12)
    put = ledger._put

    def slow(*given: Any) -> Any:
        bench.clock.advance(timedelta(milliseconds=150))
        return put(*given)

    monkeypatch.setattr(ledger, "_put", slow)
    assert [run.outcome for run in bench.detect.run([setting])] == ["early", "evaluated"]


def test_rows_that_cannot_be_counted_stop_neither_other_detectors_nor_final_evaluations(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    early, final = Setting(Growing(NoParams())), Setting(Count(NoParams()))
    bench.add(0, 12)
    bench.add(1, 12)
    bench.clock.set(START + HOUR + 10 * MINUTE)
    summarize = bench.store.summarize

    def broken(stream: str, start: Any, end: Any, by: Any, measures: Any, where: Any = ()) -> pl.DataFrame:
        if any(condition.column == "event.ingested" for condition in where):
            raise StoreError("part-0.parquet is damaged")
        return summarize(stream, start, end, by, measures, where)

    monkeypatch.setattr(bench.store, "summarize", broken)
    runs = bench.detect.run([early, final])
    assert sorted((run.detector, str(run.outcome), run.fault) for run in runs) == [
        ("count", "evaluated", ""),
        ("growing", "early", "store"),
        ("growing", "evaluated", ""),
    ]


def test_a_backlog_of_ended_windows_does_not_delay_early_evaluation(bench: Bench) -> None:
    clock = bench.clock

    class Slow(Growing):
        id = "slow"

        def score(self, window: Window) -> Iterator[Score]:
            clock.advance(timedelta(seconds=20))
            yield from super().score(window)

    for hour in range(10):
        bench.add(hour, 3)
    bench.add(10, 12)
    clock.set(START + 10 * HOUR + 10 * MINUTE)
    seen: list[tuple[str, int]] = []
    bench.detect.run(
        [Setting(Slow(NoParams()))],
        progress=lambda run: seen.append((run.outcome.value, (run.start - START) // HOUR)),
        limit=MINUTE,
    )
    assert seen[0] == ("early", 10)
    assert ("evaluated", 0) in seen
    assert len(seen) < 5


def test_windows_of_the_future_are_not_evaluated_early(bench: Bench) -> None:
    bench.clock.set(START + 10 * MINUTE)
    for hour in range(5):
        bench.add(hour, 12)
    assert bench.run(Growing) == [("early", 0, 1)]


def test_an_evaluation_that_took_long_is_repeated_later(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting, attempt = Setting(Growing(NoParams())), bench.detect._evaluator.attempt
    monkeypatch.setattr(
        bench.detect._evaluator, "attempt", lambda *given: replace(attempt(*given), seconds=12.0)
    )
    bench.clock.set(START + 10 * MINUTE)
    for wait, runs in ((0, 1), (90, 0), (30, 1)):
        bench.clock.advance(timedelta(seconds=wait))
        bench.add(0, 2, prefix=f"{wait}")
        assert len(bench.detect.run([setting])) == runs


def test_results_are_written_before_alerting_is_woken(bench: Bench) -> None:
    found: list[int] = []
    bench.detect.written = lambda: found.append(len(newest_findings(bench.store)))
    bench.clock.set(START + 10 * MINUTE)
    bench.add(0, 12)
    bench.run(Growing)
    assert found == [1]


@pytest.mark.parametrize("silent", [True, False])
def test_a_backfill_that_reaches_into_an_open_window_is_early_there(bench: Bench, silent: bool) -> None:
    setting = Setting(Share(NoParams()))
    bench.clock.set(START + 10 * MINUTE)
    bench.add(0, 50)
    bench.run(Share)
    bench.add(0, 200, user="ben")  # now the score is below the threshold, but the window may yet change
    bench.clock.set(START + 20 * MINUTE)
    [run] = bench.detect.run([setting], START, silent=silent)
    assert (run.outcome, run.findings) == ("early", ())
    assert actions(bench) == [("found", True)]
    [span] = coverage(bench.store, bench.clock, bench.detect.ledger, setting, START, START + HOUR)
    assert span.outcome == "open"
    bench.clock.set(START + HOUR)
    assert bench.run(Share) == [("evaluated", 0, 0)]
    assert actions(bench) == [("found", True), ("withdrawn", True)]


def test_a_silent_backfill_of_an_open_window_does_not_keep_its_finding_silent(bench: Bench) -> None:
    bench.clock.set(START + 10 * MINUTE)
    bench.add(0, 50)
    setting = Setting(Share(NoParams()))
    assert [len(run.findings) for run in bench.detect.run([setting], START, silent=True)] == [1]
    assert bench.run(Share) == [("early", 0, 1)]
    assert newest_findings(bench.store)[SILENT].to_list() != [True]


class Unfit(Fitted):
    """Its history never suffices."""

    id = "unfit"
    fitted: int

    def fit(self, window: Window) -> Baseline | None:
        self.fitted = getattr(self, "fitted", 0) + 1
        return None


def test_a_baseline_that_could_not_be_fitted_is_tried_again_after_an_hour(bench: Bench) -> None:
    """A fit can cost more than an evaluation, so early evaluations must not repeat it each time."""
    detector = Unfit(NoParams())
    setting = Setting(detector, lateness=HOUR)
    for hour in range(48):
        bench.add(hour, 3)
    bench.clock.set(START + 50 * HOUR)
    bench.detect.run([setting])  # the windows that are over
    before = detector.fitted
    for minute, tries in ((5, 1), (10, 1), (50, 1), (70, 2)):
        bench.clock.set(START + 50 * HOUR + minute * MINUTE)
        bench.add(50, 12, f"user {minute}")
        bench.detect.run([setting])
        assert detector.fitted - before == tries
