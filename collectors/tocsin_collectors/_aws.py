"""One CloudTrail record as an access event.

Source: AWS CloudTrail record contents, event versions 1.05 to 1.11. What has no column of its own is
kept under its CloudTrail name below `aws.cloudtrail`.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any

_MAPPED = frozenset({
    "eventID", "eventTime", "eventName", "eventSource", "awsRegion", "sourceIPAddress", "userAgent",
    "errorCode", "errorMessage", "@timestamp",
})  # fmt: skip
_IDENTITY_SERVICES = ("iam.amazonaws.com", "sts.amazonaws.com")
_SSO = "/aws-reserved/sso.amazonaws.com/"
_KINDS = (
    ("creation", re.compile(r"Create|Run|Put|Upload|Register|Allocate|Generate|Import|Issue")),
    ("deletion", re.compile(r"Delete|Terminate|Deregister|Remove|Release|Purge|Revoke")),
    (
        "change",
        re.compile(
            r"Update|Modify|Start(?!Query)|Set|Attach|Detach|Add|Stop|Enable|Disable|Change|Authorize|Associate|Tag|Untag|Reset"
            r"|Restore|Leave|Disassociate|Replace|Cancel|Send"
        ),
    ),
)
#: Request parameters that name what was acted on, the most telling one first, with the resource's type.
_NAMES = (
    ("modelId", "model"),
    ("modelIdentifier", "model"),
    ("modelPackageArn", "model_version"),
    ("modelPackageName", "model_version"),
    ("modelPackageGroupName", "model"),
    ("modelName", "model"),
    ("endpointName", "endpoint"),
    ("secretId", "secret"),
    ("repositoryName", "repository"),
    ("functionName", "function"),
    ("roleName", "role"),
    ("roleArn", "role"),
    ("userName", "user"),
    ("groupName", "group"),
    ("policyArn", "policy"),
    ("trailName", "trail"),
    ("instanceId", "instance"),
)
#: In these services `name` alone names a resource of one type.
_BARE_NAMES = {"ssm": "parameter", "cloudtrail": "trail", "secretsmanager": "secret"}
_NAMING = re.compile(r"(?P<what>[a-z]\w*?)(?:Name|Id|Arn|Identifier)$")
#: Parameters that are named like a resource and are none.
_NOT_RESOURCES = frozenset({"client", "request", "account", "version", "owner", "principal", "session"})
_AWS_TYPE = re.compile(r"^AWS::\w+::(?P<kind>\w+)$")
_ARN = re.compile(r"^arn:[\w-]+:(?P<service>[\w-]+):[^:]*:[^:]*:(?P<rest>(?:(?P<kind>[\w-]+)[:/])?.+)$")


def access_event(record: object) -> dict[str, Any]:
    """The access event of a CloudTrail record.

    Raises:
        ValueError: it is none; the message says what is missing.
    """
    if not isinstance(record, dict):
        raise ValueError(f"a JSON object is needed, not {type(record).__name__}")  # noqa: TRY004
    time = record.get("eventTime", record.get("@timestamp"))
    for name in ("eventTime", "eventName", "eventSource"):
        if _text(time if name == "eventTime" else record.get(name)) is None:
            raise ValueError(f"{name} is missing or is no text")
    identity = _object(record.get("userIdentity"))
    failed = record.get("errorCode") is not None or record.get("errorMessage") is not None
    login = _object(record.get("responseElements")).get("ConsoleLogin")
    event = {
        "@timestamp": time,
        "event.id": record.get("eventID"),
        "event.action": record["eventName"],
        "event.provider": record["eventSource"],
        "event.type": _kinds(record),
        "event.category": ["iam"]
        if record["eventSource"] in ("iam.amazonaws.com", "sts.amazonaws.com")
        else None,
        "event.outcome": "failure" if failed or login == "Failure" else "success",
        "error.code": record.get("errorCode"),
        "error.message": record.get("errorMessage"),
        "user_agent.original": record.get("userAgent"),
        "cloud.account.id": record.get("recipientAccountId") or identity.get("accountId"),
        "cloud.region": record.get("awsRegion"),
        **_principal(identity, record),
        **_address(record.get("sourceIPAddress")),
        **_resource(record),
        "aws": {"cloudtrail": {k: v for k, v in record.items() if k not in _MAPPED}},
    }
    return {name: value for name, value in event.items() if value is not None}


def _principal(identity: Mapping[str, Any], record: Mapping[str, Any]) -> dict[str, Any]:
    """Who it was. A role counts as one principal whoever assumed it, and the session is its name; but a
    role that people reach through IAM Identity Center is shared, so there the session is the principal.
    """
    session = _object(identity.get("sessionContext"))
    role = _object(session.get("sessionIssuer"))
    arn, kind = _text(identity.get("arn")), identity.get("type")
    name = _text(identity.get("userName"))
    roles = None
    if kind in ("AssumedRole", "FederatedUser") and _text(role.get("arn")):
        name = _text(session.get("sourceIdentity")) or (arn or "").rpartition("/")[2] or None
        arn = role["arn"] + (f"/{name}" if _SSO in role["arn"] and name else "")
        roles = [_text(role.get("userName")) or role["arn"].rpartition("/")[2]]
    others = (identity.get("invokedBy"), identity.get("principalId"), name, identity.get("accountId"))
    if kind == "IAMUser" and arn is None and name and identity.get("accountId"):  # signing in at the console
        arn = f"arn:aws:iam::{identity['accountId']}:user/{name}"
    if kind == "AWSAccount" and identity.get("accountId") == "ANONYMOUS_PRINCIPAL":
        arn = "anonymous"
    return {
        "user.id": arn or next((text for text in map(_text, others) if text), None),
        "user.name": name,
        "user.roles": roles,
        "tocsin.principal.type": _principal_type(identity, session, record),
    }


def _principal_type(
    identity: Mapping[str, Any], session: Mapping[str, Any], record: Mapping[str, Any]
) -> str | None:
    kind = identity.get("type")
    if kind == "AWSService" or identity.get("invokedBy"):
        return "service"
    issuer = _text(_object(session.get("sessionIssuer")).get("arn")) or ""
    signed_in = (
        kind in ("Root", "IdentityCenterUser")
        or _SSO in issuer
        or _object(session.get("attributes")).get("mfaAuthenticated") == "true"
        or record.get("sessionCredentialFromConsole") == "true"
        or record.get("eventType") == "AwsConsoleSignIn"
    )
    if signed_in:
        return "human"
    return "service" if kind == "AssumedRole" and session.get("ec2RoleDelivery") else None


def _address(value: object) -> dict[str, str]:
    """An address, or the name of the service that called. Anonymized logs pad octets with zeros."""
    text = _text(value)
    if text is None:
        return {}
    plain = re.sub(r"\b0+(?=\d)", "", text) if re.fullmatch(r"[\d.]+", text) else text
    try:
        return {"source.ip": str(ipaddress.ip_address(plain))}
    except ValueError:
        return {"source.address": text}


def _kinds(record: Mapping[str, Any]) -> list[str]:
    name = record["eventName"]
    kind = "access"
    if record.get("readOnly") is not True:
        kind = next((kind for kind, verbs in _KINDS if verbs.match(name)), "access")
    refused = re.search(r"Denied|Unauthorized|Forbidden", _text(record.get("errorCode")) or "")
    return [kind, "denied"] if refused else [kind]


def _resource(record: Mapping[str, Any]) -> dict[str, Any]:
    asked = _object(record.get("requestParameters"))
    service = record["eventSource"].partition(".")[0]
    named = _named(asked, service) or _listed(record) or _naming(asked)
    if named is None:
        return {"tocsin.resource.type": service}
    version = _text(asked.get("versionId")) or _text(asked.get("imageTag")) or _text(asked.get("qualifier"))
    return {
        "tocsin.resource.type": named[0],
        "tocsin.resource.id": named[1],
        "tocsin.resource.version": version,
    }


def _named(asked: Mapping[str, Any], service: str) -> tuple[str, str] | None:
    if bucket := _text(asked.get("bucketName")):
        key = _text(asked.get("key"))
        return ("object", f"{bucket}/{key}") if key else ("bucket", bucket)
    if service in _BARE_NAMES and (name := _text(asked.get("name"))):
        return _BARE_NAMES[service], name
    return next(((type_, id_) for name, type_ in _NAMES if (id_ := _text(asked.get(name)))), None)


def _listed(record: Mapping[str, Any]) -> tuple[str, str] | None:
    """The record's own list of resources; where it names several, the last is the narrowest."""
    listed = record.get("resources")
    for item in reversed(listed) if isinstance(listed, list) else ():
        arn = _text(_object(item).get("ARN"))
        if arn is None:
            continue
        kind = _AWS_TYPE.match(_text(item.get("type")) or "")
        return kind["kind"].lower() if kind else _arn_type(arn), arn
    return None


def _arn_type(arn: str) -> str:
    """`role` of `arn:aws:iam::1:role/x`; where the ARN has no such word, its service."""
    match = _ARN.match(arn)
    if match is None:
        return "resource"
    if match["service"] == "s3":
        return "object" if "/" in match["rest"] else "bucket"
    return match["kind"] or match["service"]


def _naming(asked: Mapping[str, Any]) -> tuple[str, str] | None:
    """Whatever parameter is named like a resource: `volumeId`, `logGroupName`, `queueArn`, …"""
    for name in sorted(asked):
        match, value = _NAMING.match(name), _text(asked[name])
        if match and value and match["what"] not in _NOT_RESOURCES:
            return re.sub(r"(?<=[a-z]{2})(?=[A-Z])", "_", match["what"]).lower(), value
    items = _object(asked.get("instancesSet")).get("items")
    if isinstance(items, list) and items and (instance := _text(_object(items[0]).get("instanceId"))):
        return "instance", instance
    return None


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
