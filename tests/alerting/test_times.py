"""The times of an alert: what a tick completes and measures, once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from tests.alerting.conftest import DAY, START, Scene
from tocsin.clock import format_time
from tocsin_alerting.measured import Measured

NOW = START + 30 * DAY
TIMES: dict[str, Any] = {
    "tocsin.finding.newest_event": NOW - timedelta(seconds=50),
    "tocsin.finding.ingested": NOW - timedelta(seconds=40),
    "tocsin.finding.evaluated": NOW - timedelta(seconds=5),
    "tocsin.detector.family": "access",
}


def test_an_alert_has_the_times_of_its_finding_notification_and_acknowledgement(scene: Scene) -> None:
    scene.finding(0, changes=TIMES)
    result = scene.tick()
    [alert] = scene.alerts
    assert alert.times.found is not None
    times = (alert.times.newest_event, alert.times.ingested, alert.times.evaluated)
    assert times == tuple(NOW - timedelta(seconds=s) for s in (50, 40, 5))
    assert alert.times.notified == NOW
    assert result.measured == (Measured("access", 50.0, None),)
    assert scene.tick("1m").measured == ()

    scene.alerting.acknowledge(alert.fingerprint, "ana")
    assert scene.tick("30s").measured == (Measured("access", None, 60.0),)
    scene.alerting.acknowledge(alert.fingerprint, "bea")
    assert scene.tick("30s").measured == ()
    [alert] = scene.alerts
    assert alert.times.acknowledged == NOW + timedelta(minutes=1)
    assert alert.to_dict()["times"]["acknowledged"] == format_time(NOW + timedelta(minutes=1))


def test_repeats_and_revisions_change_no_time(scene: Scene) -> None:
    scene.finding(0, changes=TIMES)
    scene.tick()
    first = scene.alerts[0].times
    scene.finding(0, "critical", changes={**TIMES, "tocsin.finding.newest_event": NOW})
    assert scene.tick("6m").measured == ()
    assert scene.tick("5h").notified == 1  # repeat interval
    assert scene.alerts[0].times == first


def test_an_alert_that_fires_again_is_measured_again(scene: Scene) -> None:
    scene.finding(0, changes=TIMES)
    scene.evaluated(0)
    scene.tick()
    scene.withdraw(0)
    scene.tick("10m")
    again = {**TIMES, "tocsin.finding.newest_event": NOW + timedelta(minutes=19), "event.id": "again"}
    scene.finding(0, "high", changes=again)
    result = scene.tick("10m")
    assert result.measured == (Measured("access", 60.0, None),)


def test_the_time_to_detect_ends_when_a_receiver_accepts(scene: Scene) -> None:
    scene.oncall.fail(retry=False)
    scene.finding(0, changes=TIMES)
    assert scene.tick().measured == ()
    assert scene.alerts[0].times.notified is None
    scene.oncall.error = None
    scene.finding(1, subject=scene.alerts[0].subject, detector="feature_drift")
    scene.tick("1m")
    [alert] = [a for a in scene.alerts if a.detector == "prediction_drift"]
    assert alert.times.notified == NOW + timedelta(minutes=1)  # sent once more


def test_findings_of_older_versions_have_no_times(scene: Scene) -> None:
    scene.finding(0)
    assert scene.tick().measured == ()
    assert scene.alerts[0].times.to_detect is None
    assert scene.alerts[0].times.notified == NOW


def test_an_early_alert_says_so_and_is_withdrawn_by_the_full_window(scene: Scene) -> None:
    early = {**TIMES, "tocsin.run.early": True}
    scene.finding(0, changes=early)
    scene.tick()
    [alert] = scene.alerts
    assert alert.early
    assert not alert.withdrawn
    scene.finding(0, "info", changes={**early, "event.action": "withdrawn"})
    scene.evaluated(0)
    scene.tick("10m")
    [alert] = scene.alerts
    assert alert.withdrawn
    assert scene.history("event.action", "event.reason")[-2] == ("resolved", "withdrawn by the full window")
