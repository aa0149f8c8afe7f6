"""The outbox: failed notifications are retried in order, and finally recorded as failed."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.alerting.conftest import DATASET, Scene
from tocsin_alerting.delivery import FIRST_WAIT, LONGEST_WAIT, backoff


def test_a_failed_delivery_is_tried_again_with_the_same_key(scene: Scene) -> None:
    scene.finding(0)
    scene.oncall.fail()
    result = scene.tick(last=True)
    assert (result.notified, result.retried) == (0, 1)
    scene.tick("14s")  # half of the first wait is the least
    assert scene.oncall.tried == 1
    scene.oncall.error = None
    result = scene.tick("16s")
    assert (result.notified, result.retried) == (1, 0)
    assert scene.actions.count("notified") == 1
    assert scene.store.entries("group")[0].value["outbox"] == []


def test_a_restart_keeps_what_was_not_delivered(scene: Scene) -> None:
    scene.finding(0)
    scene.oncall.fail()
    scene.tick(last=True)
    scene.oncall.error = None
    scene.restart()
    assert scene.tick("1m").notified == 1


def test_what_a_receiver_refuses_is_a_dead_letter_at_once(scene: Scene) -> None:
    scene.finding(0)
    scene.oncall.fail("400 Bad Request", retry=False)
    result = scene.tick(last=True)
    assert (result.failed, result.retried) == (1, 0)
    (row,) = [r for r in scene.history("event.action", "event.outcome", "event.reason") if "notif" in r[0]]
    assert row == ("notification_failed", "failure", "first notification: 400 Bad Request")
    scene.tick("2h")
    assert scene.oncall.tried == 1


def test_after_a_day_it_is_given_up(scene: Scene) -> None:
    scene.route({"receiver": "oncall", "repeat_interval": "100d"})
    scene.finding(0)
    scene.oncall.fail("down")
    scene.tick(last=True)
    while "notification_failed" not in scene.actions and scene.oncall.tried < 100:
        scene.tick("30m")
    assert scene.clock.now() - scene.alerts[0].changed <= timedelta(hours=25)
    assert "given up after" in scene.history("event.reason")[-1][0]
    assert 20 < scene.oncall.tried < 60


def test_retry_after_is_obeyed(scene: Scene) -> None:
    scene.finding(0)
    scene.oncall.fail("429", after=600.0)
    scene.tick(last=True)
    scene.tick("599s")
    assert scene.oncall.tried == 1
    scene.tick("1s")
    assert scene.oncall.tried == 2


def test_a_receiver_that_is_down_is_tried_once_a_tick_and_others_go_on(tmp_path: Path) -> None:
    scene = Scene(tmp_path, receivers=2)
    scene.route(
        {
            "receiver": "oncall",
            "group_by": ["..."],
            "routes": [{"matchers": ["subject_type=dataset"], "receiver": "second"}],
        }
    )
    scene.finding(0)
    scene.finding(0, detector="feature_drift")
    scene.finding(0, subject=DATASET)
    scene.oncall.fail()
    scene.tick(last=True)
    assert (scene.oncall.tried, len(scene.receivers["second"].sent)) == (1, 1)
    scene.oncall.error = None
    scene.tick("1m")
    assert len(scene.oncall.sent) == 2
    scene.store.close()


def test_a_group_is_told_in_order(scene: Scene) -> None:
    scene.finding(0)
    scene.oncall.fail()
    scene.tick(last=True)
    scene.evaluated(1)
    scene.tick("6m")
    scene.oncall.error = None
    scene.tick("1h")
    assert [sent.state.value for sent in scene.oncall.sent] == ["firing", "resolved"]


def test_a_receiver_that_breaks_is_fenced(scene: Scene) -> None:
    scene.finding(0)
    scene.oncall.error = KeyError("bug")
    assert scene.tick(last=True).retried == 1
    scene.oncall.error = None
    assert scene.tick("1m").notified == 1


def test_a_receiver_that_is_gone_is_a_dead_letter(scene: Scene) -> None:
    scene.finding(0)
    scene.receivers.clear()
    assert scene.tick(last=True).failed == 1
    assert "receiver 'oncall' is no longer configured" in scene.history("event.reason")[-1][0]


def test_what_people_do_while_a_notification_is_sent_is_kept(scene: Scene) -> None:
    scene.finding(0)
    scene.oncall.on_send = lambda: scene.alerting.acknowledge(scene.alerts[0].id, "ana")
    scene.tick(last=True)
    assert scene.alerts[0].acknowledged is not None
    assert {"firing", "notified", "acknowledged"} <= set(scene.actions)
    assert len(scene.actions) == len(set(scene.actions))


def test_the_attempt_says_when_it_was_made(scene: Scene) -> None:
    scene.finding(0)
    scene.oncall.fail()
    scene.tick(last=True)
    created = scene.clock.now()
    scene.oncall.error = None
    scene.tick("1m")
    (sent,) = scene.oncall.sent
    assert (sent.created, sent.sent) == (created, created + timedelta(minutes=1))


@given(st.text(), st.integers(0, 1000), st.none() | st.floats(0, 1e9))
def test_backoff_grows_to_a_bound_and_obeys_the_receiver(
    key: str, attempts: int, after: float | None
) -> None:
    wait = backoff(key, attempts, after)
    assert FIRST_WAIT / 2 <= wait <= LONGEST_WAIT
    assert wait == backoff(key, attempts, after)
    if after is not None and after <= 3600:
        assert wait >= timedelta(seconds=after)


@pytest.mark.parametrize(("attempts", "least", "most"), [(0, 15, 30), (1, 30, 60), (3, 120, 240)])
def test_backoff_doubles(attempts: int, least: int, most: int) -> None:
    waits = {backoff(str(i), attempts).total_seconds() for i in range(100)}
    assert least <= min(waits) < max(waits) <= most
    assert len(waits) > 50  # notifications that failed together are retried at different times
