"""What a receiver refuses for good is kept, named by health, and sent once more when the receiver works again."""

from __future__ import annotations

from tests.alerting.conftest import DATASET, Scene
from tocsin.contract.findings import Score
from tocsin_alerting.undelivered import LATE


def health(scene: Scene, receiver: str = "oncall") -> Score:
    (score,) = [score for score in scene.alerting.health() if score.subject.id == receiver]
    assert score.subject.type == "receiver"
    return score


def refuse(scene: Scene) -> None:
    scene.finding(0)
    scene.oncall.fail("http://pager answered 404 Not Found", retry=False)
    assert scene.tick(last=True).failed == 1


def test_a_refused_notification_makes_its_receiver_unhealthy(scene: Scene) -> None:
    assert health(scene).value == 0.0
    refuse(scene)
    score = health(scene)
    assert score.value == 2.0
    assert score.reason == (
        "did not take 1 notifications in 1d; last: first notification: http://pager answered 404 Not Found"
    )
    assert score.evidence["undelivered"] == 1


def test_it_is_sent_once_more_when_the_receiver_works_again(scene: Scene) -> None:
    refuse(scene)
    scene.oncall.error = None
    scene.finding(0, subject=DATASET)
    scene.tick("10m", last=True)
    first, again = scene.oncall.sent
    assert [a.subject.id for a in first.alerts] == ["applications"]
    assert [a.subject.id for a in again.alerts] == ["credit"]
    failed = [k for k, a in scene.history("tocsin.notification.key", "event.action") if a.endswith("failed")]
    assert failed == [again.key]  # under its old key
    assert health(scene).value == 0.0
    reasons = [r for a, r in scene.history("event.action", "event.reason") if a == "notified"]
    assert "first notification, sent once more" in reasons


def test_what_is_refused_again_is_left_alone_and_stays_kept(scene: Scene) -> None:
    refuse(scene)
    refused: list[str] = []

    def only_credit() -> None:
        scene.oncall.error = None
        if len(refused) == 1:
            scene.oncall.fail("400 odd", retry=False)
        refused.append("")

    scene.oncall.on_send = only_credit
    scene.finding(0, subject=DATASET)
    scene.tick("10m", last=True)
    assert len(refused) == 2
    assert health(scene).value == 2.0
    scene.oncall.on_send = lambda: None
    scene.oncall.error = None
    scene.tick("5h", last=True)  # the repeats; the refused notification is not among them
    assert len(scene.store.entries("undelivered")) == 1
    assert [sent.reason for sent in scene.oncall.sent[1:]] == ["repeat interval elapsed"] * 2
    scene.clock.advance(LATE * 100)
    assert health(scene).value == 0.0  # health names it for a day
    assert len(scene.store.entries("undelivered")) == 1


def test_a_notification_that_is_given_up_is_kept_too(scene: Scene) -> None:
    scene.route({"receiver": "oncall", "repeat_interval": "100d"})
    scene.finding(0)
    scene.oncall.fail("down")
    scene.tick(last=True)
    while not scene.store.entries("undelivered") and scene.oncall.tried < 100:
        scene.tick("30m")
    assert "given up after" in health(scene).reason


def test_a_receiver_that_does_not_answer_for_long_is_unhealthy(scene: Scene) -> None:
    scene.finding(0)
    scene.oncall.fail("http://pager: TimeoutError: not done within 10 s")
    scene.tick(last=True)
    assert health(scene).value == 0.0
    scene.tick("15m")
    assert health(scene).value == 1.0
    assert "not done within 10 s" in health(scene).reason
    scene.oncall.error = None
    scene.tick("2h")
    assert health(scene).value == 0.0


def test_a_receiver_that_is_gone_is_named(scene: Scene) -> None:
    scene.finding(0)
    scene.receivers.clear()
    scene.tick(last=True)
    assert "no longer configured" in health(scene).reason
