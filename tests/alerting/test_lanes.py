"""Receivers do not wait for one another, nor does a worker that stops; and the worst alert is delivered first."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.alerting.conftest import DATASET, PLAYBOOKS, Remembering, Scene
from tocsin.contract.alerts import Notification
from tocsin.contract.findings import Severity, Subject
from tocsin.errors import DeliveryError
from tocsin_alerting import engine, lanes
from tocsin_alerting.engine import Alerting

EACH = {"receiver": "oncall", "group_by": ["..."], "group_wait": "0s"}
_ENOUGH = 30.0  # seconds that a thread of this file may take on a busy machine


class Hanging(Remembering):
    """Does not return from `send` before `go` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.reached, self.go = threading.Event(), threading.Event()
        self.on_send = self._hang

    def _hang(self) -> None:
        self.reached.set()
        self.go.wait(_ENOUGH)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "PATIENCE", 0.05)
    monkeypatch.setattr(lanes, "_FAREWELL", 0.05)


@pytest.fixture
def two(tmp_path: Path, impatient: None) -> Iterator[Scene]:
    """A scene with a receiver that hangs and one that works."""
    scene = Scene(tmp_path, receivers=2)
    scene.receivers["oncall"] = Hanging()
    routes = [{"matchers": ["subject_type=dataset"], "receiver": "second"}]
    scene.route({**EACH, "routes": routes})
    yield scene
    hanging(scene).go.set()
    scene.alerting.end()
    scene.store.close()


def hanging(scene: Scene) -> Hanging:
    found = scene.receivers["oncall"]
    assert isinstance(found, Hanging)
    return found


def done(scene: Scene) -> None:
    """Wait until every lane is idle."""
    with scene.alerting._lanes._changed:
        assert scene.alerting._lanes._changed.wait_for(scene.alerting._lanes._idle, _ENOUGH)


def told(receiver: Remembering) -> list[str]:
    return [alert.subject.id for sent in receiver.sent for alert in sent.alerts]


def outboxes(scene: Scene) -> int:
    return sum(len(entry.value["outbox"]) for entry in scene.store.entries("group"))


def test_a_receiver_that_hangs_holds_up_no_other(two: Scene) -> None:
    two.finding(0)
    two.finding(0, subject=DATASET)
    notified = two.tick().notified
    assert hanging(two).reached.wait(_ENOUGH)
    two.finding(0, subject=Subject("dataset", "more"))
    for _ in range(20):
        notified += two.tick("1s").notified
        if len(two.receivers["second"].sent) == 2:
            break
    assert sorted(told(two.receivers["second"])) == ["applications", "more"]
    assert hanging(two).sent == []
    hanging(two).go.set()
    done(two)
    notified += two.tick("1s").notified  # what a lane delivered between two ticks is counted by the next one
    assert notified == 3
    assert told(hanging(two)) == ["credit"]
    assert two.actions.count("notified") == 3
    assert outboxes(two) == 0


def test_a_worker_that_stops_does_not_wait_and_loses_nothing(two: Scene) -> None:
    two.finding(0)
    two.tick()
    assert hanging(two).reached.wait(_ENOUGH)
    two.alerting.end()
    hanging(two).go.set()  # the request ends after the worker's last write
    done(two)
    assert outboxes(two) == 1
    key = hanging(two).sent[0].key
    two.restart()
    assert two.tick(last=True).notified == 1
    assert [sent.key for sent in hanging(two).sent] == [key, key]


def test_no_delivery_begins_after_the_end(two: Scene) -> None:
    two.finding(0, subject=DATASET)
    two.alerting.end()
    two.tick(last=True)
    assert two.receivers["second"].tried == 0
    assert outboxes(two) == 1


def test_a_critical_alert_overtakes_what_waits_for_a_slow_receiver(two: Scene) -> None:
    for i in range(5):
        two.finding(0, "low", Subject("model", f"low-{i}"))
    two.tick()
    assert hanging(two).reached.wait(_ENOUGH)
    two.finding(0, "critical", Subject("model", "zz"))
    two.tick("1s")
    hanging(two).go.set()
    done(two)
    first, second, *rest = told(hanging(two))
    assert (first[:3], second) == ("low", "zz")
    assert len(rest) == 4


def test_one_worker_at_a_time_delivers_to_a_receiver(scene: Scene) -> None:
    asked: list[str] = []

    def taken(name: str) -> AbstractContextManager[Callable[[], None] | None]:
        asked.append(name)
        return nullcontext(None)

    scene.alerting = Alerting(scene.store, scene.clock, scene.settings, scene.receivers, PLAYBOOKS, taken)
    scene.finding(0)
    assert scene.tick(last=True).notified == 0
    assert (asked, scene.oncall.tried, outboxes(scene)) == (["receiver oncall"], 0, 1)
    scene.restart()
    assert scene.tick(last=True).notified == 1


def test_a_worse_alert_does_not_wait_for_the_backoff_of_a_milder_one(scene: Scene) -> None:
    scene.route({"receiver": "oncall", "group_by": ["detector"], "group_wait": "0s"})
    scene.finding(0, "low")
    scene.oncall.fail(after=3600.0)
    scene.tick()
    scene.oncall.error = None
    scene.finding(0, "critical", DATASET)
    scene.tick("6m")
    assert [sent.severity.value for sent in scene.oncall.sent] == ["low", "critical"]


def test_a_receiver_that_works_again_gets_what_waits_for_a_retry(scene: Scene) -> None:
    scene.route(EACH)
    scene.finding(0, "critical")
    scene.oncall.fail(after=3600.0)
    scene.tick()
    scene.oncall.error = None
    scene.finding(0, "low", DATASET)
    scene.tick("1m")
    assert [sent.severity.value for sent in scene.oncall.sent] == ["low", "critical"]


class Choosy(Remembering):
    """Fails for critical notifications, always."""

    def send(self, notification: Notification) -> None:
        if notification.severity is Severity.CRITICAL:
            raise DeliveryError("500 odd", retry=True)
        super().send(notification)


def test_a_notification_that_always_fails_holds_up_no_other(scene: Scene) -> None:
    scene.receivers["oncall"] = Choosy()
    scene.route(EACH)
    scene.finding(0, "critical")
    for i in range(3):
        scene.finding(0, "low", Subject("model", f"low-{i}"))
        scene.tick("1s")
    scene.tick("1s")
    assert len(scene.oncall.sent) == 3


@settings(max_examples=12, deadline=None)
@given(st.lists(st.sampled_from(list(Severity)), min_size=1, max_size=70), st.booleans())
def test_the_worst_is_delivered_first(severities: list[Severity], down: bool) -> None:
    """Whatever the order of findings, also after an outage: no notification before one of a higher severity."""
    with TemporaryDirectory() as folder:
        scene = Scene(Path(folder), EACH)
        for i, severity in enumerate(severities):
            scene.finding(0, severity.value, Subject("model", f"{i:03}"))
        if down:
            scene.oncall.fail()
            scene.tick(last=True)
            scene.oncall.error = None
        scene.tick("2h", last=True)
        ranks = [sent.severity.rank for sent in scene.oncall.sent]
        scene.store.close()
    assert ranks == sorted(ranks, reverse=True)
    assert ranks[0] == max(severity.rank for severity in severities)
