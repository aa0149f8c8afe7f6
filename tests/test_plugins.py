"""Every plug-in × every check; the template, the example package, and discovery."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tocsin.config import discovery
from tocsin.contract.plugin import (
    KINDS,
    Collector,
    Detector,
    Plugin,
    Receiver,
)
from tocsin.errors import ConfigError, PluginError
from tocsin.testing import cases as case_files
from tocsin.testing.checks import Check, CheckError, checks
from tocsin.testing.evaluate import Evaluation
from tocsin.testing.package import playbooks, run_checks
from tocsin.testing.template import write
from tocsin.words import LONGEST

BUILT_IN = {
    Collector: {"access_log", "cloudtrail", "dataset", "ndjson"},
    Detector: {
        "approved_range",
        "collusion",
        "dataset_profile",
        "evasion",
        "feature_drift",
        "label_poisoning",
        "membership",
        "model_extraction",
        "performance",
        "prediction_drift",
        "pyod",
        "principal_spelling",
        "query_budget",
        "registry_access",
    },
    Receiver: {"console", "email", "nobody", "webhook"},
}


def every_check() -> Iterator[Any]:
    for (_, id), plugin in sorted(discovery.discover().plugins.items(), key=lambda p: p[0][1]):
        file = ROOT / "tests" / "cases" / f"{id}.yaml"
        cases = case_files.load(file) if file.exists() else []
        for check in checks(plugin, cases, playbooks()):
            yield pytest.param(check, id=f"{id}-{check.name}")


@pytest.mark.parametrize("check", list(every_check()))
def test_built_in(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check passes, and no finding of the cases that it evaluates has a sentence that is too long."""
    if check.skipped:
        pytest.skip(check.skipped)
    evaluated: list[Evaluation] = []
    run = case_files.run

    def noted(case: case_files.Case, plugin: type[Detector[Any]]) -> Evaluation:
        evaluated.append(run(case, plugin))
        return evaluated[-1]

    monkeypatch.setattr(case_files, "run", noted)
    check()
    assert bool(evaluated) or not check.name.startswith("check_case[")
    for reason in (finding.reason for evaluation in evaluated for finding in evaluation.findings):
        assert len(reason) <= LONGEST, reason


def test_the_built_ins_are_all_there() -> None:
    catalogue = discovery.discover()
    assert catalogue.failures == {}
    for kind in KINDS:
        assert set(catalogue.of(kind)) >= BUILT_IN[kind]


@pytest.mark.parametrize("example", ["plugin", "baseline"])
def test_an_example_passes(example: str) -> None:
    rows = list(run_checks(ROOT / "examples" / example))
    assert len(rows) > 15
    assert {row["outcome"] for row in rows} == {"passed"}


SCAFFOLDS = [
    ("detector", "scaffold_rule", False),
    ("detector", "scaffold_baseline", True),
    ("collector", "scaffold_log", False),
    ("receiver", "scaffold_file", False),
]


@pytest.fixture
def in_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """`run_checks` puts the checked folder on the path; a test leaves it as it was."""
    monkeypatch.setattr(sys, "path", sys.path.copy())


@pytest.mark.parametrize(("kind", "name", "baseline"), SCAFFOLDS)
@pytest.mark.usefixtures("in_path")
def test_a_scaffold_passes_as_it_is_written(tmp_path: Path, kind: str, name: str, baseline: bool) -> None:
    folder = write(name, tmp_path, kind, baseline=baseline)
    rows = list(run_checks(folder))
    assert [row for row in rows if row["outcome"] != "passed"] == []
    assert len(rows) == (18 if kind == "detector" else 3)
    assert (folder / "cases" / f"{name}.yaml").exists() == (kind == "detector")
    (declared,) = discovery.collect([f"tocsin_{name}"]).plugins
    assert declared == (next(k for k in KINDS if k.__name__.lower() == kind), name)


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, name, _ in SCAFFOLDS if kind != "detector"]
)
def test_the_tests_of_a_scaffold_pass(tmp_path: Path, kind: str, name: str) -> None:
    folder = write(name, tmp_path, kind)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        check=False,
        capture_output=True,
        text=True,
        cwd=folder,
    )
    assert done.returncode == 0, done.stdout
    assert re.search(r"[34] passed", done.stdout)


def test_scaffolds_and_examples_pass_mypy_strict(tmp_path: Path) -> None:
    folders = [write(name, tmp_path, kind, baseline=baseline) for kind, name, baseline in SCAFFOLDS]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--explicit-package-bases"]
        + [str(folder / f"tocsin_{name}") for folder, (_, name, _) in zip(folders, SCAFFOLDS, strict=True)]
        + [str(folder / "tests") for folder in folders if (folder / "tests").exists()],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"MYPYPATH": ":".join(map(str, [*folders, ROOT, *ROOT.glob("*/tocsin_*/..")]))},
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("kind", "name", "words"),
    [
        ("detector", "FailedCalls", "'FailedCalls' is not a valid name for a detector: use lower_snake_case"),
        ("collector", "class", "'class' is not a valid name for a collector: use lower_snake_case"),
        ("collector", "ndjson", "a collector 'ndjson' is already installed; choose another name"),
        ("receiver", "webhook", "a receiver 'webhook' is already installed; choose another name"),
    ],
)
def test_a_name_that_cannot_be_used_is_refused(tmp_path: Path, kind: str, name: str, words: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        write(name, tmp_path, kind)
    assert list(tmp_path.iterdir()) == []


def test_a_package_is_never_overwritten(tmp_path: Path) -> None:
    write("twice_written", tmp_path)
    with pytest.raises(ConfigError, match="already exists; nothing was written"):
        write("twice_written", tmp_path, "receiver")


def test_the_example_is_what_the_template_writes(tmp_path: Path) -> None:
    made = write("failed_calls", tmp_path)
    example = ROOT / "examples" / "plugin"
    names = sorted(p.relative_to(made) for p in made.rglob("*") if p.is_file())
    assert [n for n in names if (made / n).read_text() != (example / n).read_text()] == []


def test_the_example_is_found_when_installed(tmp_path: Path) -> None:
    """Installed by pip into a folder of its own, as a team would, and found without further ado."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target"]
    done = subprocess.run(
        [*pip, str(tmp_path), str(ROOT / "examples" / "plugin")], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    listed = subprocess.run(
        [sys.executable, "-m", "tocsin", "plugins", "list", "--json"],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), "PATH": ""},
    )
    assert '"id": "failed_calls"' in listed.stdout, listed.stderr


def test_a_package_that_breaks_the_contract_is_told_how(tmp_path: Path) -> None:
    folder = write("noisy", tmp_path)
    module = folder / "tocsin_noisy" / "noisy.py"
    module.write_text(
        module.read_text()
        .replace("Blind spots", "Weak spots")
        .replace(
            "threshold = 0.2",
            'threshold = 0.01\n    atlas = ("AML.T9999", "AML.T0058")\n    playbook = "none"',
        )
    )
    failed = {row["check"]: row["why"] for row in run_checks(folder) if row["outcome"] == "failed"}
    assert "Blind spots" in failed["check_docstring"]
    assert "AML.T9999" in failed["check_techniques"]
    assert "unknown playbook 'none'; the playbooks are " in failed["check_playbook"]
    assert "was not expected" in failed["check_case[a few calls fail]"]


def test_a_module_that_fails_is_reported_and_the_rest_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "half_broken"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "bad.py").write_text("import not_there\n")
    (package / "good.py").write_text(
        (ROOT / "examples/plugin/tocsin_failed_calls/failed_calls.py").read_text()
    )
    monkeypatch.syspath_prepend(tmp_path)
    found = discovery.collect(["half_broken"])
    assert [id for _, id in found.plugins] == ["failed_calls"]
    assert "not_there" in found.failures["half_broken.bad"]
    with pytest.raises(PluginError, match="not_there"):
        found.get(Detector, "bad")  # type: ignore[type-abstract]


def test_two_of_one_id_are_an_error_that_names_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "twice"
    package.mkdir()
    (package / "__init__.py").write_text("")
    for name in ("one", "two"):
        (package / f"{name}.py").write_text(
            (ROOT / "examples/plugin/tocsin_failed_calls/failed_calls.py").read_text()
        )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(PluginError, match=r"declared in twice\.one and in twice\.two"):
        discovery.collect(["twice"])


def test_a_check_says_what_is_wrong() -> None:
    class Bare(Plugin[Any]):
        id = "Bare"

    names = {}
    for check in checks(Bare):
        with pytest.raises((CheckError, PluginError)) as caught:
            check()
        names[check.name] = str(caught.value)
    assert "lower_snake_case" in names["check_identity"]
    assert "names no settings" in names["check_params"]
