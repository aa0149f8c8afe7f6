"""A quiet AWS account as CloudTrail records: people, roles, and AWS's own services that deliver logs.

The records have the form of AWS's "CloudTrail record contents", and the collector's own code reads them. Who does what is
scripted from what such accounts do in general; nothing is taken from the attack data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import polars as pl

from tocsin.clock import format_time
from tocsin.contract.frames import conform
from tocsin.contract.streams import UNMAPPED
from tocsin.pipeline.ingesting.decode import columns_of, shape
from tocsin_collectors._aws import access_events

START = datetime(2026, 1, 5, tzinfo=UTC)  # a Monday
ACCOUNT = "111122223333"
PEOPLE = ("alice", "bruno", "chen", "dora", "emil")
_READS = (
    "ec2:DescribeInstances", "ec2:DescribeSecurityGroups", "iam:ListRoles", "iam:GetUser", "s3:ListBuckets",
    "s3:GetBucketLocation", "lambda:ListFunctions20150331", "sts:GetCallerIdentity", "logs:FilterLogEvents",
    "cloudtrail:LookupEvents", "sagemaker:ListModels", "sagemaker:DescribeTrainingJob", "health:DescribeEventAggregates",
)  # fmt: skip
_LOGS = {"cloudtrail": "CloudTrail", "config": "Config", "delivery.logs": "vpcflowlogs"}


def frame(records: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """The access events of CloudTrail records, without the user agent, which names tools of attackers."""
    rows = []
    for record in records:
        for event in access_events({k: v for k, v in record.items() if k != "userAgent"}):
            row, unmapped = shape("access", event)
            rows.append((*row[:-1], msgspec.json.encode(unmapped).decode() if unmapped else None))
    columns = {
        c.name: pl.Series(c.name, [row[at] for row in rows]) for at, c in enumerate(columns_of("access"))
    }
    columns[UNMAPPED] = columns[UNMAPPED].cast(pl.String)
    return conform(pl.DataFrame(columns), "access").sort("@timestamp")


def arn(name: str) -> str:
    """The ARN of a user of the account."""
    return f"arn:aws:iam::{ACCOUNT}:user/{name}"


class Account:
    """Writes the records of the account day by day.

    Args:
        seed: of the random numbers.
        also: ARNs of users who work as the others do.
    """

    def __init__(self, seed: int, also: Sequence[str] = ()) -> None:
        self._rng = np.random.default_rng(seed)
        self._people = [*map(arn, PEOPLE), *also]
        self._records: list[dict[str, Any]] = []

    def days(self, number: int, first: int = 0) -> list[dict[str, Any]]:
        """The records of so many days, oldest first."""
        self._records = []
        for day in range(first, first + number):
            start = START + timedelta(days=day)
            self._services(start)
            self._roles(start)
            if start.weekday() < 5:
                for at, person in enumerate(self._people):
                    self._person(person, at, start)
            if start.weekday() == 1:
                self._apply(start, day)
        return sorted(self._records, key=lambda record: str(record["eventTime"]))

    def _add(
        self,
        who: Mapping[str, Any],
        address: str,
        time: datetime,
        action: str,
        asked: Mapping[str, Any],
        **more: Any,
    ) -> None:
        service, _, name = action.partition(":")
        read = name.startswith(("Describe", "List", "Get", "Lookup", "Filter", "Decrypt"))
        self._records.append(
            {
                "eventVersion": "1.09", "userIdentity": dict(who), "eventTime": format_time(time)[:19] + "Z",
                "eventSource": f"{service}.amazonaws.com", "eventName": name, "awsRegion": "eu-west-1",
                "sourceIPAddress": address, "requestParameters": dict(asked) or None, "responseElements": None,
                "eventID": f"{len(self._records)}-{time:%Y%m%d%H%M%S%f}-{self._rng.integers(1 << 40)}",
                "readOnly": read, "eventType": "AwsApiCall", "recipientAccountId": ACCOUNT,
            } | more
        )  # fmt: skip

    def _person(self, who: str, number: int, start: datetime) -> None:
        """Reads at the console, sometimes an object, and seldom a change. The first person is on call."""
        identity = {"type": "IAMUser", "arn": who, "accountId": ACCOUNT, "userName": who.rpartition("/")[2]}
        address = f"198.51.100.{number + 10}"
        for _ in range(self._rng.poisson(12)):
            time = start + timedelta(hours=float(np.clip(self._rng.normal(11 + number % 3, 2.5), 6, 19)))
            action, asked = str(self._rng.choice(_READS)), {}
            if action == "s3:GetBucketLocation":
                asked = {"bucketName": f"data-{self._rng.integers(6)}"}
            self._add(identity, address, time, action, asked)
        for _ in range(self._rng.poisson(2)):
            time = start + timedelta(hours=float(np.clip(self._rng.normal(11, 2.5), 6, 19)))
            asked = {
                "bucketName": f"data-{self._rng.integers(6)}",
                "key": f"t{self._rng.integers(40)}.parquet",
            }
            self._add(identity, address, time, "s3:GetObject", asked)
        noon = start + timedelta(hours=12, minutes=float(self._rng.uniform(0, 59)))
        if number == 0 and self._rng.random() < 0.4:
            self._add(
                identity, address, noon, "ssm:StartSession", {"target": f"i-{self._rng.integers(5):04d}"}
            )
        if self._rng.random() < 0.05:
            opened = {
                "groupId": f"sg-{self._rng.integers(4)}",
                "ipPermissions": {"items": [{"cidrIp": "10.0.0.0/16"}]},
            }
            self._add(identity, address, noon, "ec2:AuthorizeSecurityGroupIngress", opened)
        if self._rng.random() < 0.03:  # a mistake
            denied = {"errorCode": "AccessDenied", "errorMessage": "not authorized"}
            self._add(identity, address, noon, "s3:GetBucketPolicy", {"bucketName": "payroll"}, **denied)

    def _roles(self, start: datetime) -> None:
        """An application reads its secrets, a pipeline trains, and a release replaces functions."""
        for hour in range(0, 24, 2):
            time = start + timedelta(hours=hour, minutes=7)
            for secret in range(3):
                self._add(
                    _role("app"),
                    "10.0.3.4",
                    time,
                    "secretsmanager:GetSecretValue",
                    {"secretId": f"app/{secret}"},
                )
                self._add(_role("app"), "10.0.3.4", time, "kms:Decrypt", {"keyId": "alias/app"})
        night = start + timedelta(hours=2, minutes=float(self._rng.uniform(0, 30)))
        job = {"trainingJobName": f"train-{start:%Y%m%d}", "roleArn": "arn:aws:iam::111122223333:role/train"}
        self._add(_role("train"), "10.0.3.9", night, "sagemaker:CreateTrainingJob", job)
        for key in range(10):
            self._add(
                _role("train"),
                "10.0.3.9",
                night,
                "s3:GetObject",
                {"bucketName": "data-0", "key": f"t{key}.parquet"},
            )
        if start.weekday() < 5 and self._rng.random() < 0.7:
            time = start + timedelta(hours=14, minutes=float(self._rng.uniform(0, 90)))
            for function in self._rng.choice(6, 2, replace=False):
                name = {"functionName": f"fn-{function}"}
                self._add(_role("deploy"), "10.0.3.20", time, "lambda:UpdateFunctionCode20150331v2", name)

    def _apply(self, start: datetime, day: int) -> None:
        """Infrastructure as code: creates things, gives them rights, and takes the oldest down."""
        time = start + timedelta(hours=9, minutes=float(self._rng.uniform(0, 50)))
        who, address = _role("terraform"), "10.0.3.30"
        for number in range(3):
            name = f"job-{day}-{number}"
            for action, asked in (
                ("iam:CreateRole", {"roleName": name}),
                ("iam:AttachRolePolicy", {"roleName": name, "policyArn": "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"}),
                ("iam:PutRolePolicy", {"roleName": name, "policyName": "inline"}),
                ("s3:CreateBucket", {"bucketName": f"data-{name}"}),
                ("s3:PutBucketPolicy", {"bucketName": f"data-{name}", "bucketPolicy": {"Principal": {"AWS": arn("train")}}}),
            ):  # fmt: skip
                self._add(who, address, time, action, asked)
            old = f"job-{day - 28}-{number}"
            self._add(who, address, time, "iam:DetachRolePolicy", {"roleName": old, "policyArn": "x"})
            self._add(who, address, time, "iam:DeleteRole", {"roleName": old})
            self._add(who, address, time, "s3:DeleteBucket", {"bucketName": f"data-{old}"})

    def _services(self, start: datetime) -> None:
        """AWS's services write logs under names with the date, check their buckets, and assume their roles."""
        for service, folder in _LOGS.items():
            who = {"type": "AWSService", "invokedBy": f"{service}.amazonaws.com"}
            for hour in range(0, 24, 3):
                time = start + timedelta(hours=hour, minutes=float(self._rng.uniform(0, 59)))
                key = f"AWSLogs/{ACCOUNT}/{folder}/{time:%Y/%m/%d}/{time:%Y%m%dT%H%MZ}_{self._rng.integers(1 << 40):x}.gz"
                self._add(
                    who,
                    f"{service}.amazonaws.com",
                    time,
                    "s3:PutObject",
                    {"bucketName": "log-archive", "key": key},
                )
                self._add(
                    who, f"{service}.amazonaws.com", time, "s3:GetBucketAcl", {"bucketName": "log-archive"}
                )
        who, noon = {"type": "AWSService", "invokedBy": "lambda.amazonaws.com"}, start + timedelta(hours=12)
        for role in range(3):
            asked = {
                "roleArn": f"arn:aws:iam::{ACCOUNT}:role/fn-{role}",
                "roleSessionName": f"s{self._rng.integers(1 << 30)}",
            }
            self._add(who, "lambda.amazonaws.com", noon, "sts:AssumeRole", asked)
        linked = _role("AWSServiceRoleForAutoScaling", "aws-service-role/autoscaling.amazonaws.com/")
        for action in ("ec2:RunInstances", "ec2:TerminateInstances"):
            which = {"instancesSet": {"items": [{"instanceId": f"i-{self._rng.integers(1 << 40):x}"}]}}
            self._add(linked, "autoscaling.amazonaws.com", start + timedelta(hours=8), action, which)


def _role(name: str, path: str = "") -> dict[str, Any]:
    """A session of a role."""
    issuer = {"type": "Role", "arn": f"arn:aws:iam::{ACCOUNT}:role/{path}{name}", "userName": name}
    session = f"arn:aws:sts::{ACCOUNT}:assumed-role/{name}/session"
    return {
        "type": "AssumedRole",
        "arn": session,
        "accountId": ACCOUNT,
        "sessionContext": {"sessionIssuer": issuer},
    }
