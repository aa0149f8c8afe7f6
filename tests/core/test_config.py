"""Configurations: every good one builds an app, every bad one fails with exactly its message."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tocsin.config.load import load
from tocsin.config.sections import SECTIONS
from tocsin.errors import ConfigError
from tocsin.worker.app import App

CONFIGS = ROOT / "tests" / "configs"


def build(path: Path, folder: Path) -> App:
    copy = folder / path.name
    shutil.copy(path, copy)
    app = App.open(copy)
    app.alerting  # noqa: B018 — building it checks routes and receivers
    return app


@pytest.mark.parametrize("path", sorted((CONFIGS / "bad").glob("*.yaml")), ids=lambda p: p.stem)
def test_bad(path: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        build(path, tmp_path)
    assert str(caught.value) == f"{tmp_path / path.name}:{path.with_suffix('.error').read_text().rstrip()}"


@pytest.mark.parametrize("path", sorted((CONFIGS / "good").glob("*.yaml")), ids=lambda p: p.stem)
def test_good(path: Path, tmp_path: Path) -> None:
    build(path, tmp_path).close()


def test_relative_paths_begin_at_the_file(tmp_path: Path) -> None:
    app = build(CONFIGS / "good" / "everything.yaml", tmp_path)
    assert app.store.place == str(tmp_path / "data")
    assert app.collectors[0].params.paths == (str(tmp_path / "spool"),)
    app.close()


def test_a_detector_takes_its_settings(tmp_path: Path) -> None:
    app = build(CONFIGS / "good" / "everything.yaml", tmp_path)
    by_id = {s.detector.id: s for s in app.settings}
    assert "label_poisoning" not in by_id
    assert "prediction_drift" in by_id
    drift = by_id["feature_drift"]
    assert drift.false_alarms == 0.001
    assert drift.detector.requires.window.total_seconds() == 12 * 3600
    slow = by_id["slow_calls"].detector
    assert (slow.id, slow.threshold) == ("slow_calls", 4)
    app.close()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load(tmp_path / "none.yaml")


def test_without_a_file_everything_has_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TOCSIN_NAMESPACE", "TOCSIN_STORE_URL"):
        monkeypatch.delenv(name, raising=False)
    config = load()
    assert config.namespace == "default"
    assert config.path is None


def test_every_setting_is_documented() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text()
    for section in SECTIONS.values():
        for name in section.__dataclass_fields__:
            assert f"| `{name}` |" in page
