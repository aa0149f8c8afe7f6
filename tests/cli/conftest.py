"""The command line over the small store, at a scripted time and a fixed width of the terminal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.cli.story import NOW, fill
from tocsin.cli.main import tocsin
from tocsin.clock import ScriptedClock

Invoke = Callable[..., Result]


@pytest.fixture(scope="session")
def configuration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The configuration file of the small store, which tests only read."""
    return fill(tmp_path_factory.mktemp("story"))


@pytest.fixture
def invoke(configuration: Path, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """`invoke("alerts", "--all", width=80)`; without a width standard output is no terminal."""
    monkeypatch.setattr("tocsin.worker.app.SystemClock", lambda: ScriptedClock(NOW))
    for name in ("FORCE_COLOR", "NO_COLOR", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)

    def call(*arguments: str, width: int | None = None, term: str = "dumb", **environment: str) -> Result:
        terminal = {"FORCE_COLOR": "1", "TERM": term, "COLUMNS": str(width), "LINES": "50"} if width else {}
        return CliRunner().invoke(tocsin, ["-c", str(configuration), *arguments], env=terminal | environment)

    return call
