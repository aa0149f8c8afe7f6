"""A storm of alerts becomes a counted digest: nothing is lost, and nothing severe stands behind it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.alerting.conftest import Scene
from tests.alerting.test_receivers import alert, notification
from tocsin.contract.alerts import AlertState, Counted
from tocsin.contract.findings import Severity, Subject
from tocsin.contract.plugin import NoParams
from tocsin_alerting.groups import MOST
from tocsin_alerting.receivers.console import Console
from tocsin_alerting.storms import ALONE
from tocsin_alerting.wording import title

EACH = {"receiver": "oncall", "group_by": ["..."], "group_wait": "0s", "repeat_interval": "100d"}
ONE = {**EACH, "group_by": ["detector"]}


def storm(scene: Scene, count: int, severity: str = "low", name: str = "low", day: int = 0) -> None:
    for i in range(count):
        scene.finding(day, severity, Subject("principal", f"{name}-{i:04}"), "registry_access")


def counts(scene: Scene) -> Counter[tuple[str, str]]:
    """How many alerts were delivered by state and severity, described or counted."""
    found: Counter[tuple[str, str]] = Counter()
    for sent in scene.oncall.sent:
        found.update((a.state.value, a.severity.value) for a in sent.alerts)
        for item in sent.more:
            found[item.state.value, item.severity.value] += item.count
    return found


@pytest.mark.parametrize(("route", "most"), [(EACH, ALONE + 1), (ONE, 1)])
def test_a_critical_alert_is_not_lost_in_a_storm(tmp_path: Path, route: dict[str, object], most: int) -> None:
    scene = Scene(tmp_path, route)
    storm(scene, 300)
    scene.finding(0, "critical", Subject("principal", "zz-intruder"), "registry_access")
    scene.tick(last=True)
    assert scene.oncall.sent[0].alerts[0].subject.id == "zz-intruder"
    assert len(scene.oncall.sent) == most
    assert counts(scene) == {("firing", "critical"): 1, ("firing", "low"): 300}
    (more,) = scene.oncall.sent[-1].more
    assert str(more) == f"{more.count} more low alerts of detector registry_access"
    assert len(scene.alerts) == 301  # every alert is stored
    assert scene.tick("1h").notified == 0  # and no notification is sent twice
    scene.evaluated(1, "registry_access")
    scene.tick("1h")
    assert counts(scene)["resolved", "low"] == 300
    assert counts(scene)["resolved", "critical"] == 1
    assert len(scene.oncall.sent) <= 2 * most
    assert scene.tick("1h").notified == 0
    scene.store.close()


def test_a_storm_before_does_not_collapse_a_critical_alert(scene: Scene) -> None:
    scene.route(EACH)
    storm(scene, 120)
    scene.tick(last=True)
    before = len(scene.oncall.sent)
    scene.finding(0, "critical", Subject("principal", "zz"), "registry_access")
    storm(scene, 30, name="later")
    scene.tick("10s")
    critical, digest = scene.oncall.sent[before:]
    assert [a.subject.id for a in critical.alerts] == ["zz"]
    assert digest.reason == "storm: 30 notifications in one"
    assert len(digest.alerts) == 30
    assert digest.more == ()


def test_in_a_storm_the_worst_is_delivered_before_the_rest_is_processed(scene: Scene) -> None:
    """15,000 alerts that each need an incident and a group do not delay the critical one."""
    scene.route(EACH)
    storm(scene, 600, "high", name="high")
    scene.finding(0, "critical", Subject("principal", "zz"), "registry_access")
    groups: list[int] = []
    scene.oncall.on_send = lambda: groups.append(len(scene.store.entries("group")))
    scene.tick(last=True)
    assert scene.oncall.sent[0].alerts[0].subject.id == "zz"
    assert groups[0] < 10
    assert scene.oncall.sent[0].alerts[0].incident
    assert counts(scene) == {("firing", "critical"): 1, ("firing", "high"): 600}
    assert len(scene.alerting.incidents()) == 601
    assert scene.tick("1h").notified == 0


def test_the_history_says_that_alerts_were_counted(scene: Scene) -> None:
    scene.route(ONE)
    storm(scene, MOST + 7)
    scene.tick(last=True)
    rows = [
        reason for action, reason in scene.history("event.action", "event.reason") if action == "notified"
    ]
    assert rows == ["first notification; with 7 more alerts, counted"] * MOST


def test_a_digest_that_fails_is_sent_again_with_its_key(scene: Scene) -> None:
    scene.route(EACH)
    storm(scene, 120)
    keys: list[str] = []
    scene.oncall.on_send = lambda: keys.append("")
    scene.oncall.fail()
    assert scene.tick(last=True).retried == 1
    (digest,) = [
        posting["notification"]["key"]
        for entry in scene.store.entries("group")
        for posting in entry.value["outbox"]
        if posting["notification"]["reason"].startswith("storm")
    ]
    scene.oncall.error = None
    scene.tick("2m", last=True)
    assert digest in [sent.key for sent in scene.oncall.sent]
    assert counts(scene) == {("firing", "low"): 120}


@settings(max_examples=10, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["low", "medium", "high", "critical"]), st.integers(1, 90), min_size=1),
    st.sampled_from([EACH, ONE, {**EACH, "group_by": ["severity"]}]),
)
def test_every_alert_is_described_or_counted_once(storms: dict[str, int], route: dict[str, object]) -> None:
    with TemporaryDirectory() as folder:
        scene = Scene(Path(folder), route)
        for severity, count in storms.items():
            storm(scene, count, severity, name=severity)
        scene.tick(last=True)
        assert counts(scene) == {("firing", severity): count for severity, count in storms.items()}
        worst = max(storms, key=lambda s: Severity(s).rank)
        assert scene.oncall.sent[0].alerts[0].severity.value == worst
        assert len(scene.oncall.sent) <= ALONE + 1
        assert all(len(sent.alerts) <= 2 * MOST for sent in scene.oncall.sent)
        scene.store.close()


def test_what_was_described_as_firing_is_described_as_resolved(scene: Scene) -> None:
    """A pager closes what it opened, even if very many other alerts are resolved at the same time."""
    scene.route(ONE)
    storm(scene, 10, "low", name="zz")
    scene.tick(last=True)
    storm(scene, 200)
    storm(scene, 10, "low", name="zz")
    scene.tick("10m")
    scene.evaluated(1, "registry_access")
    scene.tick("10m")
    over = scene.oncall.sent[-1]
    assert {f"zz-{i:04}" for i in range(10)} <= {a.subject.id for a in over.alerts}


def test_the_text_of_a_digest(capsys: pytest.CaptureFixture[str]) -> None:
    more = (
        Counted(AlertState.FIRING, Severity.LOW, "registry_access", 14_950),
        Counted(AlertState.RESOLVED, Severity.HIGH, "feature_drift", 3),
    )
    shown = notification(alert(severity=Severity.CRITICAL), alert(), more=more)
    Console(NoParams()).send(shown)
    out = capsys.readouterr().out
    assert "… and 14,953 more alerts: tocsin alerts\n" in out
    assert "14,950 more low alerts of detector registry_access\n" in out
    assert "3 more resolved high alerts of detector feature_drift\n" in out
    assert title(shown).startswith("[FIRING:14952] CRITICAL ")
