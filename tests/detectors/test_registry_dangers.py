"""registry_access without a history: the bundled table of dangerous actions, and what a history changes about it."""

from __future__ import annotations

import functools
import json
import re
from datetime import datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.attacks.cloud_account import ACCOUNT, PEOPLE, START, Account, arn, frame
from tests.detectors.test_registry_access import _detector
from tocsin.contract.evaluation import fit, judge
from tocsin.contract.findings import Finding, Severity
from tocsin.contract.streams import UNMAPPED
from tocsin.contract.windows import Baseline, FrameSource, Window
from tocsin_detectors._access_dangers import danger, table

DAYS = 28
TODAY = START + timedelta(days=DAYS)
ME = arn("eve")


def call(
    action: str, asked: dict[str, Any] | None = None, who: str = ME, minute: float = 0, **more: Any
) -> dict[str, Any]:
    """A CloudTrail record of today."""
    service, _, name = action.partition(":")
    time = TODAY + timedelta(hours=10, minutes=minute)
    return {
        "eventVersion": "1.09", "eventTime": time.isoformat()[:19] + "Z", "eventName": name,
        "eventSource": f"{service}.amazonaws.com", "awsRegion": "eu-west-1", "sourceIPAddress": "198.51.100.77",
        "userIdentity": {"type": "IAMUser", "arn": who, "accountId": ACCOUNT, "userName": who.rpartition("/")[2]},
        "requestParameters": asked or {}, "recipientAccountId": ACCOUNT, "eventID": f"{name}{minute}{who}",
    } | more  # fmt: skip


@functools.cache
def learned() -> tuple[Baseline, pl.DataFrame]:
    past = frame(Account(1).days(DAYS))
    return fit(_detector(), Window(START, TODAY, FrameSource.of({"access": past})), 0.01), past


def found(*calls: dict[str, Any], known: bool = False, day: datetime = TODAY) -> dict[str, Finding]:
    """The findings of calls, without a baseline, or with one that is `known`."""
    baseline, past = learned() if known else (None, None)
    rows = frame(calls)
    source = FrameSource.of({"access": rows})
    before = FrameSource.of({} if past is None else {"access": past})
    window = Window(day, day + timedelta(days=1), source, baseline, before)
    return {j.finding.subject.id: j.finding for j in judge(_detector(), window) if j.finding}


def score(*calls: dict[str, Any]) -> float:
    window = Window(TODAY, TODAY + timedelta(days=1), FrameSource.of({"access": frame(calls)}))
    return max(j.score.value for j in judge(_detector(), window) if j.score.subject.id == ME)


def test_the_table_is_sound() -> None:
    seen = set()
    for entries in table().values():
        for entry in entries:
            assert entry.points in {0, 0.5, 1, 1.5, 2}
            assert entry.raised is None or (entry.raised > entry.points and entry.when is not None)
            assert re.fullmatch(r"T1\d{3}(\.\d{3})?", entry.technique)
            assert (entry.action, entry.service) not in seen
            seen.add((entry.action, entry.service))


@pytest.mark.parametrize(
    ("action", "provider", "consequence"),
    [
        ("StopLogging", "cloudtrail.amazonaws.com", "audit"),
        ("stop_logging", None, "audit"),
        ("UpdateFunctionCode20150331v2", "lambda.amazonaws.com", "persistence"),
        ("google.logging.v2.ConfigServiceV2.DeleteSink", "logging.googleapis.com", "audit"),
        ("MICROSOFT.INSIGHTS/DIAGNOSTICSETTINGS/DELETE", None, "audit"),
        ("DeleteRule", "events.amazonaws.com", "audit"),
        ("DeleteRule", "waf.amazonaws.com", None),
        ("DescribeInstances", "ec2.amazonaws.com", None),
        ("download", None, None),
    ],
)
def test_names_of_actions(action: str, provider: str | None, consequence: str | None) -> None:
    entry = danger(action, provider)
    assert (entry.consequence if entry else None) == consequence


WORLD = {"groupId": "sg-1", "ipPermissions": {"items": [{"ipRanges": {"items": [{"cidrIp": "0.0.0.0/0"}]}}]}}
INSIDE = {
    "groupId": "sg-1",
    "ipPermissions": {"items": [{"ipRanges": {"items": [{"cidrIp": "10.0.0.0/16"}]}}]},
}
ADMIN = {"userName": "bob", "policyArn": "arn:aws:iam::aws:policy/AdministratorAccess"}
OTHER = "arn:aws:iam::999988887777:root"
READ = {"roleName": "reader", "policyArn": "arn:aws:iam::aws:policy/ReadOnlyAccess"}


@pytest.mark.parametrize(
    ("action", "asked", "worst"),
    [
        ("cloudtrail:StopLogging", {"name": "main"}, Severity.CRITICAL),  # the rule and the table agree
        ("organizations:LeaveOrganization", {}, Severity.HIGH),
        ("kms:ScheduleKeyDeletion", {"keyId": "1"}, Severity.HIGH),
        ("ec2:AuthorizeSecurityGroupIngress", WORLD, Severity.HIGH),
        ("ec2:AuthorizeSecurityGroupIngress", INSIDE, None),
        ("ec2:ModifySnapshotAttribute", {"snapshotId": "snap-1"}, Severity.MEDIUM),
        ("iam:AttachUserPolicy", ADMIN, Severity.HIGH),
        ("iam:AttachRolePolicy", READ, None),
        ("iam:CreateAccessKey", {"userName": "bob"}, Severity.MEDIUM),
        ("ssm:SendCommand", {"documentName": "AWS-RunShellScript"}, Severity.LOW),
        ("s3:PutBucketPolicy", {"bucketName": "b", "bucketPolicy": {"Principal": "*"}}, Severity.HIGH),
        ("s3:PutBucketPolicy", {"bucketName": "b", "bucketPolicy": {"Principal": {"AWS": arn("ann")}}}, None),
        ("s3:PutBucketPolicy", {"bucketName": "b", "bucketPolicy": {"Principal": {"AWS": OTHER}}}, Severity.HIGH),
        ("s3:GetObject", {"bucketName": "b", "key": "k"}, None),
    ],
)  # fmt: skip
def test_dangerous_actions_need_no_history(
    action: str, asked: dict[str, Any], worst: Severity | None
) -> None:
    finding = found(call(action, asked)).get(ME)
    assert (finding.severity if finding else None) == worst
    if finding is not None:
        assert "judged without a baseline" in finding.reason
        assert action.partition(":")[2] in json.dumps(finding.evidence["rules"])


def test_one_secret_is_nothing_and_many_are_theft() -> None:
    calls = [call("secretsmanager:GetSecretValue", {"secretId": f"s{n}"}, minute=n) for n in range(12)]
    assert not found(*calls[:3])
    assert found(*calls)[ME].severity is Severity.MEDIUM


def test_the_role_of_who_asks_is_not_the_policy_that_is_attached() -> None:
    session = "arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_AdministratorAccess_1/eve"
    assert not found(call("iam:AttachRolePolicy", READ, who=session))


def test_refusals_of_different_actions_are_a_search_for_rights() -> None:
    denied: dict[str, Any] = {"errorCode": "AccessDenied", "errorMessage": "no"}
    actions = ("iam:ListUsers", "ec2:DescribeInstances", "s3:ListBuckets", "kms:ListKeys")
    calls = [call(action, minute=n, **denied) for n, action in enumerate(actions)]
    assert not found(*calls[:3])
    assert "4 different actions were refused" in found(*calls)[ME].reason


def test_who_sets_something_up_may_undo_it_and_give_it_rights() -> None:
    calls = [
        call("iam:CreateRole", {"roleName": "job"}, minute=1),
        call("iam:PutRolePolicy", {"roleName": "job"}, minute=2),
        call("iam:UpdateAssumeRolePolicy", {"roleName": "job"}, minute=3),
        call("cloudtrail:CreateTrail", {"name": "main"}, minute=4),
        call("cloudtrail:PutEventSelectors", {"trailName": "main"}, minute=5),
        call("iam:DeleteRole", {"roleName": "job"}, minute=6),
    ]
    assert not found(*calls)
    foreign = call("cloudtrail:PutEventSelectors", {"trailName": "other"}, minute=5)
    assert found(*calls, foreign)[ME].severity is Severity.CRITICAL


def test_to_create_what_others_use_does_not_make_it_ones_own() -> None:
    name = {"bucketName": "log-archive"}
    calls = [call("s3:CreateBucket", name, minute=1), call("s3:DeleteBucket", name, minute=2)]
    assert found(*calls, known=True)[ME].severity.rank >= Severity.HIGH.rank


@pytest.mark.parametrize("known", [False, True])
def test_services_of_aws_are_known_and_nobody_else_is_by_their_name(known: bool) -> None:
    service: dict[str, Any] = {"userIdentity": {"type": "AWSService", "invokedBy": "backup.amazonaws.com"}}
    calls = [
        call("ec2:DeleteSnapshot", {"snapshotId": f"snap-{n}"}, minute=n, **service)
        | {"sourceIPAddress": "backup.amazonaws.com"}
        for n in range(12)
    ]
    assert not found(*calls, known=known)
    forged = [one | {"eventSource": "registry"} for one in calls]
    assert found(*forged, known=known)["backup.amazonaws.com"].severity.rank >= Severity.MEDIUM.rank


def test_a_habit_of_the_baseline_weighs_nothing() -> None:
    session = call("ssm:StartSession", {"target": "i-1"}, who=arn(PEOPLE[0]))
    session["sourceIPAddress"] = "198.51.100.10"
    assert not found(session, known=True)
    other = session | {"userIdentity": {**session["userIdentity"], "arn": arn(PEOPLE[1])}}
    other["sourceIPAddress"] = "198.51.100.11"
    assert found(other, known=True)[arn(PEOPLE[1])].severity.rank >= Severity.LOW.rank


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                ["s3:GetObject", "s3:PutObject", "iam:TagRole", "ec2:StartInstances", "iam:GetUser"]
            ),
            st.sampled_from(["main", "sg-1", "x"]),
            st.booleans(),
        ),
        max_size=12,
    )
)
def test_nothing_else_that_an_intruder_does_makes_a_danger_smaller(more: list[tuple[str, str, bool]]) -> None:
    dangerous = call("cloudtrail:DeleteTrail", {"name": "main"}, minute=30)
    beside = [
        call(action, {"bucketName": name}, minute=n, **({"errorCode": "AccessDenied"} if failed else {}))
        for n, (action, name, failed) in enumerate(more)
    ]
    assert score(dangerous, *beside) >= score(dangerous)


def test_fields_that_a_source_does_not_give_do_not_matter() -> None:
    rows = frame(
        [call("ec2:AuthorizeSecurityGroupIngress", WORLD), call("cloudtrail:StopLogging", {"name": "x"})]
    )
    rows = rows.with_columns(
        pl.lit(None, pl.String).alias(UNMAPPED), pl.lit(None, pl.String).alias("event.provider")
    )
    window = Window(TODAY, TODAY + timedelta(days=1), FrameSource.of({"access": rows}))
    assert [j.finding is not None for j in judge(_detector(), window)] == [True]


def test_an_owner_who_sets_an_account_up_is_below_who_takes_it_over() -> None:
    web = {"fromPort": 443, "toPort": 443, "ipRanges": {"items": [{"cidrIp": "0.0.0.0/0"}]}}
    steps = (
        ("iam:CreateUser", {"userName": "bob"}),
        ("iam:CreateLoginProfile", {"userName": "bob"}),
        ("iam:AddUserToGroup", {"userName": "bob", "groupName": "admins"}),
        ("iam:CreateRole", {"roleName": "ci"}),
        (
            "iam:AttachRolePolicy",
            {"roleName": "ci", "policyArn": "arn:aws:iam::aws:policy/AdministratorAccess"},
        ),
        ("ec2:AuthorizeSecurityGroupIngress", {"groupId": "sg-9", "ipPermissions": {"items": [web]}}),
    )
    owner = [call(action, asked, minute=n) for n, (action, asked) in enumerate(steps)]
    assert score(*owner) < score(call("iam:AttachUserPolicy", ADMIN))
    assert score(*owner) < score(call("organizations:LeaveOrganization"))
    ssh = call(
        "ec2:AuthorizeSecurityGroupIngress", {"ipPermissions": {"items": [web, web | {"fromPort": 22}]}}
    )
    assert score(*owner) < score(ssh)
