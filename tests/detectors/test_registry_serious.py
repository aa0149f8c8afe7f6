"""registry_access on destructive and privileged actions, in sessions of a real MLflow server that are shifted in time."""

from __future__ import annotations

import functools
from datetime import datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.detectors.test_registry_access import TUESDAY, _detector, access, baseline, found
from tests.generators.accesses import START, quiet
from tests.generators.mlflow_intrusions import ALL
from tests.generators.mlflow_sessions import events, intrusion, newcomer, sessions, shifted, work
from tocsin.contract.evaluation import judge
from tocsin.contract.findings import Severity
from tocsin.contract.windows import Baseline, FrameSource, Window
from tocsin.testing import evaluate
from tocsin_detectors._access_kinds import changes, serious

WEEKS = 56


@functools.cache
def learned() -> Baseline:
    fitted = evaluate(
        "registry_access", {"access": work(2, days=1)}, baseline={"access": work(1, WEEKS)}
    ).baseline
    assert fitted is not None
    return fitted


def findings(rows: pl.DataFrame, fitted: Baseline | None = None) -> dict[str, Any]:
    result = evaluate("registry_access", {"access": rows}, baseline=fitted or learned())
    return {f.subject.id: f for f in result.findings if not f.aspect}


def workday(number: int) -> datetime:
    """A Tuesday to Friday after the baseline."""
    return START + timedelta(days=WEEKS + 1 + number % 4)


@pytest.mark.parametrize("number", range(len(ALL)), ids=[one.name for one in ALL])
def test_an_intrusion_is_high_and_names_action_and_target(number: int) -> None:
    made, day = ALL[number], workday(number)
    normal = work(9, days=1, first=(day - START).days)
    finding = findings(pl.concat([normal, intrusion(number, day)], how="diagonal_relaxed"))[made.user]
    assert finding.severity.rank >= Severity.HIGH.rank, finding.reason
    assert f"{made.action} of " in finding.reason and made.target in finding.reason
    facts = [
        a for a in finding.evidence["serious"] if (a["action"], a["resource"]) == (made.action, made.target)
    ]
    assert facts and all(a["outcome"] in ("success", "failure") for a in facts)
    assert {"address", "agent", "version", "at"} <= facts[0].keys()


@pytest.mark.parametrize("number", range(len(ALL)), ids=[one.name for one in ALL])
def test_an_intrusion_is_high_whatever_the_threshold(number: int) -> None:
    from dataclasses import replace

    finding = findings(intrusion(number, workday(number)), replace(learned(), threshold=1000.0))[
        ALL[number].user
    ]
    assert finding.severity.rank >= Severity.HIGH.rank


@pytest.mark.parametrize("seed", [3, 4])
def test_two_weeks_of_normal_work_with_deletions_by_their_owners_are_not_high(seed: int) -> None:
    rows = work(seed, days=14, first=WEEKS)
    assert rows.filter(pl.col("event.action") == "delete").height > 10
    result = evaluate("registry_access", {"access": rows}, baseline=learned())
    assert [f.reason for f in result.findings if f.severity.rank >= Severity.HIGH.rank] == []


def test_a_colleagues_first_day_is_not_high() -> None:
    made = findings(newcomer(workday(0))).get("nina")
    assert made is None or made.severity.rank < Severity.HIGH.rank


def test_who_deletes_what_others_made_is_high_without_names_in_the_log_too() -> None:
    """Without bodies in the log, versions have no names: known principals, many at once; strangers, one."""
    plain = work(1, WEEKS).with_columns(
        **{c: pl.lit(None, pl.String) for c in ("tocsin.resource.id", "tocsin.resource.version")}
    )
    fitted = evaluate("registry_access", {"access": plain.head(1)}, baseline={"access": plain}).baseline
    for number in (0, 1, 2):
        rows = intrusion(number, workday(number)).with_columns(
            pl.lit(None, pl.String).alias("tocsin.resource.id"),
            pl.lit(None, pl.String).alias("tocsin.resource.version"),
        )
        finding = findings(rows, fitted)[ALL[number].user]
        assert finding.severity.rank >= Severity.HIGH.rank
        assert "delete of (model_version)" in finding.reason


def test_a_failed_attempt_of_a_stranger_counts_and_is_called_an_attempt() -> None:
    rows = intrusion(0, workday(0)).with_columns(pl.lit("failure").alias("event.outcome"))
    finding = findings(rows)["mallory"]
    assert finding.severity.rank >= Severity.HIGH.rank
    assert finding.reason.startswith("attempted delete of credit version ")
    assert finding.evidence["serious"][0]["outcome"] == "failure"


def test_a_failed_attempt_of_a_known_principal_is_evidence_only() -> None:
    rows = [
        access(0, "ana", "delete", "fraud-0", **{"event.outcome": "failure"}),
        access(1, "ana", "grant", "new"),
    ]
    assert found(rows) == {}


@pytest.mark.parametrize(
    ("action", "type_", "kind"),
    [
        ("delete", "model_version", "delete"), ("DeleteModelPackage", None, "delete"), ("BatchDeleteImage", None, "delete"),
        ("deregister_model", None, "delete"), ("purge", "dataset", "delete"), ("DeleteObjects", None, "delete"),
        ("delete_alias", "model", "promotion"), ("promote", "model", "promotion"),
        ("set_registered_model_alias", None, "promotion"),
        ("UpdateAlias", None, "promotion"), ("transition-stage", None, "promotion"), ("update", "alias", "promotion"),
        ("create", "permission", "permission"), ("delete", "permission", "permission"), ("grant", None, "permission"),
        ("AttachUserPolicy", None, "permission"), ("create", "user", "permission"), ("DeleteRolePolicy", None, "permission"),
        ("StopLogging", None, "audit"), ("disable_audit", "registry", "audit"), ("DeleteTrail", None, "audit"),
        ("delete_tag", "model", None), ("read", "permission", None), ("GetBucketPolicy", None, None),
        ("ListAliases", None, None),
        ("create", "model_version", None), ("delete", "run", None), ("update", "user", None), ("deploy", "model", None),
    ],
)  # fmt: skip
def test_the_kinds_of_serious_actions(action: str, type_: str | None, kind: str | None) -> None:
    assert serious(action, type_) == kind


def test_a_serious_action_or_a_reading_does_not_make_an_owner() -> None:
    assert changes("create", "model_version") and changes("set_tag") and changes("upload")
    assert not any(map(changes, ("read", "delete", "promote", "grant", "download", "search")))


@pytest.mark.parametrize("action", ["delete", "promote", "disable_audit", "grant"])
@pytest.mark.parametrize("who", ["zoe", None])
def test_the_first_day_of_a_newcomer_is_not_free(action: str, who: str | None) -> None:
    rows = [
        access(
            0, who or "", action, "credit-0", **{"source.ip": "203.0.113.5", "tocsin.resource.version": "3"}
        )
    ]
    if who is None:
        rows = [{k: v for k, v in rows[0].items() if k != "user.id"}]
    finding = found(rows)[who or "unknown@203.0.113.5"]
    assert finding.severity.rank >= Severity.HIGH.rank
    assert f"{action} of credit-0 version 3" in finding.reason and "principal" in finding.reason


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    hour=st.floats(0, 23.8),
    name=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=400),
    resource=st.sampled_from(["credit-0", "fraud-1", "never-seen", "(model_version)"]),
    other=st.lists(st.sampled_from(["read", "search", "download", "update", "evaluate"]), max_size=12),
)
def test_no_newcomer_hides_a_deletion(hour: float, name: str, resource: str, other: list[str]) -> None:
    """Whatever a new principal is called, whenever it comes and whatever else it does: a deletion is high."""
    name = f"new {name}"
    rows = [access(60 * (hour - 10) + i / 10, name, action, f"churn-{i}") for i, action in enumerate(other)]
    rows.append(access(60 * (hour - 10) + 2, name, "delete", resource))
    finding = found(rows)[name]
    assert finding.severity.rank >= Severity.HIGH.rank
    assert len(finding.reason) <= 200
    assert "delete of " in finding.reason


def test_a_repeated_intrusion_does_not_become_a_habit() -> None:
    """Five days in a row the same intruder deletes: the fifth day is as bad as the second."""
    start = workday(0)
    days = [intrusion(0, start + timedelta(days=i)) for i in range(5)]
    source = FrameSource.of({"access": pl.concat(days, how="diagonal_relaxed")})
    for number in range(1, 5):
        window = Window(start + timedelta(days=number), start + timedelta(days=number + 1), source, learned())
        made = {one.finding.subject.id: one.finding for one in judge(_detector(), window) if one.finding}
        assert made["mallory"].severity.rank >= Severity.HIGH.rank


def test_old_baselines_have_no_column_of_serious_actions() -> None:
    from dataclasses import replace

    frames = {**baseline().frames, "log": baseline().frames["log"].drop("serious", "changed")}
    old = replace(baseline(), frames=frames)
    day = quiet(3, first=57, days=1)
    assert {k: f.score for k, f in findings(day, old).items()} == {
        k: f.score for k, f in findings(day, baseline()).items()
    }
    assert found([access(0, "zoe", "delete", "credit-0")], old)["zoe"].severity.rank >= Severity.HIGH.rank


def test_recorded_sessions_name_what_was_touched() -> None:
    rows = sessions()[f"intrusion {ALL[1].name}"]
    deleted = rows.filter(pl.col("event.action") == "delete")
    assert deleted["tocsin.resource.id"].to_list() == ["pricing-old"] * 6
    versions = [int(version) for version in deleted["tocsin.resource.version"].drop_nulls()]
    assert versions == list(range(versions[0], versions[0] + 5))
    assert shifted(f"intrusion {ALL[1].name}", TUESDAY)["@timestamp"].min() == TUESDAY
    assert events([]).is_empty()
