"""The README and the on-call page match the code."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.alerting.conftest import DAY, PLAYBOOKS, START, Scene
from tests.alerting.test_receivers import alert, notification
from tests.conftest import ROOT
from tocsin.config import discovery, params
from tocsin.contract.alerts import LABELS, Action
from tocsin.contract.findings import Severity, Subject
from tocsin.contract.plugin import NoParams, Receiver
from tocsin_alerting.engine import Alerting
from tocsin_alerting.receivers.console import Console

README = (ROOT / "alerting/README.md").read_text()
PAGE = (ROOT / "docs/on-call.md").read_text()


def test_the_tree_in_the_readme_is_what_is_on_the_disk() -> None:
    folder = ROOT / "alerting/tocsin_alerting"
    tree = README.partition("The types that others see")[0]
    for path in folder.glob("*.py"):
        assert path.stem == "__init__" or f"{path.name} " in tree, path.name
    for path in [*folder.glob("stages/*.py"), *folder.glob("receivers/*.py"), *folder.glob("playbooks/*.py")]:
        assert path.stem == "__init__" or path.stem in tree, path.name


def test_the_example_of_a_page_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    shown = alert(
        detector="label_poisoning",
        fingerprint="4f1c38d9a2e07b65",
        subject=Subject("dataset", "applications"),
        reason="applications, written by partner-feed: about 52 of 1,150 labels look changed from '1' to '0'",
        started=START,
        window_start=START,
        window_end=START + DAY,
        score=2.4,
        threshold=1.0,
        techniques=("AML.T0020", "AML.T0059", "AML.T0043.004"),
        playbook="training-data-poisoning",
        incident="inc-5b0d31c2e8aa",
    )
    sent = datetime(2026, 3, 3, 0, 5, tzinfo=UTC)
    Console(NoParams()).send(replace(notification(shown), sent=sent))
    assert f"```\n{capsys.readouterr().out}```" in PAGE


def test_everything_has_its_line() -> None:
    words = [*PLAYBOOKS, *Action, *LABELS, *(severity.value for severity in Severity if severity.rank)]
    receivers = discovery.collect(["tocsin_alerting"]).of(Receiver)  # type: ignore[type-abstract]
    for word in [*words, *receivers]:
        assert word in PAGE, word


def test_the_example_of_a_configuration_works(scene: Scene, tmp_path: Path) -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    section: dict[str, Any] = yaml.safe_load(text)["alerting"]
    (tmp_path / "playbooks").mkdir()
    plugins = discovery.collect(["tocsin_alerting"])
    receivers = {}
    for name, values in section["receivers"].items():
        plugin = plugins.get(Receiver, values.pop("type"))  # type: ignore[type-abstract]
        receivers[name] = plugin(params.build(plugin.params_type(), values))
    assert Alerting.build(scene.store, scene.clock, section, receivers, tmp_path).alerts() == []
