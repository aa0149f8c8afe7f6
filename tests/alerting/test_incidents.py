"""Incidents: when one is opened, which alerts join it, and the actions of people on it."""

from __future__ import annotations

import pytest

from tests.alerting.conftest import DATASET, DAY, PLAYBOOKS, ROUTE, START, Scene
from tocsin.contract.findings import Severity, Subject
from tocsin.contract.incidents import Incident
from tocsin.errors import InputError


def only(scene: Scene) -> Incident:
    (incident,) = scene.alerting.incidents()
    return incident


def test_a_severe_alert_opens_an_incident_with_the_playbooks_steps(scene: Scene) -> None:
    scene.finding(0, "high")
    scene.tick()
    incident = only(scene)
    assert (incident.playbook, incident.state, incident.owner) == ("model-drift", "open", "")
    assert [s.id for s in incident.steps] == [s.id for s in PLAYBOOKS["model-drift"].steps]
    assert all(s.state == "pending" for s in incident.steps)
    assert scene.alerts[0].incident == incident.id
    assert incident.id in incident.steps[0].text
    assert "2026-03-02T00:00:00Z" in incident.steps[1].text


def test_a_mild_alert_opens_none_until_it_gets_worse(scene: Scene) -> None:
    scene.finding(0, "medium")
    scene.tick()
    assert scene.alerting.incidents() == []
    scene.finding(1, "critical")
    scene.tick()
    assert only(scene).severity == "critical"


def test_the_least_severity_is_a_setting(scene: Scene) -> None:
    scene.route(ROUTE, Severity.CRITICAL)
    scene.finding(0, "high")
    scene.tick()
    assert scene.alerting.incidents() == []


def test_later_alerts_about_the_subject_join_it_while_it_is_open(scene: Scene) -> None:
    scene.finding(0, "high")
    scene.tick()
    scene.finding(0, "critical", detector="feature_drift")
    scene.finding(0, subject=DATASET)
    scene.tick()
    joined, other = sorted(scene.alerting.incidents(), key=lambda i: -len(i.alerts))
    assert len(joined.alerts) == 2
    assert joined.severity == "critical"
    assert other.subject == DATASET
    assert [m.action.value for m in joined.timeline] == ["incident_opened", "incident_joined"]


def test_a_new_episode_joins_the_open_incident_and_opens_another_after_it_is_closed(scene: Scene) -> None:
    scene.finding(0)
    scene.evaluated(1)
    scene.finding(2)
    scene.evaluated(3)
    scene.tick()
    assert len(only(scene).alerts) == 2
    scene.alerting.close(only(scene).id, "ana", "the feed was repaired")
    scene.tick("1h")
    assert only(scene).state == "closed"
    scene.finding(4)
    scene.tick("1h")
    newest, closed = scene.alerting.incidents()
    assert (newest.state, closed.state) == ("open", "closed")


def test_an_incident_is_not_closed_without_its_conclusion(scene: Scene) -> None:
    scene.finding(0)
    scene.tick()
    with pytest.raises(InputError, match=r"without a conclusion; give one with --note"):
        scene.alerting.close(only(scene).id, "ana", " ")
    assert only(scene).open


def test_a_closed_incident_is_not_opened_again_by_an_alert_that_still_fires(scene: Scene) -> None:
    scene.finding(0)
    scene.tick()
    scene.alerting.close(only(scene).id, "ana", "known, ticket 12")
    scene.finding(1)
    scene.tick("1h")
    assert only(scene).state == "closed"


def test_acknowledging_an_incident_takes_its_alerts_too(scene: Scene) -> None:
    scene.finding(0)
    scene.finding(0, detector="feature_drift")
    scene.tick(last=True)
    words = scene.alerting.acknowledge(only(scene).id[:8], "ana", "on it")
    assert words == f"incident {only(scene).id} and its firing alerts (2) are acknowledged by ana"
    assert (only(scene).state, only(scene).owner) == ("acknowledged", "ana")
    assert all(alert.acknowledged.by == "ana" for alert in scene.alerts if alert.acknowledged)
    sent = len(scene.oncall.sent)
    scene.tick("10h")
    assert len(scene.oncall.sent) == sent
    assert scene.actions.count("acknowledged") == 3


def test_steps_are_done_and_skipped_by_someone(scene: Scene) -> None:
    scene.finding(0)
    scene.tick()
    id, steps = only(scene).id, only(scene).steps
    scene.alerting.complete_step(id, steps[0].id, "ana", "PSI 0.6, one feature at 0")
    scene.clock.advance(DAY)
    scene.alerting.complete_step(id, steps[1].id, "ben", "does not apply", skipped=True)
    done, skipped = only(scene).steps[:2]
    assert (done.state, done.by, done.note) == ("done", "ana", "PSI 0.6, one feature at 0")
    assert (skipped.state, skipped.by, skipped.at) == ("skipped", "ben", START + 31 * DAY)
    rows = scene.history("event.action", "tocsin.incident.id", "user.name", "event.reason")
    assert rows[-2:] == [
        ("step_done", id, "ana", f"{steps[0].id}: PSI 0.6, one feature at 0"),
        ("step_skipped", id, "ben", f"{steps[1].id}: does not apply"),
    ]


def test_a_closed_incident_takes_no_more(scene: Scene) -> None:
    scene.finding(0)
    scene.tick()
    incident = scene.alerting.close(only(scene).id, "ana", "done")
    with pytest.raises(InputError, match="is closed"):
        scene.alerting.close(incident.id, "ben", "again")
    with pytest.raises(InputError, match="is closed"):
        scene.alerting.complete_step(incident.id, incident.steps[0].id, "ben")
    with pytest.raises(InputError, match="no firing alert or open incident has an id that begins with"):
        scene.alerting.acknowledge(incident.id, "ben")


def test_an_unknown_step_is_named_with_those_there_are(scene: Scene) -> None:
    scene.finding(0)
    scene.tick()
    with pytest.raises(InputError, match="no step 'x'; its steps are read-the-finding, what-changed"):
        scene.alerting.complete_step(only(scene).id, "x", "ana")


def test_a_route_may_name_the_playbook(scene: Scene) -> None:
    scene.route(
        {
            "receiver": "oncall",
            "routes": [{"matchers": ["detector=prediction_drift"], "playbook": "registry-intrusion"}],
        }
    )
    scene.finding(0)
    scene.tick()
    assert only(scene).playbook == "registry-intrusion"


@pytest.mark.parametrize("named", ["", "gone-since"])
def test_what_has_no_playbook_gets_the_one_for_the_unexplained(scene: Scene, named: str) -> None:
    scene.finding(0, changes={"tocsin.playbook.id": named})
    scene.tick()
    assert only(scene).playbook == "unexplained-anomaly"


def test_a_hostile_name_cannot_leave_the_command_that_it_is_pasted_into(scene: Scene) -> None:
    hostile = "x'; rm -rf ~; echo '\x1b[2J\u202e\nend"
    scene.finding(0, subject=Subject("principal", hostile))
    scene.tick()
    text = "\n".join(step.text for step in only(scene).steps)
    assert "grep -F -- 'x'\"'\"'; rm -rf ~; echo '\"'\"'\ufffd[2J\ufffd\ufffdend'" in text
    assert "\x1b" not in text


def test_the_page_of_an_incident_can_be_read(scene: Scene) -> None:
    scene.finding(0)
    scene.tick()
    scene.alerting.complete_step(only(scene).id, "read-the-finding", "ana", "one feature")
    lines = "\n".join(only(scene).lines())
    assert " 1. [x] Read what has changed" in lines
    assert "-> done by ana" in lines
    assert "(restore-approved; platform, after approval by model-owner)" in lines
    assert only(scene).to_dict()["steps"][0]["state"] == "done"
