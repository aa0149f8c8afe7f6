"""Alerts, their transitions, and the notifications that report them.

An alert is one episode of a fingerprint: the findings of a detector about a subject, from the first window with a
finding to the window without one. All classes are immutable and contain plain data only.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from tocsin.clock import format_time
from tocsin.contract.findings import Severity, Subject
from tocsin.contract.times import Times

#: The labels of an alert, as matchers and `group_by` name them.
LABELS = ("namespace", "detector", "subject_type", "subject_id", "severity", "technique", "verdict")
#: The labels that identify an alert. A changed severity, technique or verdict therefore never creates a second alert.
IDENTITY = LABELS[:4]


class AlertState(StrEnum):
    """Whether the newest evaluated window has a finding."""

    FIRING = "firing"
    RESOLVED = "resolved"


class Action(StrEnum):
    """The kinds of transition of an alert, an incident or a notification (`event.action` of alert_history)."""

    FIRING = "firing"
    SEVERITY_CHANGED = "severity_changed"
    RESOLVED = "resolved"
    ACKNOWLEDGED = "acknowledged"
    INCIDENT_OPENED = "incident_opened"
    INCIDENT_JOINED = "incident_joined"
    INCIDENT_CLOSED = "incident_closed"
    STEP_DONE = "step_done"
    STEP_SKIPPED = "step_skipped"
    NOTIFIED = "notified"
    NOTIFICATION_FAILED = "notification_failed"


@dataclass(frozen=True, slots=True)
class Transition:
    """One event of alert_history: what happened, to which subject, when, by whom and why."""

    action: Action
    at: datetime
    subject: Subject
    detector: str = ""
    fingerprint: str = ""
    state: str = ""
    severity: str = ""
    finding: str = ""
    incident: str = ""
    receiver: str = ""
    notification: str = ""
    alert: str = ""  # id; not stored in the stream
    by: str = ""
    reason: str = ""
    started: datetime | None = None

    @property
    def id(self) -> str:
        """`event.id`, a digest of the content: a transition that is appended twice is stored once."""
        who = (self.action, format_time(self.at), *self.subject, self.detector, self.fingerprint)
        rest = (self.state, self.severity, self.finding, self.incident, self.receiver, self.notification)
        return digest(*who, *rest, self.by, self.reason)


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """Who acknowledged an alert or incident, when and why. It is valid until the alert is resolved."""

    by: str
    at: datetime
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Alert:
    """The findings of one fingerprint over consecutive windows.

    `started` is the start of the first window with a finding; `raised` is when the alert was created or last fired
    again. `window_*`, `finding`, `score`, `threshold`, `reason` and `evidence` are those of the newest finding;
    `severity` is the highest of all findings. `resolved` is the end of the first window without a finding.

    `settled` is true once every group has queued a notification about the resolution. `unwritten` are transitions
    that are not in alert_history yet. They are stored in the same record as the change, so that a crash loses none.
    `times` are those of the finding that raised the alert, then of its notification and acknowledgement.
    """

    id: str
    fingerprint: str
    namespace: str
    detector: str
    subject: Subject
    state: AlertState
    severity: Severity
    started: datetime
    window_start: datetime
    window_end: datetime
    finding: str
    score: float
    threshold: float
    reason: str
    evidence: Mapping[str, Any]
    techniques: tuple[str, ...]
    playbook: str
    changed: datetime
    family: str = "other"
    raised: datetime | None = None  # None: the alert was stored by a version without this field
    findings: int = 1
    resolved: datetime | None = None
    acknowledged: Acknowledgement | None = None
    incident: str = ""
    settled: bool = False
    aspect: str = ""
    early: bool = False  # the newest finding is of a window that had not ended
    times: Times = Times()
    unwritten: tuple[Transition, ...] = ()

    @property
    def labels(self) -> dict[str, str]:
        """The labels that matchers and `group_by` use. Several techniques are joined by commas."""
        return {
            "namespace": self.namespace,
            "detector": self.detector,
            "subject_type": self.subject.type,
            "subject_id": self.subject.id,
            "severity": self.severity.value,
            "technique": ",".join(self.techniques),
            "verdict": str(self.evidence.get("verdict", "")),  # of the newest finding
        }

    @property
    def firing(self) -> bool:
        """Whether the newest evaluated window has a finding."""
        return self.state is AlertState.FIRING

    @property
    def withdrawn(self) -> bool:
        """Whether the alert is resolved because the full window did not confirm an early finding."""
        return self.early and self.resolved == self.window_end

    @property
    def urgency(self) -> tuple[int, bool]:
        """Sorts alerts: the highest severity first, and aspects after findings of the same severity."""
        return -self.severity.rank, bool(self.aspect)

    def transition(self, action: Action, at: datetime, **changes: Any) -> Transition:
        """A transition of this alert; `changes` replace fields that are otherwise taken from the alert."""
        facts = {
            "alert": self.id,
            "detector": self.detector,
            "fingerprint": self.fingerprint,
            "state": self.state.value,
            "severity": self.severity.value,
            "finding": self.finding,
            "incident": self.incident,
            "reason": self.reason,
            "started": self.started,
        }
        return Transition(action, at, self.subject, **(facts | changes))

    def to_dict(self) -> dict[str, Any]:
        """The alert under the keys that the command line's `--json` prints."""
        ack = self.acknowledged
        return {
            "alert.id": self.id,
            "fingerprint": self.fingerprint,
            "state": self.state.value,
            "severity": self.severity.value,
            "detector": self.detector,
            "subject.type": self.subject.type,
            "subject.id": self.subject.id,
            "started": format_time(self.started),
            "raised": None if self.raised is None else format_time(self.raised),
            "window.start": format_time(self.window_start),
            "window.end": format_time(self.window_end),
            "resolved": None if self.resolved is None else format_time(self.resolved),
            "finding.id": self.finding,
            "findings": self.findings,
            "score": self.score,
            "threshold": self.threshold,
            "reason": self.reason,
            "aspect": self.aspect or None,
            "evidence": self.evidence,
            "techniques": list(self.techniques),
            "family": self.family,
            "playbook": self.playbook,
            "incident": self.incident,
            "acknowledged": None if ack is None else ack.by,
            "acknowledged.at": None if ack is None else format_time(ack.at),
            "acknowledged.reason": None if ack is None else ack.reason,
            "early": self.early,
            "times": self.times.to_dict(),
        }


@dataclass(frozen=True, slots=True)
class Counted:
    """Alerts of a notification that are counted and not described: equal state, severity and detector."""

    state: AlertState
    severity: Severity
    detector: str
    count: int

    def __str__(self) -> str:
        resolved = "" if self.state is AlertState.FIRING else "resolved "
        return f"{self.count:,} more {resolved}{self.severity.value} alerts of detector {self.detector}"


@dataclass(frozen=True, slots=True)
class Notification:
    """One message to a receiver: the alerts of a group, firing and resolved, worst first.

    A storm of alerts is collapsed: the worst alerts are described, and `more` counts the others.

    `key` is the same for all retries, also after a crash; a receiver passes it on as webhook-id, Message-ID or
    deduplication key. `thread` is the key of the group's first notification, for receivers that support threads.
    `sent` is the time of this delivery attempt.
    """

    key: str
    receiver: str
    group_key: str
    labels: Mapping[str, str]
    reason: str
    alerts: tuple[Alert, ...]
    thread: str
    created: datetime
    sent: datetime
    more: tuple[Counted, ...] = ()

    def shortened(self, most: int) -> Notification:
        """The notification with at most this many alerts described; the others are counted in `more`."""
        if len(self.alerts) <= most:
            return self
        more = counted(self.alerts[most:], self.more)
        return replace(self, alerts=self.alerts[:most], more=more)

    @property
    def firing(self) -> tuple[Alert, ...]:
        """The alerts that are firing."""
        return tuple(alert for alert in self.alerts if alert.firing)

    @property
    def resolved(self) -> tuple[Alert, ...]:
        """The alerts that are resolved."""
        return tuple(alert for alert in self.alerts if not alert.firing)

    @property
    def state(self) -> AlertState:
        """Firing if at least one alert of the group is firing, else resolved."""
        return AlertState.FIRING if self.firing else AlertState.RESOLVED

    @property
    def severity(self) -> Severity:
        """The highest severity of the firing alerts; if none is firing, of all alerts."""
        return worst(alert.severity for alert in self.firing or self.alerts)


def worst(severities: Iterable[Severity]) -> Severity:
    """The highest of some severities."""
    return max(severities, key=lambda severity: severity.rank)


def counted(alerts: Iterable[Alert], more: Iterable[Counted] = ()) -> tuple[Counted, ...]:
    """Count alerts by state, severity and detector, and add counts made before; firing and worst first."""
    counts = Counter((alert.state, alert.severity, alert.detector) for alert in alerts)
    for item in more:
        counts[item.state, item.severity, item.detector] += item.count
    found = [Counted(*key, count) for key, count in counts.items()]
    return tuple(
        sorted(found, key=lambda c: (c.state is not AlertState.FIRING, -c.severity.rank, c.detector))
    )


def fingerprint(namespace: str, detector: str, subject: Subject, aspect: str = "") -> str:
    """The key that assigns findings to an alert: 16 hexadecimal digits, as in Alertmanager.

    Each aspect of a subject has an alert of its own, so that it never hides a finding about the same subject.
    """
    more = (aspect,) if aspect else ()
    return digest(namespace, detector, *subject, *more)[:16]


def digest(*parts: str) -> str:
    """A stable id of some texts: the first 32 hexadecimal digits of their SHA-256."""
    return hashlib.sha256("\x1f".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]
