"""What a detector says: a score for every subject it judged, and a finding where one is too high."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from tocsin.clock import format_time

Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]


class Severity(StrEnum):
    """How bad a finding is, in rising order."""

    INFO = "info"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for info up to 4 for critical."""
        return list(Severity).index(self)


#: Severity follows from score / threshold, by this table alone. The null's upper tail lies in
#: `low`: a calibrated threshold is passed by `false_alarms` of quiet windows, hardly ever by twice.
SEVERITY_TABLE = (
    (3.0, Severity.CRITICAL),
    (2.0, Severity.HIGH),
    (1.5, Severity.MEDIUM),
    (1.0, Severity.LOW),
)


def severity_of(score: float, threshold: float) -> Severity | None:
    """The severity of a score, or None where it is below its threshold."""
    for ratio, severity in SEVERITY_TABLE:
        if score >= ratio * threshold * (1 - 1e-9):  # 0.6 is three times 0.2
            return severity
    return None


class Outcome(StrEnum):
    """What became of a window in one attempt; `gap` is the record of a missing one."""

    EVALUATED = "evaluated"
    LATE = "late"  # evaluated again: more events came after it had been
    FILLED = "filled"  # evaluated after a gap, or by a backfill
    SKIPPED = "skipped"
    FAILED = "failed"
    GAP = "gap"


#: After these a window's scores and findings are there.
DONE = (Outcome.EVALUATED, Outcome.LATE, Outcome.FILLED)


class Family(StrEnum):
    """What a detector guards. Each has a dashboard of its own."""

    DATA_INTEGRITY = "data_integrity"
    MODEL_BEHAVIOR = "model_behavior"
    USAGE = "usage"
    ACCESS = "access"
    HEALTH = "health"
    OTHER = "other"


class Subject(NamedTuple):
    """What a finding is about. `type` is model, dataset, principal, artifact or pipeline."""

    type: str
    id: str


@dataclass(frozen=True, slots=True)
class Score:
    """A detector's judgement of one subject in one window, the quiet ones too.

    `value` is finite and at least 0, higher is worse, and on a ratio scale: twice the threshold is
    read as twice as bad (see `SEVERITY_TABLE`). `evidence` is plain JSON that lets a human check it.
    """

    subject: Subject
    value: float
    reason: str
    evidence: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Finding:
    """A score at or above its threshold (an OCSF Detection Finding, class 2004)."""

    id: str
    detector: str
    subject: Subject
    severity: Severity
    score: float
    threshold: float
    window_start: datetime
    window_end: datetime
    techniques: tuple[str, ...]
    reason: str
    evidence: Mapping[str, Json]
    playbook: str = ""
    baseline: str = ""
    family: str = Family.OTHER.value

    def to_dict(self) -> dict[str, Json]:
        """The finding in the words of the command line's `--json`."""
        return {
            "finding.id": self.id,
            "detector": self.detector,
            "subject.type": self.subject.type,
            "subject.id": self.subject.id,
            "severity": self.severity.value,
            "score": self.score,
            "threshold": self.threshold,
            "window.start": format_time(self.window_start),
            "window.end": format_time(self.window_end),
            "techniques": list(self.techniques),
            "reason": self.reason,
            "evidence": self.evidence,
            "family": self.family,
            "playbook": self.playbook,
            "baseline": self.baseline,
        }


#: `event.action` of a finding's revision that says: with late data it is none any more.
WITHDRAWN = "withdrawn"


def finding_id(detector: str, start: datetime, end: datetime, subject: Subject) -> str:
    """The same detector, window and subject always give the same id."""
    key = "\x1f".join((detector, format_time(start), format_time(end), *subject))
    return hashlib.sha256(key.encode()).hexdigest()[:32]
