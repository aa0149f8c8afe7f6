"""What of the keyed state dashboards see: alerts and incidents as they are now, in fields that can be searched.

Streams say what happened; a dashboard also asks what is still open. On a cluster, the record of an alert or incident
therefore carries these fields beside its value, written in the same request, and an alias shows the records of one
kind and no others. The embedded store needs none of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

from tocsin.clock import format_time, parse_time
from tocsin.contract import atlas
from tocsin.contract.findings import Severity
from tocsin.contract.streams import TIME, Column, Type

#: Of what `facts` writes; records that were written by an older one are written again by `tocsin store setup`.
VERSION = 2
#: So long after it last changed, what is open is still shown.
_AHEAD = timedelta(days=400)
_LATEST = datetime(9000, 1, 1, tzinfo=UTC)
#: Characters of a reason: a longer keyword would not be in any table.
_LONGEST = 1000

K, L, D, T = Type.KEYWORD, Type.LONG, Type.DOUBLE, Type.DATE


@dataclass(frozen=True, slots=True)
class View:
    """The records of one kind: an alias, its columns, and the date range over which a record is active.

    A range meets the time that is looked at while it is active, however long ago it began.
    """

    name: str
    kind: str
    doc: str
    columns: tuple[Column, ...]
    active: str
    facts: Callable[[Mapping[str, Any]], dict[str, Any]]

    def alias(self, namespace: str) -> str:
        """Under which name the records of a namespace are read."""
        return f"tocsin-{self.name}-{namespace}"


_ABOUT = (
    Column(TIME, T, "when it began: the start of the first window with a finding, or when it was opened"),
    Column("tocsin.severity", K, "the worst of its findings"),
    Column("event.severity", L, "the same as a number, 0 info to 4 critical"),
    Column("tocsin.subject.type", K, "model, dataset, principal, artifact or pipeline"),
    Column("tocsin.subject.id", K, "which one"),
    Column("tocsin.playbook.id", K, "the playbook"),
    Column("tocsin.incident.id", K, "the incident"),
    Column("tocsin.alert.id", Type.KEYWORDS, "the alert, or those of the incident"),
    Column("user.name", K, "who took it on"),
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
    raised, over = value.get("raised"), value.get("resolved")
    status = "resolved" if value["state"] == "resolved" else "acknowledged" if taken else "open"
    return _about(value) | {
        TIME: value["started"],
        "tocsin.alert.active": _range(value["started"], over, value["changed"]),
        "tocsin.alert.id": value["id"],
        "tocsin.alert.fingerprint": value["fingerprint"],
        "tocsin.alert.status": status,
        "tocsin.alert.raised": raised,
        "tocsin.alert.resolved": over,
        "tocsin.alert.findings": value["findings"],
        "tocsin.alert.ratio": _ratio(value["score"], value["threshold"]),
        "tocsin.alert.time_to_detect": _seconds(value["started"], raised) if raised else None,
        "tocsin.alert.time_to_acknowledge": _seconds(raised, taken["at"]) if taken and raised else None,
        "tocsin.alert.atlas": sorted({place for id in value["techniques"] for place in atlas.places(id)}),
        "threat.technique.id": value["techniques"],
        "tocsin.detector.id": value["detector"],
        "tocsin.detector.family": value.get("family") or "other",
        "tocsin.finding.id": value["finding"],
        "tocsin.incident.id": value.get("incident") or None,
        "user.name": taken.get("by"),
        "event.reason": value["reason"][:_LONGEST],
    }


def _incident(value: Mapping[str, Any]) -> dict[str, Any]:
    steps = value["steps"]
    left = [step["name"] for step in steps if step["state"] == "pending"]
    over = value.get("closed")
    return _about(value) | {
        TIME: value["opened"],
        "tocsin.incident.active": _range(value["opened"], over, value["opened"]),
        "tocsin.incident.id": value["id"],
        "tocsin.incident.state": value["state"],
        "tocsin.incident.closed": over,
        "tocsin.incident.steps": len(steps),
        "tocsin.incident.steps_left": len(left),
        "tocsin.incident.next_step": left[0] if left and over is None else None,
        "tocsin.incident.time_to_close": _seconds(value["opened"], over) if over else None,
        "tocsin.alert.id": value["alerts"],
        "user.name": value.get("owner") or None,
    }


def _range(start: str, end: str | None, changed: str) -> dict[str, str]:
    """As a `date_range`. One that is open ends far ahead and not never: a histogram of it would have no end either."""
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
    "Every alert as it is now.",
    (
        *_ABOUT,
        Column("tocsin.alert.fingerprint", K, "which alert, over all its episodes"),
        Column("tocsin.alert.status", K, "open, acknowledged or resolved"),
        Column("tocsin.alert.raised", T, "when it was raised"),
        Column("tocsin.alert.resolved", T, "the end of the window that had no finding any more"),
        Column("tocsin.alert.findings", L, "how many windows have a finding"),
        Column("tocsin.alert.ratio", D, "score ÷ threshold of the newest finding"),
        Column("tocsin.alert.time_to_detect", D, "seconds from the start of the first window to the alert"),
        Column("tocsin.alert.time_to_acknowledge", D, "seconds from the alert to who took it on"),
        Column("tocsin.alert.atlas", Type.KEYWORDS, "places in the ATLAS matrix: tactic › technique"),
        Column("threat.technique.id", Type.KEYWORDS, "ATLAS techniques"),
        Column("tocsin.detector.id", K, "the detector"),
        Column("tocsin.detector.family", K, "the family of the detector"),
        Column("tocsin.finding.id", K, "the newest finding"),
        Column("event.reason", K, "one sentence: what was seen"),
    ),
    "tocsin.alert.active",
    _alert,
)
_INCIDENTS = View(
    "incidents",
    "incident",
    "Every incident as it is now.",
    (
        *_ABOUT,
        Column("tocsin.incident.state", K, "open, acknowledged or closed"),
        Column("tocsin.incident.closed", T, "when it was closed"),
        Column("tocsin.incident.steps", L, "steps of its playbook"),
        Column("tocsin.incident.steps_left", L, "steps that nobody has done or skipped"),
        Column("tocsin.incident.next_step", K, "the first of them"),
        Column("tocsin.incident.time_to_close", D, "seconds from opening to closing"),
    ),
    "tocsin.incident.active",
    _incident,
)

#: There at any time that is looked at, so that a dashboard finds its namespace while nothing happens in it.
_ALWAYS = {"gte": "1970-01-01T00:00:00Z", "lte": "2200-01-01T00:00:00Z"}
_NAMESPACES = View(
    "namespaces",
    "installation",
    "The namespaces that there are, a record each.",
    (Column("tocsin.installation.views", L, "the version of these views that its records show"),),
    "tocsin.installation.active",
    lambda value: {"tocsin.installation.views": value["views"], "tocsin.installation.active": _ALWAYS},
)

VIEWS: Mapping[str, View] = MappingProxyType({view.name: view for view in (_ALERTS, _INCIDENTS, _NAMESPACES)})
_BY_KIND = {view.kind: view for view in VIEWS.values()}


def facts(kind: str, value: Mapping[str, Any]) -> dict[str, Any]:
    """What a record of the keyed state shows, by column; nothing where its kind has no view.

    Nor where it is not as this version writes it: a record comes before its view.
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
    ):
        return {}
