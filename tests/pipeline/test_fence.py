"""The fence: a plug-in that breaks its process gets a failed run, and other plug-ins continue."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest

from tocsin.clock import ScriptedClock
from tocsin.config.load import load
from tocsin.errors import PluginError
from tocsin.pipeline.detecting.fence import Fence
from tocsin.pipeline.detecting.records import Run
from tocsin.pipeline.detecting.settings import Setting
from tocsin.worker import assembly

START = datetime(2026, 3, 1, tzinfo=UTC)
PLUGIN = '''
import ctypes, os, time
from tocsin import Detector, NoParams, Requires, Score, Subject, Baseline

class Good(Detector[NoParams]):
    """Judges one subject."""
    id, requires, threshold = "good", Requires("access", window="1h"), 1.0
    def score(self, window):
        print("on standard output")
        yield Score(Subject("pid", str(os.getpid())), 2.0, "fine", {"n": 1})

class Slow(Good):
    """Takes a second."""
    id = "slow"
    def score(self, window):
        time.sleep(1.0)
        yield Score(Subject("pid", str(os.getpid())), 2.0, "slow")

class Hangs(Good):
    """Never ends."""
    id = "hangs"
    def score(self, window):
        while True: time.sleep(0.01)

class Crashes(Good):
    """Ends the process after a while."""
    id = "crashes"
    def score(self, window):
        time.sleep(0.3)
        ctypes.string_at(0)

class Exits(Good):
    """Ends the process in its own way."""
    id = "exits"
    def score(self, window):
        os._exit(3)

class Greedy(Good):
    """Uses more memory than allowed."""
    id = "greedy"
    def score(self, window):
        eaten = []
        while True:
            eaten.append(bytearray(os.urandom(1024) * 4096))
            time.sleep(0.005)

class Fits(Good):
    """Fails to fit."""
    id, requires = "fits", Requires("access", window="1h", baseline="1d")
    def fit(self, window):
        raise ZeroDivisionError("no")
'''


class Bench:
    def __init__(self, folder: Path) -> None:
        (folder / "fenced_plugins.py").write_text(PLUGIN)
        (folder / "tocsin.yaml").write_text("plugins: [fenced_plugins]\n")
        config = load(folder / "tocsin.yaml")
        known = assembly.settings(config, assembly.catalogue(config))
        self.settings: dict[str, Setting] = {s.detector.id: s for s in known}
        self.fence = Fence(config, ScriptedClock(START), timeout=timedelta(seconds=2), memory=400)

    def run(self, detector: str) -> Run:
        return self.fence.attempt(self.settings[detector], START)

    def together(self, *detectors: str) -> dict[str, Run]:
        found: dict[str, Run] = {}
        threads = [threading.Thread(target=lambda d=d: found.update({d: self.run(d)})) for d in detectors]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return found


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    bench = Bench(tmp_path)
    yield bench
    bench.fence.close()


def test_one_process_serves_all_and_is_not_ours(bench: Bench) -> None:
    pids = {bench.run(d).judged[0].score.subject.id for d in ("good", "slow", "good")}
    assert len(pids) == 1
    assert pids != {str(os.getpid())}
    (process,) = [p for p in psutil.Process().children() if str(p.pid) in pids]
    bench.fence.close()
    assert not process.is_running()


def test_a_finding_comes_through_whole(bench: Bench) -> None:
    run = bench.run("good")
    assert (run.outcome, run.start, run.rows) == ("evaluated", START, 0)
    (judged,) = run.judged
    assert judged.finding is not None
    assert (judged.finding.severity, judged.finding.evidence) == ("high", {"n": 1})


@pytest.mark.parametrize(
    ("detector", "fault", "reason"),
    [
        ("hangs", "hang", "did not finish within 2s"),
        ("crashes", "crash", "ended the process for plug-ins: signal 11"),
        ("exits", "crash", "ended the process for plug-ins: exit code 3"),
        ("greedy", "memory", "MiB of memory; the limit is 400 MiB"),
    ],
)
def test_what_does_not_end_is_a_failed_run(bench: Bench, detector: str, fault: str, reason: str) -> None:
    run = bench.run(detector)
    assert (run.outcome, run.fault) == ("failed", fault)
    assert reason in run.reason
    assert bench.run("good").done


@pytest.mark.parametrize(
    ("detector", "fault"), [("crashes", "crash"), ("greedy", "memory"), ("hangs", "hang")]
)
def test_others_that_were_under_way_are_not_blamed(bench: Bench, detector: str, fault: str) -> None:
    found = bench.together(detector, "slow", "good")
    assert found[detector].fault == fault
    assert found["slow"].done
    assert found["good"].done


def test_a_process_that_is_killed_from_outside_is_started_again(bench: Bench) -> None:
    pid = int(bench.run("good").judged[0].score.subject.id)
    os.kill(pid, signal.SIGKILL)
    run = bench.run("good")
    assert run.done or run.fault == "crash"  # depends on whether the end of the process was detected before
    assert bench.run("good").done


def test_a_detector_that_hangs_delays_no_other(bench: Bench) -> None:
    bench.run("good")
    thread = threading.Thread(target=bench.run, args=("hangs",))
    thread.start()
    began = time.monotonic()
    assert bench.run("good").done
    assert time.monotonic() - began < 1
    thread.join()


def test_a_fit_that_fails_is_told_by_name(bench: Bench) -> None:
    with pytest.raises(PluginError, match="plug-in fits: ZeroDivisionError: no"):
        bench.fence.fit(bench.settings["fits"], START, START - timedelta(days=1))


def test_a_process_that_does_not_start_is_said_so(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "fenced_plugins.py").write_text("import os\nos._exit(7)\n")
    run = bench.run("good")
    assert (run.fault, run.reason) == (
        "import",
        "the process for plug-ins did not start (exit code 7); the worker's standard error has the reason",
    )
