"""Which notifications are sent and when: groups, waiting, repeating, acknowledging."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.alerting.conftest import DATASET, MODEL, Scene
from tocsin.contract.alerts import Notification
from tocsin.contract.findings import Subject
from tocsin.errors import InputError

ALL = {"receiver": "oncall", "group_by": ["detector"]}


def reported(notification: Notification) -> list[tuple[str, str, str]]:
    return [(a.subject.id, a.state.value, a.severity.value) for a in notification.alerts]


def test_a_severe_first_notification_does_not_wait(scene: Scene) -> None:
    scene.route(ALL)
    scene.finding(0, "medium")
    scene.tick()
    assert scene.oncall.sent == []
    scene.finding(0, "high", subject=DATASET)
    scene.tick("1s")
    (sent,) = scene.oncall.sent
    assert sorted(reported(sent)) == [("applications", "firing", "high"), ("credit", "firing", "medium")]


def test_an_early_first_notification_does_not_wait(scene: Scene) -> None:
    scene.route(ALL)
    scene.finding(0, "low", subject=DATASET)
    scene.tick()
    assert scene.oncall.sent == []
    scene.finding(0, "low", changes={"tocsin.run.early": True})
    scene.tick("1s")
    (sent,) = scene.oncall.sent
    assert sorted(reported(sent)) == [("applications", "firing", "low"), ("credit", "firing", "low")]


def test_the_first_notification_waits_for_more_alerts(scene: Scene) -> None:
    scene.route({**ALL, "group_wait_urgent": "30s"})
    scene.finding(0)
    scene.tick()
    scene.finding(0, subject=DATASET)
    scene.tick("20s")
    assert scene.oncall.sent == []
    scene.tick("10s")
    (sent,) = scene.oncall.sent
    assert sorted(reported(sent)) == [("applications", "firing", "high"), ("credit", "firing", "high")]
    assert (sent.reason, sent.state, sent.labels) == (
        "first notification",
        "firing",
        {"detector": "prediction_drift"},
    )
    assert sent.group_key == '{}:{detector="prediction_drift"}'


def test_the_last_tick_of_a_process_does_not_wait(scene: Scene) -> None:
    scene.finding(0)
    assert scene.tick(last=True).notified == 1


def test_groups_are_told_apart(scene: Scene) -> None:
    scene.finding(0)
    scene.finding(0, subject=DATASET)
    scene.tick(last=True)
    assert [len(sent.alerts) for sent in scene.oncall.sent] == [1, 1]
    assert len({sent.key for sent in scene.oncall.sent}) == 2


def test_a_new_alert_joins_its_group_after_group_interval(scene: Scene) -> None:
    scene.route(ALL)
    scene.finding(0)
    scene.tick(last=True)
    scene.finding(0, subject=DATASET)
    scene.tick("4m")
    assert len(scene.oncall.sent) == 1
    scene.tick("1m")
    assert scene.oncall.sent[1].reason == "new alerts in group"
    assert len(scene.oncall.sent[1].alerts) == 2


def test_a_worse_alert_does_not_wait_for_group_interval(scene: Scene) -> None:
    scene.route(ALL)
    scene.finding(0, "low")
    scene.tick(last=True)
    scene.finding(0, "critical", subject=DATASET)
    scene.tick("15s")
    assert [sent.severity for sent in scene.oncall.sent] == ["low", "critical"]
    scene.finding(0, "critical", subject=Subject("dataset", "another"))
    scene.tick("15s")
    assert len(scene.oncall.sent) == 2


def test_one_notification_carries_firing_and_resolved(scene: Scene) -> None:
    scene.route(ALL)
    scene.finding(0)
    scene.finding(0, subject=DATASET)
    scene.tick(last=True)
    scene.finding(1)
    scene.evaluated(1)
    scene.tick("5m")
    assert scene.oncall.sent[1].reason == "some alerts resolved"
    assert reported(scene.oncall.sent[1]) == [
        ("credit", "firing", "high"),
        ("applications", "resolved", "high"),
    ]
    scene.evaluated(2)
    scene.tick("5m")
    assert scene.oncall.sent[2].reason == "all alerts resolved"
    assert reported(scene.oncall.sent[2]) == [("credit", "resolved", "high")]


def test_it_is_repeated_while_it_fires(scene: Scene) -> None:
    scene.finding(0)
    scene.tick(last=True)
    for _ in range(8):
        scene.tick("1h")
    assert [sent.reason for sent in scene.oncall.sent[1:]] == ["repeat interval elapsed"] * 2
    scene.evaluated(1)
    scene.tick()
    for _ in range(8):
        scene.tick("1h")
    assert [sent.reason for sent in scene.oncall.sent[3:]] == ["all alerts resolved"]


def test_nobody_is_told_of_the_same_again(scene: Scene) -> None:
    scene.finding(0)
    scene.tick(last=True)
    scene.finding(1)  # it continues
    scene.evaluated(1)
    scene.tick("1h")
    scene.finding(1, "medium")  # and is amended to something milder
    scene.tick("1h")
    assert len(scene.oncall.sent) == 1


def test_an_alert_that_gets_worse_is_news(scene: Scene) -> None:
    scene.finding(0, "medium")
    scene.tick(last=True)
    scene.finding(1, "critical")
    scene.tick("5m")
    assert [sent.severity for sent in scene.oncall.sent] == ["medium", "critical"]


def test_an_acknowledged_alert_is_not_repeated_but_its_end_is_told(scene: Scene) -> None:
    scene.finding(0)
    scene.tick(last=True)
    scene.alerting.acknowledge(scene.alerts[0].fingerprint[:6], "ana", "on it")
    for _ in range(3):
        scene.tick("10h")
    assert len(scene.oncall.sent) == 1
    scene.evaluated(1)
    scene.tick("10h")
    assert reported(scene.oncall.sent[1]) == [("credit", "resolved", "high")]
    rows = scene.history("event.action", "user.name", "event.reason")
    assert ("acknowledged", "ana", "on it") in rows


def test_an_acknowledgement_covers_one_alert_of_a_group(scene: Scene) -> None:
    scene.route(ALL)
    scene.finding(0)
    scene.finding(0, subject=DATASET)
    scene.tick(last=True)
    scene.alerting.acknowledge(scene.alerts[0].id, "ana")
    scene.tick("5h")
    assert len(scene.oncall.sent) == 2  # the other alert is not acknowledged
    scene.alerting.acknowledge(scene.alerts[1].id, "ben")
    scene.tick("5h")
    assert len(scene.oncall.sent) == 2


def test_what_is_over_before_anyone_was_told_is_told_all_the_same(scene: Scene) -> None:
    scene.finding(0, "critical")
    scene.evaluated(1)
    scene.tick(last=True)
    (first,) = scene.oncall.sent
    assert reported(first) == [
        ("credit", "firing", "critical")
    ]  # a pager drops the resolution of an alert it never saw firing
    scene.tick("5h")
    assert reported(scene.oncall.sent[1]) == [("credit", "resolved", "critical")]
    scene.tick("5h")
    assert len(scene.oncall.sent) == 2


def test_a_restart_repeats_nothing(scene: Scene) -> None:
    scene.finding(0)
    scene.tick(last=True)
    for _ in range(3):
        scene.restart()
        scene.tick("1m", last=True)
    assert len(scene.oncall.sent) == 1


def test_continue_tells_several_receivers(tmp_path: Path) -> None:
    scene = Scene(tmp_path, receivers=3)
    scene.route(
        {
            "receiver": "oncall",
            "routes": [
                {"matchers": ["severity>=high"], "receiver": "second", "continue": True},
                {"matchers": ["subject_type=model"], "receiver": "third"},
            ],
        }
    )
    scene.finding(0)
    scene.finding(0, "low", subject=DATASET)
    scene.tick(last=True)
    by_receiver = {name: [reported(n) for n in receiver.sent] for name, receiver in scene.receivers.items()}
    assert by_receiver == {
        "oncall": [[("applications", "firing", "low")]],
        "second": [[("credit", "firing", "high")]],
        "third": [[("credit", "firing", "high")]],
    }
    assert len(scene.alerting.incidents()) == 1
    scene.store.close()


def test_a_resolved_alert_stays_until_all_of_its_receivers_were_told(tmp_path: Path) -> None:
    scene = Scene(tmp_path, receivers=2)
    slow = {"matchers": ["subject_type=model"], "receiver": "second", "group_interval": "2h"}
    scene.route(
        {"receiver": "oncall", "routes": [slow | {"continue": True}, {"matchers": ["severity>=low"]}]}
    )
    scene.finding(0)
    scene.tick(last=True)
    scene.evaluated(1)
    scene.tick("1h")
    assert [len(r.sent) for r in scene.receivers.values()] == [2, 1]
    scene.tick("1h")
    assert [len(r.sent) for r in scene.receivers.values()] == [2, 2]
    scene.tick("1h")
    scene.tick("1h")
    assert [len(r.sent) for r in scene.receivers.values()] == [2, 2]
    assert scene.store.entries("group") == []
    scene.store.close()


def test_a_changed_route_tree_takes_the_alerts_that_fire(tmp_path: Path) -> None:
    scene = Scene(tmp_path, receivers=2)
    scene.finding(0)
    scene.tick(last=True)
    scene.route({"receiver": "second"})
    scene.tick("1m", last=True)
    scene.tick("5h")
    assert [len(r.sent) for r in scene.receivers.values()] == [1, 2]
    scene.store.close()


def test_every_alert_a_group_of_its_own(scene: Scene) -> None:
    scene.route({"receiver": "oncall", "group_by": ["..."]})
    for name in "abc":
        scene.finding(0, subject=Subject("principal", name))
    scene.tick(last=True)
    assert len(scene.oncall.sent) == 3


def test_notifications_of_a_group_have_one_thread_and_different_keys(scene: Scene) -> None:
    scene.finding(0)
    scene.tick(last=True)
    scene.tick("5h")
    first, second = scene.oncall.sent
    assert first.thread == second.thread == first.key != second.key


@pytest.mark.parametrize("id", ["", "zz", "inc-"])
def test_an_id_must_name_one_thing(scene: Scene, id: str) -> None:
    scene.finding(0)
    scene.finding(0, subject=DATASET)
    scene.tick()
    with pytest.raises(InputError, match=r"has an id that begins with|is ambiguous"):
        scene.alerting.acknowledge(id, "ana")


def test_an_acknowledgement_needs_a_name(scene: Scene) -> None:
    scene.finding(0)
    scene.tick()
    with pytest.raises(InputError, match="an acknowledgement needs a name"):
        scene.alerting.acknowledge(scene.alerts[0].id, " ")


def test_only_what_fires_can_be_acknowledged(scene: Scene) -> None:
    scene.finding(0, "low", subject=MODEL)
    scene.evaluated(1)
    scene.tick()
    with pytest.raises(InputError):
        scene.alerting.acknowledge(scene.alerts[0].id, "ana")
