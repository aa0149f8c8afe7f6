"""Early evaluation under faults: early and final results agree afterwards, and an early evaluation never hides a gap."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.nodes.node import with_pause
from tests.pipeline.test_detect import HOUR, START, Bench
from tests.pipeline.test_early import MINUTE, Growing, Share
from tocsin.clock import ScriptedClock
from tocsin.contract.plugin import Detector, NoParams
from tocsin.errors import StoreAway
from tocsin.pipeline.detecting.coverage import coverage
from tocsin.pipeline.detecting.detect import Detect
from tocsin.pipeline.detecting.early import EVERY
from tocsin.pipeline.detecting.evaluate import Evaluator
from tocsin.pipeline.detecting.leases import LENGTH
from tocsin.pipeline.detecting.ledger import GRACE
from tocsin.pipeline.detecting.recording import write_runs
from tocsin.pipeline.detecting.records import Run, newest_findings
from tocsin.pipeline.detecting.settings import Setting
from tocsin.store.embedded.delta import DeltaStore

_WRITE = "tocsin.pipeline.detecting.detect.write_runs"
Verdicts = dict[str, tuple[str, float, str, bool]]


class AwayStore:
    """A store that is away: `calls` counts down to the call from which on nothing answers."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.calls: int | None = None

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if not callable(found):
            return found

        def called(*arguments: Any, **named: Any) -> Any:
            if self.calls is not None:
                self.calls -= 1
                if self.calls < 0:
                    raise StoreAway("the store is away")
            return found(*arguments, **named)

        return called


class Interrupted(Evaluator):
    """Something happens in the middle of each early evaluation."""

    def __init__(self, store: Any, clock: ScriptedClock, meanwhile: Callable[[], None]) -> None:
        super().__init__(store, clock)
        self._meanwhile = meanwhile

    def attempt(self, *arguments: Any, **named: Any) -> Run:
        run = super().attempt(*arguments, **named)
        self._meanwhile()
        return run


def opened(folder: Path) -> Bench:
    clock = ScriptedClock(START)
    return Bench(clock, DeltaStore.open(folder, clock=clock))


@pytest.fixture(name="bench")
def _bench(tmp_path: Path) -> Iterator[Bench]:
    made = opened(tmp_path / "store")
    yield made
    made.store.close()


def fill(bench: Bench) -> None:
    """Ten minutes of accesses: ana's reach the threshold of both detectors."""
    bench.clock.set(START + 10 * MINUTE)
    bench.add(0, 12, "ana")
    bench.add(0, 3, "bea")


def more(bench: Bench) -> None:
    """The rest of the hour: ana's count still reaches the threshold, ana's share does not."""
    bench.add(0, 50, "bea", "more", 30 * MINUTE)


def verdicts(bench: Bench) -> Verdicts:
    return {
        r["tocsin.finding.id"]: (
            r["tocsin.subject.id"],
            r["tocsin.score"],
            r["tocsin.severity"],
            bool(r["tocsin.run.early"]),
        )
        for r in newest_findings(bench.store).to_dicts()
    }


def final(bench: Bench, setting: Setting) -> Verdicts:
    """The rest arrives, the window ends, and a new worker evaluates what is due until nothing is."""
    more(bench)
    bench.clock.set(max(bench.clock.now(), START + HOUR) + LENGTH)
    while Detect(bench.store, bench.clock).run([setting]):
        pass
    found = verdicts(bench)
    assert not any(early for *_, early in found.values())
    return found


def undisturbed(folder: Path, detector: type[Detector[NoParams]]) -> tuple[Verdicts, Verdicts]:
    """What early and final evaluation find without a fault."""
    bench = opened(folder / "undisturbed")
    fill(bench)
    setting = Setting(detector(NoParams()))
    bench.detect.run([setting])
    early = verdicts(bench)
    found = early, final(bench, setting)
    bench.store.close()
    return found


@pytest.mark.parametrize("detector", [Growing, Share])
def test_undisturbed(tmp_path: Path, detector: type[Detector[NoParams]]) -> None:
    early, at_the_end = undisturbed(tmp_path, detector)
    assert [(subject, is_early) for subject, _, _, is_early in early.values()] == [("ana", True)]
    assert "ana" in {subject for subject, *_ in at_the_end.values()} or detector is Share


def test_killed_in_the_middle_of_an_early_evaluation(bench: Bench, tmp_path: Path) -> None:
    fill(bench)
    begun = tmp_path / "begun"
    arguments = [str(tmp_path / "store"), bench.clock.now().isoformat(), str(begun)]
    for _ in range(2):
        worker = subprocess.Popen([sys.executable, "-m", "tests.faults.early_worker", *arguments])
        while not begun.exists():
            assert worker.poll() is None
            with_pause(0.05)
        worker.kill()  # -9
        worker.wait()
        begun.unlink()
    assert verdicts(bench) == {}
    early, at_the_end = undisturbed(tmp_path, Growing)
    setting = Setting(Growing(NoParams()))
    assert [run.outcome for run in bench.detect.run([setting])] == ["early"]  # the claim of the dead is free
    assert verdicts(bench) == early
    assert final(bench, setting) == at_the_end


@pytest.mark.parametrize("detector", [Growing, Share])
def test_another_worker_takes_over_an_early_evaluation(
    bench: Bench, tmp_path: Path, detector: type[Detector[NoParams]]
) -> None:
    second, setting = Detect(bench.store, bench.clock), Setting(detector(NoParams()))
    outcomes: list[list[str]] = []

    def meanwhile() -> None:
        outcomes.append([str(run.outcome) for run in second.run([Setting(detector(NoParams()))])])  # claimed
        bench.clock.advance(LENGTH)
        outcomes.append([str(run.outcome) for run in second.run([Setting(detector(NoParams()))])])

    first = Detect(bench.store, bench.clock, Interrupted(bench.store, bench.clock, meanwhile))
    fill(bench)
    first.run([setting])
    assert outcomes == [[], ["early"]]
    assert len(bench.stream("run")) == len(bench.stream("finding")) == 1, "the lost claim writes nothing"
    early, at_the_end = undisturbed(tmp_path, detector)
    assert verdicts(bench) == early
    assert final(bench, setting) == at_the_end


@pytest.mark.parametrize("detector", [Growing, Share])
def test_an_early_evaluation_ends_after_the_final_one(
    bench: Bench, tmp_path: Path, detector: type[Detector[NoParams]]
) -> None:
    setting = Setting(detector(NoParams()))
    _, at_the_end = undisturbed(tmp_path, detector)
    found: list[Verdicts] = []
    first = Detect(
        bench.store,
        bench.clock,
        Interrupted(bench.store, bench.clock, lambda: found.append(final(bench, setting))),
    )
    fill(bench)
    first.run([setting])
    assert found == [at_the_end]
    assert verdicts(bench) == at_the_end


@pytest.mark.parametrize("detector", [Growing, Share])
def test_an_early_finding_that_is_written_after_the_final_evaluation_does_not_stay(
    bench: Bench, tmp_path: Path, detector: type[Detector[NoParams]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker is suspended after it has renewed its claim, and before it writes."""
    setting = Setting(detector(NoParams()))
    _, at_the_end = undisturbed(tmp_path, detector)

    def suspended(store: Any, runs: Any) -> list[tuple[str, str]]:
        monkeypatch.setattr(_WRITE, write_runs)
        assert final(bench, setting) == at_the_end
        return write_runs(store, runs)

    fill(bench)
    monkeypatch.setattr(_WRITE, suspended)
    bench.detect.run([setting])
    bench.detect.run([setting])
    assert verdicts(bench) == at_the_end


def test_the_store_is_away_at_each_call_of_an_early_evaluation(bench: Bench, tmp_path: Path) -> None:
    early, at_the_end = undisturbed(tmp_path, Growing)
    away, setting, answered = AwayStore(bench.store), Setting(Growing(NoParams())), 0
    there: Any = away
    detect = Detect(there, bench.clock)
    fill(bench)
    while True:
        away.calls = answered
        try:
            runs = detect.run([setting])
        except StoreAway:
            answered += 1
            bench.clock.advance(EVERY)
        else:
            break
    assert answered > 10
    assert [run.outcome for run in runs] in ([], ["early"])  # the last call away may be after all is written
    away.calls = None
    assert verdicts(bench) == early
    assert final(bench, setting) == at_the_end
    rows = bench.stream("finding")
    assert len(rows) == rows["event.id"].n_unique() == len(early) + len(at_the_end)


def test_an_early_evaluation_hides_no_gap(bench: Bench, tmp_path: Path) -> None:
    _, at_the_end = undisturbed(tmp_path, Growing)
    setting = Setting(Growing(NoParams()))
    fill(bench)
    bench.detect.run([setting])
    more(bench)
    bench.clock.advance(EVERY)
    bench.detect.run([setting])
    bench.clock.set(START + HOUR + GRACE + timedelta(seconds=1))

    def outcomes() -> list[str]:
        ledger = bench.detect.ledger
        return [
            str(s.outcome) for s in coverage(bench.store, bench.clock, ledger, setting, START, START + HOUR)
        ]

    assert outcomes() == ["due"]
    runs = bench.detect.run([setting])
    assert [run.outcome for run in runs] == ["gap", "filled"]
    assert outcomes() == ["filled"]
    assert verdicts(bench) == at_the_end
