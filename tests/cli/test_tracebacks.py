"""Tracebacks of plug-ins that raise: in the record of the attempt, and in `plugins check`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.cli.story import DAY, START
from tests.demo.small_story import append
from tocsin.cli.main import tocsin
from tocsin.clock import ScriptedClock
from tocsin.config.load import load
from tocsin.testing.template import write
from tocsin.worker.app import App

RAISES = '''
from tocsin import Detector, NoParams, Requires

class Raises(Detector[NoParams]):
    """Fails."""
    id, requires, threshold = "raises", Requires("access", window="1d"), 1.0
    def score(self, window):
        return [1 / 0]
'''


def test_an_attempt_s_record_has_the_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "raising_plugins.py").write_text(RAISES)
    file = tmp_path / "tocsin.yaml"
    file.write_text("namespace: demo\nplugins: [raising_plugins]\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    app = App(load(file), ScriptedClock(START + 2 * DAY))
    append(app, "access", [{"@timestamp": START, "user.id": "maria", "event.action": "read"}])
    (attempt,) = app.evaluate([app.setting("raises")])
    app.close()
    assert attempt.reason == "ZeroDivisionError: division by zero"
    shown = (
        CliRunner().invoke(tocsin, ["-c", str(file), "runs", "--detector", "raises", "--traceback"]).stdout
    )
    assert "Traceback (most recent call last):" in shown
    assert 'raising_plugins.py", line 8, in score' in shown


def test_plugins_check_shows_them_if_asked(tmp_path: Path) -> None:
    folder = write("raising", tmp_path)
    module = folder / "tocsin_raising" / "raising.py"
    raising = "    def score(self, window):\n        1 / 0\n\n    def other(self"
    module.write_text(module.read_text().replace("    def score(self", raising))
    asked = CliRunner().invoke(tocsin, ["plugins", "check", str(folder), "--traceback"])
    assert "ZeroDivisionError: division by zero" in asked.stdout
    assert 'raising.py", line' in asked.stderr
    plain = CliRunner().invoke(tocsin, ["plugins", "check", str(folder)])
    assert "Traceback" not in plain.stdout + plain.stderr and "--traceback" in plain.stderr
