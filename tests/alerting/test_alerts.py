"""From findings and runs to alerts: scenarios on a scripted clock, with a real store."""

from __future__ import annotations

from tests.alerting.conftest import DATASET, DAY, MODEL, START, Scene


def states(scene: Scene) -> list[tuple[int, str, str]]:
    return [((a.started - START).days, a.state.value, a.severity.value) for a in scene.alerts]


def test_a_finding_fires_an_alert(scene: Scene) -> None:
    scene.finding(0)
    scene.evaluated(0)
    result = scene.tick()
    (alert,) = scene.alerts
    assert (result.firing, result.resolved) == (1, 0)
    assert alert.state == "firing"
    assert alert.subject == MODEL
    assert (alert.window_start, alert.window_end) == (START, START + DAY)
    assert alert.evidence == {"psi": 4.0, "rows": 1893}
    assert alert.techniques == ("AML.T0031", "AML.T0015")
    assert scene.actions == ["firing", "incident_opened", "notified"]  # urgent: `group_wait_urgent` is 0s


def test_findings_of_one_fingerprint_are_one_alert_with_the_worst_severity(scene: Scene) -> None:
    for day, severity in enumerate(["medium", "critical", "low"]):
        scene.finding(day, severity)
        scene.evaluated(day)
        scene.tick()
    (alert,) = scene.alerts
    assert (alert.severity, alert.findings, alert.window_start) == ("critical", 3, START + 2 * DAY)
    assert scene.actions.count("firing") == 1
    assert scene.actions.count("severity_changed") == 1


def test_other_subjects_and_detectors_are_other_alerts(scene: Scene) -> None:
    scene.finding(0)
    scene.finding(0, subject=DATASET)
    scene.finding(0, detector="feature_drift")
    scene.tick()
    assert len({alert.fingerprint for alert in scene.alerts}) == 3


def test_a_later_quiet_window_resolves_it(scene: Scene) -> None:
    scene.finding(0)
    scene.evaluated(0)
    scene.tick()
    scene.evaluated(1)
    assert scene.tick().resolved == 1
    (alert,) = scene.alerts
    assert alert.state == "resolved"
    assert alert.resolved == START + 2 * DAY


def test_time_alone_resolves_nothing(scene: Scene) -> None:
    scene.finding(0)
    scene.evaluated(0)
    for _ in range(3):
        scene.tick("30d")
    assert [alert.state for alert in scene.alerts] == ["firing"]


def test_only_an_evaluated_window_of_the_same_detector_resolves_it(scene: Scene) -> None:
    scene.finding(1)
    scene.evaluated(1)
    scene.evaluated(2, action="skipped")
    scene.evaluated(2, action="failed")
    scene.evaluated(2, detector="feature_drift")
    scene.evaluated(0)  # an older window
    scene.tick()
    assert [alert.state for alert in scene.alerts] == ["firing"]


def test_another_subject_in_the_later_window_does_not_keep_it_firing(scene: Scene) -> None:
    scene.finding(0)
    scene.tick()
    scene.finding(1, subject=DATASET)
    scene.evaluated(1)
    scene.tick()
    assert {a.subject: a.state.value for a in scene.alerts} == {MODEL: "resolved", DATASET: "firing"}


def test_a_resolved_alert_fires_again_without_its_acknowledgement(scene: Scene) -> None:
    scene.finding(0)
    scene.tick()
    scene.alerting.acknowledge(scene.alerts[0].fingerprint, "ana", "looking")
    scene.evaluated(1)
    scene.tick()
    scene.finding(2)
    scene.evaluated(2)
    assert scene.tick().firing == 1
    first, second = scene.alerts
    assert first.fingerprint == second.fingerprint
    assert (first.state, second.state) == ("resolved", "firing")
    assert first.acknowledged is not None
    assert second.acknowledged is None


def test_an_amended_finding_amends_the_alert_and_never_doubles_it(scene: Scene) -> None:
    scene.finding(0, "medium")
    scene.tick()
    scene.finding(0, "critical")
    scene.tick()
    assert states(scene) == [(0, "firing", "critical")]
    scene.finding(0, "low", changes={"event.id": "third revision"})
    scene.tick()
    assert states(scene) == [(0, "firing", "low")]
    assert scene.alerts[0].findings == 1
    assert scene.actions.count("severity_changed") == 2


def test_an_amended_finding_inside_a_long_alert_changes_the_worst(scene: Scene) -> None:
    for day in range(3):
        scene.finding(day, "critical" if day == 1 else "low")
        scene.evaluated(day)
        scene.tick()
    scene.finding(1, "medium")
    scene.tick()
    assert states(scene) == [(0, "firing", "medium")]
    assert scene.alerts[0].findings == 3


def test_a_withdrawn_finding_resolves_the_alert(scene: Scene) -> None:
    scene.finding(0)
    scene.tick()
    scene.withdraw(0)
    assert scene.tick().resolved == 1
    assert states(scene) == [(0, "resolved", "high")]
    assert scene.history("event.reason")[-1] == ("late data withdrew its findings",)


def test_late_data_in_the_window_that_resolved_it_makes_it_fire_again(scene: Scene) -> None:
    scene.finding(0)
    scene.tick()
    scene.alerting.acknowledge(scene.alerts[0].fingerprint, "ana")
    scene.evaluated(1)
    scene.tick()
    scene.finding(1)
    assert scene.tick().firing == 1
    assert states(scene) == [(0, "firing", "high")]
    assert scene.alerts[0].acknowledged is None


def test_backfill_does_not_make_a_resolved_alert_fire_again(scene: Scene) -> None:
    scene.finding(10)
    scene.evaluated(10)
    scene.evaluated(11)
    scene.tick()
    for day in range(4, 8):  # older windows are evaluated now, one of them with a finding
        if day == 5:
            scene.finding(day, "critical")
        scene.evaluated(day)
    result = scene.tick()
    assert states(scene) == [(5, "resolved", "critical"), (10, "resolved", "high")]
    assert (result.firing, result.resolved) == (1, 1)  # a separate alert, resolved when it was created


def test_backfill_leaves_a_firing_alert_as_it_is(scene: Scene) -> None:
    scene.finding(10, "low")
    scene.evaluated(10)
    scene.tick()
    scene.finding(5, "high")
    scene.evaluated(5)
    scene.evaluated(6)
    scene.tick()
    assert states(scene) == [(5, "resolved", "high"), (10, "firing", "low")]


def test_windows_out_of_order_give_the_same_alert(scene: Scene) -> None:
    for day in (3, 1, 2):
        scene.finding(day)
        scene.evaluated(day)
        scene.tick()
    scene.evaluated(0)
    scene.tick()
    assert states(scene) == [(1, "firing", "high")]
    assert scene.alerts[0].findings == 3


def test_a_catch_up_over_many_windows_loses_no_episode(scene: Scene) -> None:
    for day in range(8):  # after an outage: critical, quiet, low, all in one tick
        if day in (1, 2):
            scene.finding(day, "critical")
        if day == 5:
            scene.finding(day, "low")
        scene.evaluated(day)
    result = scene.tick()
    assert states(scene) == [(1, "resolved", "critical"), (5, "resolved", "low")]
    assert (result.firing, result.resolved) == (2, 2)
    assert len(scene.alerting.incidents()) == 1  # a resolved alert may still have been an attack


def test_nothing_new_changes_nothing(scene: Scene) -> None:
    scene.finding(0)
    scene.evaluated(0)
    scene.tick()
    before = [(e.key, e.version) for e in scene.store.entries("alert")]
    written = len(scene.actions)
    scene.tick()
    assert [(e.key, e.version) for e in scene.store.entries("alert")] == before
    assert len(scene.actions) == written


def test_history_says_what_when_and_why(scene: Scene) -> None:
    scene.finding(0)
    scene.evaluated(1)
    scene.tick()
    rows = scene.history(
        "event.action", "tocsin.alert.state", "tocsin.severity", "event.reason", "@timestamp"
    )
    now = scene.clock.now()
    assert rows[0] == ("firing", "firing", "high", "moved by 4.0", now)
    assert rows[1][:3] == ("resolved", "resolved", "high")
    assert "2026-03-04T00:00:00Z" in rows[1][3]


def test_settled_alerts_are_forgotten_after_ninety_days(scene: Scene) -> None:
    scene.finding(0)
    scene.evaluated(1)
    scene.tick()
    scene.tick("1m")
    scene.tick("91d")
    scene.finding(
        95, subject=DATASET
    )  # a cluster's newest findings are read again, so the alert is not deleted
    scene.tick()
    scene.tick()
    assert [alert.subject for alert in scene.alerts] == [DATASET]
    assert "firing" in scene.actions
