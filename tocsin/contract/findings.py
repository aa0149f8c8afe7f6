"""Scores and findings: a detector returns a score for every subject; a score that reaches the threshold is a finding."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from tocsin.clock import format_time
from tocsin.contract.times import Times
from tocsin.words import sentence

Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]


class Severity(StrEnum):
    """The severity of a finding, in ascending order."""

    INFO = "info"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for info up to 4 for critical."""
        return list(Severity).index(self)


class Outcome(StrEnum):
    """The outcome of one attempt to evaluate a window; `gap` records that an evaluation is missing."""

    EVALUATED = "evaluated"
    LATE = "late"  # re-evaluated: events were ingested after the first evaluation
    FILLED = "filled"  # evaluated after a gap was recorded, or by a backfill
    SKIPPED = "skipped"
    FAILED = "failed"
    GAP = "gap"
    EARLY = "early"  # evaluated before the window has ended; says nothing about the whole window


#: The outcomes after which the scores and findings of a window are stored.
DONE = (Outcome.EVALUATED, Outcome.LATE, Outcome.FILLED)


class Family(StrEnum):
    """The area that a detector monitors. Each family has its own dashboard."""

    DATA_INTEGRITY = "data_integrity"
    MODEL_BEHAVIOR = "model_behavior"
    USAGE = "usage"
    ACCESS = "access"
    HEALTH = "health"
    OTHER = "other"


class Subject(NamedTuple):
    """What a finding is about. `type` is model, dataset, principal, artifact, pipeline or detector."""

    type: str
    id: str


@dataclass(frozen=True, slots=True)
class Score:
    """A detector's score of one subject in one window. Detectors also return scores below the threshold.

    `value` is finite, at least 0, and on a ratio scale: higher is worse. The severity follows from value / threshold
    (`tocsin.contract.severities`). `evidence` is plain JSON that lets a person verify the score. `aspect` is empty for
    the score of a subject. It names what else is reported about the subject (see `tocsin.contract.aspects`).
    """

    subject: Subject
    value: float
    reason: str
    evidence: Mapping[str, Json] = field(default_factory=dict)
    aspect: str = ""


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
    aspect: str = ""
    early: bool = False  # of a window that has not ended
    times: Times = Times()

    def at_most(self, worst: Severity, why: str) -> Finding:
        """The finding with a severity of at most `worst`. If it was worse, sentence and evidence (`uncapped`) say why."""
        if self.severity.rank <= worst.rank:
            return self
        reason = sentence([self.reason, f"{why}, so at most {worst.value}"])
        evidence = {**self.evidence, "uncapped": self.severity.value}
        return replace(self, severity=worst, reason=reason, evidence=evidence)

    def to_dict(self) -> dict[str, Json]:
        """The finding under the keys that the command line's `--json` prints."""
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
            "aspect": self.aspect or None,
            "early": self.early,
            "evidence": self.evidence,
            "family": self.family,
            "playbook": self.playbook,
            "baseline": self.baseline,
        }


#: `event.action` of a finding's revision that withdraws it: after late events, or in the full window, the score is below
#: the threshold.
WITHDRAWN = "withdrawn"


def finding_id(detector: str, start: datetime, end: datetime, subject: Subject, aspect: str = "") -> str:
    """The id of a finding, which depends only on detector, window, subject and aspect."""
    more = (aspect,) if aspect else ()
    key = "\x1f".join((detector, format_time(start), format_time(end), *subject, *more))
    return hashlib.sha256(key.encode()).hexdigest()[:32]
