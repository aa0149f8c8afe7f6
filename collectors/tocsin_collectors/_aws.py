"""One CloudTrail record as access events.

Source: AWS CloudTrail record contents, event versions 1.05 to 1.11. What has no column of its own is
stored under its CloudTrail name below `aws.cloudtrail`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from tocsin.contract.addresses import canonical_address

_MAPPED = frozenset({
    "eventID", "eventTime", "eventName", "eventSource", "awsRegion", "sourceIPAddress", "userAgent",
    "errorCode", "errorMessage", "@timestamp",
})  # fmt: skip
_IDENTITY_SERVICES = ("iam.amazonaws.com", "sts.amazonaws.com")
_SSO = "/aws-reserved/sso.amazonaws.com/"
_KINDS = (
    ("creation", re.compile(r"Create|Copy|Run|Put|Upload|Register|Allocate|Generate|Import|Issue")),
    ("deletion", re.compile(r"(Batch|Sch\w*)?Delet|Terminate|Deregister|Remove|Release|Purge|Revoke")),
    (
        "change",
        re.compile(
            r"Update|Modify|Start(?!Query)|Set|Attach|Detach|Add|Stop|Enable|Disable|Change|Authorize|Associate|Tag|Untag|Reset"
            r"|Restore|Leave|Disassociate|Replace|Cancel|Send"
        ),
    ),
)
#: Request parameters that name a resource, with its type, the most specific one first.
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
_COPY_SOURCE = re.compile(r"source(?P<what>(?!Region|Account)[A-Z]\w*?)(?:Name|Id|Arn|Identifier|Key)$")
#: Parameters that are named like a resource, but name none.
_NOT_RESOURCES = frozenset({"client", "request", "account", "version", "owner", "principal", "session"})
_AWS_TYPE = re.compile(r"^AWS::\w+::(?P<kind>\w+)$")
_ARN = re.compile(r"^arn:[\w-]+:(?P<service>[\w-]+):[^:]*:[^:]*:(?P<rest>(?:(?P<kind>[\w-]+)[:/])?.+)$")


def access_events(record: object) -> list[dict[str, Any]]:
    """The access events of a CloudTrail record: one, and for a copy one more for what was copied.

    The event of the copied resource has the id of the record with `-source` appended.

    Raises:
        ValueError: it is not a record; the message says what is missing.
    """
    event = access_event(record)
    source = _copied(record) if isinstance(record, dict) else None
    if source is None or source["tocsin.resource.id"] == event.get("tocsin.resource.id"):
        return [event]
    read = {name: value for name, value in event.items() if not name.startswith("tocsin.resource.")}
    read |= {name: value for name, value in source.items() if value is not None}
    read["event.type"] = ["access", *event["event.type"][1:]]
    read.pop("http.response.bytes", None)  # counted once
    if isinstance(event.get("event.id"), str):
        read["event.id"] = f"{event['event.id']}-source"
    return [event, read]


def access_event(record: object) -> dict[str, Any]:
    """The access event of a CloudTrail record.

    Raises:
        ValueError: it is not a record; the message says what is missing.
    """
    if not isinstance(record, dict):
        raise ValueError(f"a JSON object is needed, not {type(record).__name__}")  # noqa: TRY004
    time = record.get("eventTime", record.get("@timestamp"))
    for name in ("eventTime", "eventName", "eventSource"):
        if _text(time if name == "eventTime" else record.get(name)) is None:
            raise ValueError(f"{name} is missing or is not text")
    identity = _object(record.get("userIdentity"))
    failed = any(record.get(name) not in (None, "") for name in ("errorCode", "errorMessage"))
    login = _object(record.get("responseElements")).get("ConsoleLogin")
    transferred = _object(record.get("additionalEventData"))
    event = {
        "@timestamp": time,
        "event.id": record.get("eventID"),
        "event.action": record["eventName"],
        "event.provider": record["eventSource"],
        "event.type": _kinds(record),
        "event.category": ["iam"] if record["eventSource"] in _IDENTITY_SERVICES else None,
        "event.outcome": "failure" if failed or login == "Failure" else "success",
        "error.code": record.get("errorCode") or None,
        "error.message": record.get("errorMessage") or None,
        "user_agent.original": record.get("userAgent"),
        "http.response.bytes": _size(transferred.get("bytesTransferredOut")),
        "cloud.account.id": record.get("recipientAccountId") or identity.get("accountId"),
        "cloud.region": record.get("awsRegion"),
        **_principal(identity, record),
        **_address(record.get("sourceIPAddress")),
        **_resource(record),
        "aws": {"cloudtrail": {k: v for k, v in record.items() if k not in _MAPPED}},
    }
    return {name: value for name, value in event.items() if value is not None}


def skipped(record: object) -> str:
    """What an object is that describes no access: a digest, insight or control message; empty for any other object."""
    if not isinstance(record, dict) or "eventName" in record:
        return ""
    if "digestStartTime" in record and "logFiles" in record:
        return "digest"
    if record.get("messageType") == "CONTROL_MESSAGE":
        return "control message"
    insight = record.get("eventType") == "AwsCloudTrailInsight" or record.get("eventCategory") == "Insight"
    return "insight" if insight and "insightDetails" in record else ""


def _copied(record: Mapping[str, Any]) -> dict[str, str | None] | None:
    """The resource that a copy reads, as the columns of a resource; None if the record describes no copy."""
    asked = _object(record.get("requestParameters"))
    if (path := _text(asked.get("x-amz-copy-source"))) is not None:
        name, _, query = unquote(path).lstrip("/").partition("?versionId=")
        return _columns("object", name, query or None)
    if "Copy" not in record["eventName"]:
        return None
    for name in sorted(asked):
        match, value = _COPY_SOURCE.match(name), _text(asked[name])
        if match and value:
            return _columns(_snake(match["what"]), value, None)
    target = f"{_text(asked.get('bucketName'))}/{_text(asked.get('key'))}"
    listed = record.get("resources")
    for item in listed if isinstance(listed, list) else ():
        name = (_text(_object(item).get("ARN")) or "").partition(":::")[2]
        if "/" in name and name != target:
            return _columns("object", name, None)
    return None


def _columns(type_: str, id_: str, version: str | None) -> dict[str, str | None]:
    return {
        "tocsin.resource.type": type_,
        "tocsin.resource.id": id_,
        "tocsin.resource.version": version,
    }


def _size(value: object) -> int | None:
    """A number of bytes, which CloudTrail writes as a number or as text."""
    try:
        size = int(float(value)) if isinstance(value, int | float | str) else -1
    except (ValueError, OverflowError):
        return None
    return size if 0 <= size < 2**63 else None


def _principal(identity: Mapping[str, Any], record: Mapping[str, Any]) -> dict[str, Any]:
    """The principal. A role is one principal, whoever assumed it, and the session is its name. A role of IAM Identity
    Center is shared by people, so its sessions are the principals.
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
    """The address, or the name of the service that called. Anonymized logs pad octets with zeros."""
    text = _text(value)
    if text is None:
        return {}
    plain = re.sub(r"\b0+(?=\d)", "", text) if re.fullmatch(r"[\d.]+", text) else text
    found = canonical_address(plain)
    return {"source.ip": found} if found else {"source.address": text}


def _kinds(record: Mapping[str, Any]) -> list[str]:
    name = record["eventName"]
    kind = "access"
    if str(record.get("readOnly")).lower() != "true":  # version 1.05 writes it as text
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
    return _columns(*named, version)


def _named(asked: Mapping[str, Any], service: str) -> tuple[str, str] | None:
    if bucket := _text(asked.get("bucketName")):
        key = _text(asked.get("key"))
        return ("object", f"{bucket}/{key}") if key else ("bucket", bucket)
    if service in _BARE_NAMES and (name := _text(asked.get("name"))):
        return _BARE_NAMES[service], name
    return next(((type_, id_) for name, type_ in _NAMES if (id_ := _text(asked.get(name)))), None)


def _listed(record: Mapping[str, Any]) -> tuple[str, str] | None:
    """The resource from the record's own list. If the list names several, the last one is the most specific."""
    listed = record.get("resources")
    for item in reversed(listed) if isinstance(listed, list) else ():
        arn = _text(_object(item).get("ARN"))
        if arn is None:
            continue
        kind = _AWS_TYPE.match(_text(item.get("type")) or "")
        return kind["kind"].lower() if kind else _arn_type(arn), arn
    return None


def _arn_type(arn: str) -> str:
    """The type in an ARN, such as `role` in `arn:aws:iam::1:role/x`; if the ARN has none, its service."""
    match = _ARN.match(arn)
    if match is None:
        return "resource"
    if match["service"] == "s3":
        return "object" if "/" in match["rest"] else "bucket"
    return match["kind"] or match["service"]


def _naming(asked: Mapping[str, Any]) -> tuple[str, str] | None:
    """The first parameter with the name of a resource: `volumeId`, `logGroupName`, `queueArn`, …"""
    for name in sorted(asked):
        match, value = _NAMING.match(name), _text(asked[name])
        if match and value and match["what"] not in _NOT_RESOURCES:
            return _snake(match["what"]), value
    items = _object(asked.get("instancesSet")).get("items")
    if isinstance(items, list) and items and (instance := _text(_object(items[0]).get("instanceId"))):
        return "instance", instance
    return None


def _snake(name: str) -> str:
    """`log_group` of `logGroup`."""
    return re.sub(r"(?<=[a-z]{2})(?=[A-Z])", "_", name).lower()


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
