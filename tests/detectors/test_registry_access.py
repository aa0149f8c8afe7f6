"""registry_access: which rule says what, what is usual, and the same verdict however rows arrive."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from benchmarks.scorecards.access import accesses
from tests.conftest import ROOT
from tests.generators.accesses import GONE, START, quiet, session
from tocsin.config import discovery
from tocsin.config import params as settings
from tocsin.contract import evaluation
from tocsin.contract.evaluation import judge
from tocsin.contract.findings import Finding, Severity
from tocsin.contract.plugin import Detector
from tocsin.contract.windows import Baseline, FrameSource, Window
from tocsin.testing import cases, evaluate
from tocsin_detectors._access_kinds import KINDS, kinds

NIGHT, NOON = "2026-03-03T01:10:00+00:00", "2026-03-03T11:10:00+00:00"
TUESDAY = datetime(2026, 3, 3, tzinfo=UTC)


@functools.cache
def baseline() -> Baseline:
    fitted = evaluate("registry_access", {"access": quiet(2, days=1)}, baseline={"access": quiet(1)}).baseline
    assert fitted is not None
    return fitted


def found(rows: pl.DataFrame | list[dict[str, Any]], fitted: Baseline | None = None) -> dict[str, Finding]:
    events = rows if isinstance(rows, pl.DataFrame) else pl.DataFrame(rows)
    result = evaluate("registry_access", {"access": events}, baseline=fitted or baseline())
    return {finding.subject.id: finding for finding in result.findings}


def rules(finding: Finding) -> dict[str, Any]:
    listed: Any = finding.evidence["rules"]
    return {rule["rule"]: rule for rule in listed}


def access(minute: float, principal: str, action: str, resource: str, **more: Any) -> dict[str, Any]:
    return {
        "@timestamp": TUESDAY + timedelta(hours=10, minutes=minute),
        "user.id": principal,
        "event.action": action,
        "event.outcome": "success",
        "tocsin.resource.id": resource,
        **more,
    }


WANTED = {
    "a colleague's key pulls every model": {
        "mass_download",
        "strange_session",
        "off_hours",
        "first_seen_agent",
    },
    "a mass download at night": {"mass_download", "off_hours", "first_seen_address"},
    "one model taken at night": {"strange_session"},
    "an account that was left alone": {"dormant_principal"},
    "the audit log is switched off": {"audit_disabled"},
    "a privilege is granted": {"grant_then_use", "first_seen_principal"},
    "six refusals": {"failures_then_success"},
    "one address tries many names": {"failures_then_success"},
    "a model is removed": {"delete_then_recreate"},
    "a model goes to production": {"promote_without_evaluate"},
    "the service that only ever deployed": {"unfamiliar_role", "first_seen_action"},
    "somebody whom the source does not name": {"unknown_principal", "off_hours"},
    "a hundred gigabytes": {"many_bytes", "off_hours"},
}


@pytest.mark.parametrize("name", WANTED)
def test_each_rule_names_itself(name: str) -> None:
    file = cases.load(ROOT / "tests" / "cases" / "registry_access.yaml")
    case = next(case for case in file if case.name.startswith(name))
    named = rules(found(cases.rows(case.events["access"]))[str(case.expect[0]["subject.id"])])
    assert WANTED[name] <= set(named)


@pytest.mark.parametrize(
    ("action", "kind"),
    [
        ("download", "download"), ("ecr:PullImage", "download"), ("export", "download"), ("GetObject", "download"),
        ("BatchGetSecretValue", "download"),
        ("delete", "delete"), ("DeleteModel", "delete"), ("remove_version", "delete"), ("PurgeDataset", "delete"),
        ("DeleteObject", "delete"), ("delete_artifact", "delete"), ("DeleteRepository", "delete"),
        ("delete-image", "delete"),
        ("create", "create"), ("upload", "create"), ("RegisterModelVersion", "create"), ("PutObject", "create"),
        ("import", "create"), ("restore", "create"), ("CopyImage", "create"),
        ("promote", "promote"), ("transition-stage", "promote"),
        ("evaluate", "evaluate"), ("validate", "evaluate"), ("approve", "evaluate"),
        ("grant", "grant"), ("GrantPermissions", "grant"), ("AttachUserPolicy", "grant"),
        ("PutBucketAcl", "grant"), ("AddPermission", "grant"), ("SetPermissions", "grant"),
        ("CreatePolicyVersion", "grant"), ("UpdateAssumeRolePolicy", "grant"), ("AddUserToGroup", "grant"),
        ("add_user_to_role", "grant"), ("CreateAccessKey", "grant"), ("CreateLoginProfile", "grant"),
        ("disable_audit", "disable_audit"), ("StopLogging", "disable_audit"), ("DeleteTrail", "disable_audit"),
        ("DeleteFlowLogs", "disable_audit"), ("DeleteResolverQueryLogConfig", "disable_audit"),
        ("DeleteDetector", "disable_audit"), ("suspend_monitoring", "disable_audit"),
        ("PutEventSelectors", "disable_audit"),
    ],
)  # fmt: skip
def test_the_words_of_actions(action: str, kind: str) -> None:
    assert kinds(action) == {kind}


@pytest.mark.parametrize(
    "action",
    ["read", "search", "update", "deploy", "delete_tag", "DescribeTrails", "GetBucketPolicy", "set_tag"],
)
def test_what_is_of_no_kind(action: str) -> None:
    assert kinds(action) == set()
    assert set(KINDS) == {"download", "delete", "create", "promote", "evaluate", "grant", "disable_audit"}


def test_a_sure_rule_is_high_whatever_the_threshold() -> None:
    rows = [access(0, "eli", "disable_audit", "main")]
    for threshold in (6.0, 50.0, 1000.0):
        assert (
            found(rows, replace(baseline(), threshold=threshold))["eli"].severity.rank >= Severity.HIGH.rank
        )


def test_a_mass_download_at_night_from_a_new_address_is_high_whatever_the_threshold() -> None:
    rows = session("ben", NIGHT, 15, address="203.0.113.9")
    assert found(rows, replace(baseline(), threshold=1000.0))["ben"].severity.rank >= Severity.HIGH.rank


@pytest.mark.parametrize(("name", "action"), [("ana", "read"), ("ben", "download"), ("svc-deploy", "deploy")])
def test_one_new_pair_is_no_finding_however_strange(name: str, action: str) -> None:
    minute = -470.0 if name.startswith("svc") else 0.0  # at the principal's own hour
    assert found([access(minute, name, action, "churn-4")]) == {}


def test_a_habit_is_told_and_weighs_nothing() -> None:
    """Every Tuesday gus switches the log off for its maintenance."""
    habit = [
        access(5, "gus", "disable_audit", "main", **{"@timestamp": START + timedelta(days=d, hours=10)})
        for d in range(1, 56, 7)
    ]
    rows = pl.concat([quiet(1), pl.DataFrame(habit)], how="diagonal")
    fitted = evaluate("registry_access", {"access": rows.head(1)}, baseline={"access": rows}).baseline
    assert found([access(5, "gus", "disable_audit", "main")], fitted) == {}
    assert "audit_disabled" in rules(found([access(5, "hal", "disable_audit", "main")], fitted)["hal"])


def test_promoting_without_evaluations_is_usual_where_nothing_is_evaluated() -> None:
    rows = quiet(1).filter(pl.col("event.action") != "evaluate")
    fitted = evaluate("registry_access", {"access": rows.head(1)}, baseline={"access": rows}).baseline
    assert found([access(0, "ben", "promote", "fraud-0")], fitted) == {}


def test_what_happened_since_the_baseline_counts() -> None:
    """The baseline ends on a Sunday; what dia did on Monday weighs less on Tuesday."""
    monday = session("dia", "2026-03-02T10:00:00+00:00", 4, team=1, action="read")
    tuesday = session("dia", NOON, 4, team=1, action="read")
    source = FrameSource.of({"access": pl.concat([monday, tuesday])})
    detector = _detector()
    both = Window(TUESDAY, TUESDAY + timedelta(days=1), source, baseline())
    alone = replace(both, source=FrameSource.of({"access": tuesday}))
    scores = [next(iter(judge(detector, window))).score.value for window in (alone, both)]
    assert scores[1] < 0.8 * scores[0]


def test_quiet_windows_are_scored_against_their_past_alone() -> None:
    """A session in the held-out half is as surprising there as if the baseline had ended before it."""
    at = START + timedelta(days=46)
    odd = session("cem", (at + timedelta(hours=11)).isoformat(), 5, team=0, action="read")
    rows = pl.concat([quiet(1), odd], how="diagonal")
    detector = _detector()
    source = FrameSource.of({"access": rows})
    fitted = detector.fit(Window(START, START + timedelta(days=56), source))
    window = Window(at, at + timedelta(days=1), source, fitted)
    score = next(s for s in detector.score(window) if s.subject.id == "cem")
    assert score.value > 6


def test_a_baseline_survives_parquet_and_json(tmp_path: Path) -> None:
    import msgspec

    frames = {}
    for name, frame in baseline().frames.items():
        frame.write_parquet(tmp_path / name)
        frames[name] = pl.read_parquet(tmp_path / name)
    values = msgspec.json.decode(msgspec.json.encode(baseline().values))
    copied = Baseline(frames, values, baseline().threshold)
    rows = session("ana", NIGHT, 24, address="203.0.113.9")
    assert copied.digest == baseline().digest
    assert found(rows, copied)["ana"] == found(rows)["ana"]


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows.drop("tocsin.principal.type", "user_agent.original", "http.response.bytes"),
        lambda rows: rows.drop("event.outcome", "tocsin.resource.type"),
        lambda rows: rows.sample(fraction=1.0, shuffle=True, seed=3),
    ],
)
def test_columns_may_be_missing_and_order_does_not_matter(
    change: Callable[[pl.DataFrame], pl.DataFrame],
) -> None:
    rows = session("ana", NIGHT, 24, address="203.0.113.9")
    fitted = evaluate(
        "registry_access", {"access": quiet(2, 1)}, baseline={"access": change(quiet(1))}
    ).baseline
    assert found(change(rows), fitted)["ana"].severity.rank >= Severity.HIGH.rank


def test_the_dormant_principal_is_told_with_its_absence() -> None:
    finding = found(session(GONE, NOON, 12, action="read", address="203.0.113.9"))[GONE]
    assert str(rules(finding)["dormant_principal"]["detail"]) == "last seen 53 days before"


def test_too_little_history_is_no_baseline() -> None:
    rows = quiet(1, days=1).head(5)
    window = Window(START, START + timedelta(days=1), FrameSource.of({"access": rows}))
    assert _detector().fit(window) is None


def test_a_real_stream_stays_within_its_alarms(shared_data: Callable[[str], Path]) -> None:
    """The last weeks of a real repository, after the year before: hardly any principal-day alarms."""
    shared_data("git_access")
    rows = accesses("kubeflow_pipelines")
    end = rows["@timestamp"][-1]
    year = rows.filter(pl.col("@timestamp") >= end - timedelta(days=400))
    cut = end - timedelta(days=60)
    detector, source = _detector(), FrameSource.of({"access": year})
    fitted = evaluation.fit(detector, Window(year["@timestamp"][0], cut, source), 0.01)
    result = evaluate(detector, {"access": year.filter(pl.col("@timestamp") >= cut)}, baseline=fitted)
    assert len(result.scores) > 60
    assert len(result.findings) <= 0.03 * len(result.scores)


def _detector() -> Detector[Any]:
    plugin = discovery.discover().get(Detector, "registry_access")  # type: ignore[type-abstract]
    made: Detector[Any] = plugin(settings.build(plugin.params_type(), {}))
    return made
