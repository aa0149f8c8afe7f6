"""A store and a configuration written by version 0.1 open unchanged.

tests/data/store-0.1.tar.xz was written by the commit before the modules moved into rooms (e1e1c42): the small story of
tests/demo, with alerts, an acknowledged incident and a step done, and what that commit's commands printed as JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.stores import only_embedded

pytestmark = only_embedded
TOCSIN = Path(sys.executable).with_name("tocsin")
COMMANDS = {
    "findings": ("findings", "--json"),
    "alerts": ("alerts", "--all", "--json"),
    "incidents": ("incidents", "--all", "--json"),
    "access": ("events", "access", "--json"),
}


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("old")
    with tarfile.open(ROOT / "tests" / "data" / "store-0.1.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder / "store-0.1"


def run(folder: Path, *arguments: str) -> str:
    done = subprocess.run([TOCSIN, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_its_configuration_is_valid(old: Path) -> None:
    run(old, "check")


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_prints_what_it_printed(old: Path, name: str) -> None:
    """Keys may be added. The order of rows and every old key and value stay."""
    found: list[dict[str, Any]] = [json.loads(line) for line in run(old, *COMMANDS[name]).splitlines()]
    expected = [json.loads(line) for line in (old / f"expected-{name}.jsonl").read_text().splitlines()]
    assert len(found) == len(expected) > 3
    for row, before in zip(found, expected, strict=True):
        assert {key: row.get(key) for key in before} == before


def test_it_is_written_to(old: Path) -> None:
    """Detect and alert: the keyed state of 0.1 is read and replaced."""
    run(old, "run", "--once")
    incidents = [json.loads(line) for line in run(old, *COMMANDS["incidents"]).splitlines()]
    before = [json.loads(line) for line in (old / "expected-incidents.jsonl").read_text().splitlines()]
    assert {row["incident"]: row["owner"] for row in before} == {r["incident"]: r["owner"] for r in incidents}
