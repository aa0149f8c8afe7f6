"""The `alerting` section of the configuration."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.alerting.conftest import Remembering, Scene
from tocsin.config import params
from tocsin.errors import ConfigError
from tocsin_alerting.engine import Alerting
from tocsin_alerting.receivers.webhook import Params, Webhook


def build(scene: Scene, section: dict[str, Any], **receivers: Any) -> Alerting:
    return Alerting.build(scene.store, scene.clock, section, receivers, Path("/etc/tocsin"))


def test_without_a_section_alerts_go_to_standard_output(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    scene.finding(0)
    scene.flush()
    alerting = build(scene, {})
    assert alerting.tick(last=True).notified == 1
    assert "HIGH prediction_drift: model credit" in capsys.readouterr().out


def test_a_whole_section(scene: Scene) -> None:
    section = {
        "route": {"receiver": "oncall", "group_wait_urgent": "1m"},
        "receivers": {"oncall": {"type": "remembering"}},
        "incidents": {"min_severity": "critical"},
        "playbooks": [],
    }
    scene.finding(0, "high")
    scene.flush()
    alerting = build(scene, section, oncall=scene.oncall)
    assert alerting.tick().notified == 0
    scene.clock.advance(timedelta(minutes=1))
    assert alerting.tick().notified == 1
    assert alerting.incidents() == []


def test_paths_of_secrets_are_relative_to_the_configuration(scene: Scene) -> None:
    settings = params.build(Params, {"url": "https://example.org/x", "secret": {"file": "hook.key"}})
    alerting = build(scene, {"route": {"receiver": "hook"}}, hook=Webhook(settings))
    with pytest.raises(ConfigError, match=r"/etc/tocsin/hook\.key") as error:
        alerting.check()
    assert error.value.key == "receivers.hook.secret"


def test_check_is_content_with_secrets_that_are_there(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_TEST_HOOK", "whsec_YWJj")
    settings = params.build(Params, {"url": "https://example.org/x", "secret": {"env": "TOCSIN_TEST_HOOK"}})
    build(scene, {"route": {"receiver": "hook"}}, hook=Webhook(settings)).check()


@pytest.mark.parametrize(
    ("section", "key", "message"),
    [
        ({"routes": {}}, "routes", "did you mean 'route'?"),
        ({}, "receivers", "receivers are configured but no route"),
        ({"route": {"receiver": "onkall"}}, "route.receiver", "did you mean 'oncall'?"),
        ({"route": {"receiver": "oncall", "playbook": "drift"}}, "route.playbook", "unknown playbook"),
        ({"route": {"receiver": "oncall"}, "incidents": ["high"]}, "incidents", "must be a mapping"),
        (
            {"route": {"receiver": "oncall"}, "incidents": {"severity": "low"}},
            "incidents.severity",
            "unknown key",
        ),
        (
            {"route": {"receiver": "oncall"}, "incidents": {"min_severity": "bad"}},
            "incidents.min_severity",
            "must be one of info, low",
        ),
        ({"route": {"receiver": "oncall"}, "playbooks": "p"}, "playbooks", "must be a list"),
        ({"route": {"receiver": "oncall"}, "playbooks": ["gone"]}, "playbooks", "/etc/tocsin/gone"),
    ],
)
def test_a_mistake_is_named_with_its_place(
    scene: Scene, section: dict[str, Any], key: str, message: str
) -> None:
    with pytest.raises(ConfigError) as error:
        build(scene, section, oncall=Remembering())
    assert error.value.key == key
    assert message in str(error.value)
