"""The fence and plug-ins that do everything wrong: one failed run of that detector, and the others go on."""

from __future__ import annotations

import builtins
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import psutil
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.stores import open_store
from tocsin.clock import ScriptedClock
from tocsin.config.load import load
from tocsin.contract.findings import Score, Subject
from tocsin.contract.plugin import Detector, NoParams, Requires
from tocsin.contract.windows import Window
from tocsin.pipeline.detecting.evaluate import Evaluator
from tocsin.pipeline.detecting.fence import Fence
from tocsin.pipeline.detecting.process import environment, packed
from tocsin.pipeline.detecting.recording import write_runs
from tocsin.pipeline.detecting.records import Run
from tocsin.pipeline.detecting.settings import Setting
from tocsin.worker import assembly

START = datetime(2026, 3, 1, tzinfo=UTC)
PLUGIN = """
import os, signal, socket, subprocess, sys, time
from tocsin import Detector, NoParams, Requires, Score, Subject
from tocsin.errors import StoreAway

class Base(Detector[NoParams]):
    # without an id it is no plug-in
    threshold, requires = 1.0, Requires("access", window="1h")

class Odd(BaseException):
    def __str__(self):
        raise self

def raised():
    deep = {}
    for _ in range(700):
        deep = {"a": deep}
    own = {}
    own["own"] = own
    yield from {
        "keyboard": KeyboardInterrupt("no"), "exit": SystemExit(3), "generator": GeneratorExit(), "odd": Odd(),
        "recursion": RecursionError("deep"), "memory": MemoryError(), "away": StoreAway("made up"),
        "surrogate": ValueError("half a character: \\ud800"), "long": OSError("x" * 10_000_000),
    }.items()
    for name, evidence in {
        "deep": deep, "own": own, "huge": {"x": "y" * (80 << 20)}, "open": {"x": open(os.devnull)},
        "half": {"x": "\\ud800"},
    }.items():
        yield name, Score(Subject("model", "m"), 2.0, "r", evidence)
    yield "name", Score(Subject("model", "cre\\ud800dit"), 2.0, "r")
    yield "endless", Score(Subject("model", "m" * 10_000_000), 2.0, "r")

def holds(read):
    os.spawnv(os.P_NOWAIT, "/bin/sleep", ["sleep", "99"])

def leaves(read):
    subprocess.Popen(["sleep", "99"], close_fds=False, env={}, start_new_session=True)
    time.sleep(1.2)  # long enough to be seen

def forks(read):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(99)
        os._exit(0)

def exits(do):
    def score(self, window):
        do(None)
        os._exit(1)
        yield
    return score

def eats(self, window):
    subprocess.run([sys.executable, "-c", "x = bytearray(b'1' * (700 << 20)); import time; time.sleep(60)"])
    yield Score(Subject("model", "m"), 0.1, "r")

def garbage(self, window):
    for fd in range(3, 100):
        try:
            if os.readlink(f"/proc/self/fd/{fd}").startswith("socket:"):
                os.write(fd, b"\\0\\0\\0\\5evil!")
        except OSError:
            pass
    time.sleep(60)
    yield

def returns_twice(self, window):
    os.fork()
    yield Score(Subject("model", "m"), 2.0, "r")

def stops(self, window):
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(60)  # on a busy machine this thread goes on until another thread takes the signal
    yield

def tells(self, window):
    yield Score(Subject("model", "m"), 2.0, "r", dict(os.environ))

def does(what):
    def score(self, window):
        if isinstance(what, BaseException):
            raise what
        yield what
    return score

def detector(name, score):
    return type(name.title(), (Base,), {"__module__": __name__, "__doc__": "Evil.", "id": name, "score": score})

for name, what in raised():
    globals()[name.title()] = detector(name, does(what))
for do in (holds, leaves, forks):
    globals()[do.__name__.title()] = detector(do.__name__, exits(do))
for do in (eats, garbage, returns_twice, stops, tells):
    globals()[do.__name__.title()] = detector(do.__name__, do)
Good = detector("good", lambda self, window: iter([Score(Subject("pid", str(os.getpid())), 1.6, "r")]))

def slowly(self, window):
    time.sleep(0.5)
    yield Score(Subject("pid", str(os.getpid())), 1.6, "r")
Slow = detector("slow", slowly)
"""
RAISED = ("keyboard", "exit", "generator", "odd", "recursion", "memory", "away", "surrogate", "long")
ANSWERED = ("deep", "own", "huge", "open", "half", "name", "endless")


class Bench:
    def __init__(self, folder: Path, module: str) -> None:
        (folder / f"{module}.py").write_text(PLUGIN)
        (folder / "tocsin.yaml").write_text(f"plugins: [{module}]\ningest: {{pseudonym_key: {{env: PK}}}}\n")
        config = load(folder / "tocsin.yaml")
        known = assembly.settings(config, assembly.catalogue(config))
        self.settings: dict[str, Setting] = {s.detector.id: s for s in known}
        self.fence = Fence(
            assembly.for_plugins(config), ScriptedClock(START), timeout=timedelta(seconds=4), memory=600
        )

    def run(self, detector: str) -> Run:
        return self.fence.attempt(self.settings[detector], START)

    def beside(self, detector: str) -> tuple[Run, Run]:
        """The run of a detector, and that of one that runs at the same time."""
        other: list[Run] = []
        thread = threading.Thread(target=lambda: other.append(self.run("slow")))
        thread.start()
        run = self.run(detector)
        thread.join()
        return run, other[0]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("evil")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))
        patch.setenv("PK", "canary-of-the-hmac-key")
        patch.setenv("MY_OWN_THING", "canary-of-something-else")
        bench = Bench(folder, "evil_plugins")
        yield bench
        bench.fence.close()


def test_whatever_a_plug_in_raises_or_answers_is_one_failed_run(bench: Bench, tmp_path: Path) -> None:
    """All in one process: nothing that is raised or answered ends it, and every run can be stored."""
    pid = bench.run("good").judged[0].score.subject.id
    runs = {name: bench.run(name) for name in (*RAISED, *ANSWERED)}
    assert {name: (run.outcome.value, run.fault) for name, run in runs.items()} == {
        **dict.fromkeys(RAISED, ("failed", "raised")),
        **dict.fromkeys(ANSWERED, ("failed", "output")),
    }
    assert all(len(run.reason) < 1_000 for run in runs.values())
    assert bench.run("good").judged[0].score.subject.id == pid
    write_runs(open_store(tmp_path, ScriptedClock(START)), list(runs.values()))


@pytest.mark.parametrize("name", ["holds", "leaves", "forks"])
def test_a_child_that_outlives_the_process_is_ended_and_blames_nobody(bench: Bench, name: str) -> None:
    run, other = bench.beside(name)
    assert (run.fault, other.outcome) == ("crash", "evaluated")
    bench.fence.close()
    assert not _strangers()


def test_the_memory_of_children_counts(bench: Bench) -> None:
    run, other = bench.beside("eats")
    assert (run.fault, other.outcome) == ("memory", "evaluated")
    assert not any("bytearray" in " ".join(p.cmdline()) for p in _strangers())


@pytest.mark.parametrize(("name", "fault"), [("garbage", "crash"), ("stops", "hang")])
def test_a_broken_process_is_the_fault_of_one(bench: Bench, name: str, fault: str) -> None:
    run, other = bench.beside(name)
    assert (run.fault, other.outcome) == (fault, "evaluated")


def test_a_forked_child_does_not_answer(bench: Bench) -> None:
    assert [bench.run("returns_twice").outcome.value for _ in range(3)] == ["evaluated"] * 3
    assert bench.run("good").done


def test_no_secret_is_in_the_environment_of_plug_ins(bench: Bench) -> None:
    seen = bench.run("tells").judged[0].score.evidence
    assert not any("canary" in str(value) for value in seen.values())
    assert {"PK", "MY_OWN_THING"}.isdisjoint(seen)
    assert "PATH" in seen
    assert environment(["MY_OWN_THING"]).get("MY_OWN_THING") == os.environ.get("MY_OWN_THING")


def test_the_configuration_of_plug_ins_names_no_secret(tmp_path: Path) -> None:
    (tmp_path / "tocsin.yaml").write_text(
        "store: {type: elasticsearch, hosts: [https://e:9200], api_key: {env: SECRET1}}\n"
        "ingest:\n  pseudonym_key: {file: SECRET2}\n  protect: [{field: user.id, action: pseudonymize}]\n"
        "alerting:\n  route: {receiver: r}\n  receivers: {r: {type: webhook, url: {env: SECRET3}}}\n"
        "monitoring: {heartbeat: {env: SECRET4}}\n"
        "grafana: {url: 'https://g', token: {env: SECRET5}}\n"
        "collectors: [{type: ndjson, params: {paths: [SECRET6]}}]\n"
    )
    assert "SECRET" not in repr(replace(assembly.for_plugins(load(tmp_path / "tocsin.yaml")), lines={}))


@pytest.mark.parametrize("value", [lambda: 0, os.system, type("Local", (), {})()])
def test_an_answer_names_no_function(value: Any) -> None:
    """The worker reads only the types of an answer; anything else is refused before it is sent."""
    with pytest.raises(ValueError, match="cannot be sent"):
        packed(1, "done", value)


def test_a_time_with_a_zone_of_polars_can_be_answered(bench: Bench) -> None:
    """`detect --from` passes times that it read from a frame."""
    start = pl.Series([START]).dt.convert_time_zone("UTC").item()
    assert start.tzinfo is not UTC
    run = bench.fence.attempt(bench.settings["good"], start)
    assert run.outcome.value == "evaluated", run.reason
    assert run.searched is not None
    assert {run.start.tzinfo, run.end.tzinfo, run.searched.tzinfo} == {UTC}


def _strangers() -> list[psutil.Process]:
    """Processes that a plug-in started and that still run, whoever is their parent now."""
    found = []
    for process in psutil.process_iter():
        try:
            is_ours = process.environ().get("PK") or process.cmdline()[-1:] == ["99"]
            if is_ours and process.status() != psutil.STATUS_ZOMBIE and process.pid != os.getpid():
                found.append(process)
        except psutil.Error:
            continue
    return found


ERRORS = [e for e in vars(builtins).values() if isinstance(e, type) and issubclass(e, BaseException)]


class Raises(Detector[NoParams]):
    """Raises what the test says."""

    id, threshold, requires = "raises", 1.0, Requires("access", window="1h")
    error: BaseException = ValueError()

    def score(self, window: Window) -> Iterator[Score]:
        raise self.error
        yield Score(Subject("model", "m"), 1.0, "")


@pytest.fixture(scope="module")
def evaluator(tmp_path_factory: pytest.TempPathFactory) -> Evaluator:
    return Evaluator(open_store(tmp_path_factory.mktemp("store"), ScriptedClock(START)), ScriptedClock(START))


@given(st.sampled_from(ERRORS), st.text(st.characters(), max_size=700), st.integers(0, 2))
@hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_error_with_any_text_is_one_failed_run(
    evaluator: Evaluator, error: type[BaseException], text: str, depth: int
) -> None:
    """Invariant: `attempt` returns a run that failed, and its reason can be sent and written."""
    try:
        raised: BaseException = error(text)
    except TypeError:  # this one needs other arguments
        raised = BaseException(text)
    for _ in range(depth):
        second: Any = type("Odd", (type(raised),), {"__str__": lambda self: 1 / 0})
        raised = second.__new__(second, text)
    detector = Raises(NoParams())
    detector.error = raised
    began = time.monotonic()
    run = evaluator.attempt(Setting(detector), START)
    assert (run.outcome, run.fault) == ("failed", "raised")
    assert packed(1, "done", run)
    assert run.reason.encode()
    assert len(run.reason) < 1_000
    assert time.monotonic() - began < 5
