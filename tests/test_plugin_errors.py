"""What an author reads when a plug-in returns a wrong type, raises, or is not importable; and `evaluate`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner, Result

from tocsin.cli.main import tocsin
from tocsin.contract.findings import Score, Subject
from tocsin.contract.plugin import (
    Collector,
    Detector,
    NoParams,
    Requires,
    param,
)
from tocsin.contract.windows import Window
from tocsin.errors import InputError, PluginError
from tocsin.testing import evaluate
from tocsin.testing.package import run_checks
from tocsin.testing.template import write


@pytest.fixture
def in_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """`run_checks` puts the checked folder on the path; a test leaves it as it was."""
    monkeypatch.setattr(sys, "path", sys.path.copy())


RETURNS = {
    "return Baseline(frames=": (
        'return {"models": models}  #',
        r"ScaffoldWrong.fit \(scaffold_wrong.py:\d+\) returned a dict; it must return a tocsin.Baseline, or None",
    ),
    "return Baseline(frames={": (
        'return Baseline(frames={"models": models.lazy()})  #',
        r"returned a Baseline whose frames\['models'\] is a LazyFrame; it must be a polars.DataFrame",
    ),
    "return Baseline(": (
        'return Baseline(values={"models": models})  #',
        r"returned a Baseline whose values\['models'\] is not JSON",
    ),
    "                yield Score(": (
        "                yield (",
        r"ScaffoldWrong.score \(scaffold_wrong.py:\d+\) yielded a tuple; it must yield one tocsin.Score",
    ),
}


@pytest.mark.parametrize("right", RETURNS)
@pytest.mark.usefixtures("in_path")
def test_a_wrong_result_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, right: str) -> None:
    wrong, sentence = RETURNS[right]
    folder = write("scaffold_wrong", tmp_path, baseline=True)
    module = folder / "tocsin_scaffold_wrong" / "scaffold_wrong.py"
    text = module.read_text()
    assert right in text
    text = text.replace(right, wrong)
    if "yield" in wrong:
        text = text.replace("reason=f", "f").replace("evidence={", "{")
    module.write_text(text)
    for name in [name for name in sys.modules if name.startswith("tocsin_scaffold_wrong")]:
        monkeypatch.delitem(sys.modules, name)
    failed = [row for row in run_checks(folder) if row["outcome"] == "failed"]
    assert failed
    assert all(re.search(sentence, row["why"]) and row["traceback"] == "" for row in failed)


@pytest.mark.parametrize("result", [None, 1.0, "high", Score(Subject("model", "credit"), 1.0, reason="")])
def test_a_score_that_yields_nothing_says_what_it_must_do(result: Any) -> None:
    class Returns(Detector[NoParams]):
        id = "returns"
        requires = Requires("inference", window="1h")
        threshold = 1.0

        def score(self, window: Window) -> Any:
            return result

    name = {"NoneType": "None", "float": "a float", "str": "a str", "Score": "a Score"}[type(result).__name__]
    with pytest.raises(
        PluginError, match=rf"Returns\.score .* returned {name}; it must yield one tocsin\.Score"
    ):
        evaluate(Returns, {"inference": CALLS})


CALLS = pl.DataFrame({"@timestamp": [datetime(2026, 3, 2, tzinfo=UTC)], "tocsin.model.name": ["credit"]})


@dataclass(frozen=True, slots=True)
class CountsParams:
    """Settings."""

    usual: float = param(1.0, doc="calls that are usual")


class Counts(Detector[CountsParams]):
    """Counts calls."""

    id = "counts"
    requires = Requires("inference", window="1h")
    threshold = 1.0

    def score(self, window: Window) -> Iterator[Score]:
        calls = window.rows("inference").height
        yield Score(Subject("model", "credit"), calls / self.params.usual, reason=f"{calls} calls")


def test_evaluate_takes_a_class_or_an_instance() -> None:
    by_class = evaluate(Counts, {"inference": CALLS}, {"usual": 0.25})
    by_instance = evaluate(Counts(CountsParams(usual=0.25)), {"inference": CALLS})
    assert by_class.scores.equals(by_instance.scores)
    assert by_class.scores["score"].to_list() == [4.0]
    assert evaluate(Counts, {"inference": CALLS}).scores["score"].to_list() == [1.0]


@pytest.mark.parametrize(
    ("detector", "arguments", "sentence"),
    [
        (
            7,
            {},
            "a subclass of tocsin.Detector or an instance of one, not 7",
        ),
        (CountsParams, {}, "not the class CountsParams"),
        (Collector, {}, "not the class Collector"),
        (Detector, {}, "detector class Detector does not define id, requires, score"),
        (
            Counts(CountsParams()),
            {"params": {"usual": 2}},
            "params were passed with an instance of Counts",
        ),
        (
            Counts,
            {"events": CALLS},
            "events must be a dict of frames by stream, such as {'inference': frame}",
        ),
        (
            Counts,
            {"baseline": CALLS},
            "baseline must be a dict of frames by stream or the baseline of an earlier",
        ),
    ],
)
def test_evaluate_says_what_is_wrong_with_an_argument(detector: Any, arguments: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=re.escape(sentence)):
        evaluate(detector, **({"events": {"inference": CALLS}} | arguments))


def test_evaluate_names_the_detectors_that_are_installed() -> None:
    with pytest.raises(PluginError, match=r"no such detector; known: .*feature_drift"):
        evaluate("nothing_of_that_name", {"inference": CALLS})


def _broken(folder: Path, name: str, line: str) -> Path:
    package = write(name, folder)
    module = package / f"tocsin_{name}" / f"{name}.py"
    module.write_text(module.read_text().replace('        rows = window.rows("inference"', line, 1))
    return package


def _check(*arguments: str) -> Result:
    return CliRunner().invoke(tocsin, ["plugins", "check", *arguments])


HINT = "run it with --traceback to see the lines of the plug-in that led to the error"


@pytest.mark.usefixtures("in_path")
def test_a_check_shows_the_traceback_of_a_plug_in_on_request(tmp_path: Path) -> None:
    line = '        1 / 0\n        rows = window.rows("inference"'
    folder = _broken(tmp_path, "scaffold_divides", line)
    done = _check(str(folder), "--json")
    assert done.exit_code == 1
    assert "ZeroDivisionError: division by zero (scaffold_divides.py:" in done.stdout
    assert done.stderr.strip() == HINT
    done = _check(str(folder), "--traceback")
    assert done.stderr.count("Traceback (most recent call last)") == 1  # the same one is not repeated
    assert 'scaffold_divides.py", line' in done.stderr
    assert "1 / 0" in done.stderr
    assert "tocsin/testing" not in done.stderr
    assert HINT not in done.stderr


@pytest.mark.usefixtures("in_path")
def test_a_module_that_cannot_be_imported_is_one_line_or_its_traceback(tmp_path: Path) -> None:
    folder = write("scaffold_imports", tmp_path)
    module = folder / "tocsin_scaffold_imports" / "scaffold_imports.py"
    module.write_text(module.read_text().replace("import polars as pl", "import not_there_at_all as pl"))
    line = (
        "error: plug-in tocsin_scaffold_imports.scaffold_imports: cannot be imported: ModuleNotFoundError: "
        "No module named 'not_there_at_all' (scaffold_imports.py:"
    )
    done = _check(str(folder))
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith(line)
    assert done.stderr.splitlines()[1:] == [HINT]
    done = _check(str(folder), "--traceback")
    assert done.exit_code == 2
    assert "import not_there_at_all as pl" in done.stderr
    assert "importlib" not in done.stderr
    assert line in done.stderr
    assert HINT not in done.stderr


def test_a_baseline_is_for_a_detector(tmp_path: Path) -> None:
    done = CliRunner().invoke(
        tocsin, ["plugins", "new", "receiver", "x", "--baseline", "--dir", str(tmp_path)]
    )
    assert done.exit_code == 2
    assert "--baseline is for a detector; a receiver has no baseline" in done.stderr
