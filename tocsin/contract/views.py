"""Views of the keyed state for dashboards: the current alerts and incidents, in searchable fields.

A stream contains what happened; a dashboard also needs what is still open. On a cluster, the record of an alert or
incident therefore has these search fields beside its value, written in the same request, and an alias selects the
records of one kind. The embedded store has no views.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

import msgspec

from tocsin.clock import format_time, parse_time
from tocsin.contract import atlas
from tocsin.contract.findings import Severity
from tocsin.contract.streams import TIME, Column, Type
from tocsin.contract.times import Times

#: The version of the search fields. `tocsin store setup` rewrites records that an older version wrote.
VERSION = 3
#: An open alert or incident is shown for this long after its last change.
_AHEAD = timedelta(days=400)
_LATEST = datetime(9000, 1, 1, tzinfo=UTC)
#: Maximum characters of a reason. A table cannot show a keyword that is longer than the index limit.
_MAX_REASON = 1000

K, L, D, T = Type.KEYWORD, Type.LONG, Type.DOUBLE, Type.DATE


@dataclass(frozen=True, slots=True)
class View:
    """The records of one kind: an alias, its columns, and the date range in which a record is active.

    A dashboard selects the records whose range overlaps its time range, so that it shows an alert that started earlier
    and is still open.
    """

    name: str
    kind: str
    doc: str
    columns: tuple[Column, ...]
    active: str
    facts: Callable[[Mapping[str, Any]], dict[str, Any]]

    def alias(self, namespace: str) -> str:
        """The name of the alias that selects the records of a namespace."""
        return f"tocsin-{self.name}-{namespace}"


_ABOUT = (
    Column(TIME, T, "in an alert, start of the first window with a finding; in an incident, time of opening"),
    Column("tocsin.severity", K, "highest severity of the findings"),
    Column("event.severity", L, "the severity as a number, from 0 (info) to 4 (critical)"),
    Column(
        "tocsin.subject.type",
        K,
        "type of the subject: model, dataset, principal, cohort, artifact, pipeline or detector; in results of the detector "
        "health also plugin, stream, clock, source or store",
    ),
    Column("tocsin.subject.id", K, "id of the subject"),
    Column("tocsin.playbook.id", K, "id of the playbook"),
    Column("tocsin.incident.id", K, "id of the incident"),
    Column(
        "tocsin.alert.id", Type.KEYWORDS, "in an alert, its id; in an incident, the ids of all its alerts"
    ),
    Column("user.name", K, "in an alert, the person who acknowledged it; in an incident, its owner"),
)


def _about(value: Mapping[str, Any]) -> dict[str, Any]:
    subject = value["subject"]
    kind, id = (subject["type"], subject["id"]) if isinstance(subject, Mapping) else subject
    return {
        "tocsin.severity": value["severity"],
        "event.severity": Severity(value["severity"]).rank,
        "tocsin.subject.type": kind,
        "tocsin.subject.id": id,
        "tocsin.playbook.id": value["playbook"] or None,
    }


def _alert(value: Mapping[str, Any]) -> dict[str, Any]:
    taken = value.get("acknowledged") or {}
    raised, resolved = value.get("raised"), value.get("resolved")
    known = value.get("times") or {}
    times = msgspec.convert({**known, "acknowledged": taken.get("at")}, Times)
    detected, answered = times.to_detect, times.to_acknowledge
    status = "resolved" if value["state"] == "resolved" else "acknowledged" if taken else "open"
    return _about(value) | {
        TIME: value["started"],
        "tocsin.alert.active": _range(value["started"], resolved, value["changed"]),
        "tocsin.alert.id": value["id"],
        "tocsin.alert.fingerprint": value["fingerprint"],
        "tocsin.alert.status": status,
        "tocsin.alert.raised": raised,
        "tocsin.alert.resolved": resolved,
        "tocsin.alert.findings": value["findings"],
        "tocsin.alert.ratio": _ratio(value["score"], value["threshold"]),
        "tocsin.alert.evaluation": "early" if value.get("early") else "final",
        "tocsin.alert.newest_event": known.get("newest_event"),
        "tocsin.alert.notified": known.get("notified"),
        "tocsin.alert.time_to_detect": None if detected is None else detected.total_seconds(),
        "tocsin.alert.time_to_acknowledge": None if answered is None else answered.total_seconds(),
        "tocsin.alert.atlas": sorted({place for id in value["techniques"] for place in atlas.places(id)}),
        "threat.technique.id": value["techniques"],
        "tocsin.detector.id": value["detector"],
        "tocsin.detector.family": value.get("family") or "other",
        "tocsin.finding.id": value["finding"],
        "tocsin.incident.id": value.get("incident") or None,
        "user.name": taken.get("by"),
        "event.reason": value["reason"][:_MAX_REASON],
    }


def _incident(value: Mapping[str, Any]) -> dict[str, Any]:
    steps = value["steps"]
    pending = [step["name"] for step in steps if step["state"] == "pending"]
    closed = value.get("closed")
    return _about(value) | {
        TIME: value["opened"],
        "tocsin.incident.active": _range(value["opened"], closed, value["opened"]),
        "tocsin.incident.id": value["id"],
        "tocsin.incident.state": value["state"],
        "tocsin.incident.closed": closed,
        "tocsin.incident.steps": len(steps),
        "tocsin.incident.steps_left": len(pending),
        "tocsin.incident.next_step": pending[0] if pending and closed is None else None,
        "tocsin.incident.time_to_close": _seconds(value["opened"], closed) if closed else None,
        "tocsin.alert.id": value["alerts"],
        "user.name": value.get("owner") or None,
    }


def _range(start: str, end: str | None, changed: str) -> dict[str, str]:
    """A `date_range` from start to end. An open range ends `_AHEAD` after the last change.

    A range without an end is not possible: a histogram over it would have infinitely many buckets.
    """
    until = parse_time(end) if end else min(parse_time(changed), _LATEST) + _AHEAD
    return {"gte": start, "lte": format_time(max(parse_time(start), until))}


def _seconds(start: str, end: str) -> float:
    return (parse_time(end) - parse_time(start)).total_seconds()


def _ratio(score: float, threshold: float) -> float | None:
    ratio = score / threshold if threshold else math.nan
    return ratio if math.isfinite(ratio) else None


_ALERTS = View(
    "alerts",
    "alert",
    "The current state of every alert. An alert is active until it is resolved.",
    (
        *_ABOUT,
        Column("tocsin.alert.fingerprint", K, "fingerprint of the alert, the same in all its episodes"),
        Column("tocsin.alert.status", K, "open, acknowledged or resolved"),
        Column("tocsin.alert.raised", T, "time at which the alert was raised"),
        Column(
            "tocsin.alert.resolved", T, "end of the first window without a finding after the last finding"
        ),
        Column(
            "tocsin.alert.evaluation",
            K,
            "early if the window of the newest finding had not ended when the finding was made, otherwise final",
        ),
        Column(
            "tocsin.alert.newest_event",
            T,
            "event time of the subject's newest event that the first evaluation with a finding had read",
        ),
        Column("tocsin.alert.notified", T, "delivery of the first notification"),
        Column("tocsin.alert.findings", L, "number of windows with a finding"),
        Column("tocsin.alert.ratio", D, "score ÷ threshold of the newest finding"),
        Column(
            "tocsin.alert.time_to_detect",
            D,
            "seconds from the newest event to the first delivered notification: a lower bound of the time from the "
            "decisive event",
        ),
        Column(
            "tocsin.alert.time_to_acknowledge",
            D,
            "seconds from the first delivered notification to the acknowledgement",
        ),
        Column("tocsin.alert.atlas", Type.KEYWORDS, "cells of the ATLAS matrix: tactic › technique"),
        Column("threat.technique.id", Type.KEYWORDS, "ids of ATLAS techniques"),
        Column("tocsin.detector.id", K, "id of the detector"),
        Column("tocsin.detector.family", K, "family of the detector"),
        Column("tocsin.finding.id", K, "id of the newest finding"),
        Column("event.reason", K, "what the detector observed, in one sentence"),
    ),
    "tocsin.alert.active",
    _alert,
)
_INCIDENTS = View(
    "incidents",
    "incident",
    "The current state of every incident. An incident is active until it is closed.",
    (
        *_ABOUT,
        Column("tocsin.incident.state", K, "open, acknowledged or closed"),
        Column("tocsin.incident.closed", T, "time at which the incident was closed"),
        Column("tocsin.incident.steps", L, "number of steps of the playbook"),
        Column("tocsin.incident.steps_left", L, "number of pending steps"),
        Column("tocsin.incident.next_step", K, "name of the first pending step"),
        Column("tocsin.incident.time_to_close", D, "seconds from opening to closing"),
    ),
    "tocsin.incident.active",
    _incident,
)

#: A range that overlaps every time range, so that a dashboard finds its namespace even if it has no alerts.
_ALWAYS = {"gte": "1970-01-01T00:00:00Z", "lte": "2200-01-01T00:00:00Z"}
_NAMESPACES = View(
    "namespaces",
    "installation",
    "One record for each namespace. The record is always active, so that a dashboard also finds namespaces without alerts.",
    (
        Column(
            "tocsin.installation.views",
            L,
            "version of the columns of these views in the namespace's records",
        ),
    ),
    "tocsin.installation.active",
    lambda value: {"tocsin.installation.views": value["views"], "tocsin.installation.active": _ALWAYS},
)

VIEWS: Mapping[str, View] = MappingProxyType({view.name: view for view in (_ALERTS, _INCIDENTS, _NAMESPACES)})
_BY_KIND = {view.kind: view for view in VIEWS.values()}


def facts(kind: str, value: Mapping[str, Any]) -> dict[str, Any]:
    """The search fields of a record of the keyed state, by column. Empty if the record's kind has no view.

    Also empty if the value is not in the expected form: the record must be written even if no view can show it.
    """
    view = _BY_KIND.get(kind)
    if view is None:
        return {}
    try:
        return {k: v for k, v in view.facts(value).items() if v is not None}
    except (
        KeyError,
        TypeError,
        ValueError,
        OverflowError,
        msgspec.ValidationError,
    ):
        return {}
