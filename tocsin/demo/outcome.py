"""The result of the demo: which attacks were found, how fast, and the false alarms in the quiet weeks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

from tocsin.contract.findings import Severity, Subject
from tocsin.contract.streams import INGESTED
from tocsin.demo.attacks import Poisoned, week_start
from tocsin.demo.lender import START
from tocsin.pipeline.detecting.records import newest_findings
from tocsin.worker.app import App

if TYPE_CHECKING:
    from tocsin.contract.incidents import Incident

TRUSTED = 4  # weeks on which baselines are fitted
QUIET = range(4, 8)
POISON, EXTRACT, SHIFT, INTRUDE = 8, 9, 10, 11


@dataclass(frozen=True, slots=True)
class Attack:
    """An attack: its technique, its start, and the subjects that a detector has to find."""

    name: str
    technique: str
    started: datetime
    week: int
    subjects: tuple[Subject, ...]
    facts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Detection:
    """The worst finding about the subjects of an attack in its week, and the delay to the first."""

    attack: Attack
    detector: str = ""
    severity: Severity | None = None
    reason: str = ""
    delay: timedelta | None = None

    @property
    def caught(self) -> bool:
        """Whether the attack was found at `high` or above."""
        return self.severity is not None and self.severity.rank >= Severity.HIGH.rank


@dataclass(slots=True)
class Story:
    """The results of one demo, for the terminal and the report."""

    seed: int
    detections: list[Detection] = field(default_factory=list)
    false_alarms: list[dict[str, Any]] = field(default_factory=list)
    incidents: list[Incident] = field(default_factory=list)
    poisoned: Poisoned | None = None
    fidelity: list[tuple[int, float]] = field(default_factory=list)
    calls: int = 0
    principals: int = 0

    @property
    def good(self) -> bool:
        """Whether every attack was found and the quiet weeks had no false alarm."""
        return bool(self.detections) and all(d.caught for d in self.detections) and not self.false_alarms


def summarize(app: App, attacks: Sequence[Attack], story: Story) -> None:
    """Add the detections, false alarms and incidents to a story."""
    story.detections = [_detection(app, attack) for attack in attacks]
    story.false_alarms = _false_alarms(app)
    story.incidents = app.alerting.incidents()
    _count_calls(app, story)


def _detection(app: App, attack: Attack) -> Detection:
    start, end = week_start(START, attack.week), week_start(START, attack.week + 1)
    rows = newest_findings(app.store).filter(
        pl.col("tocsin.window.end") > max(start, attack.started), pl.col("tocsin.window.start") < end
    )
    found = [
        row
        for row in rows.iter_rows(named=True)
        if Subject(row["tocsin.subject.type"], row["tocsin.subject.id"]) in attack.subjects
    ]
    if not found:
        return Detection(attack)
    worst = max(
        found, key=lambda r: (Severity(r["tocsin.severity"]).rank, r["tocsin.score"] / r["tocsin.threshold"])
    )
    paging = [r for r in found if Severity(r["tocsin.severity"]).rank >= Severity.HIGH.rank] or found
    first = min(row[INGESTED] for row in paging)
    return Detection(
        attack,
        worst["tocsin.detector.id"],
        Severity(worst["tocsin.severity"]),
        worst["event.reason"],
        first - attack.started,
    )


def _false_alarms(app: App) -> list[dict[str, Any]]:
    """Findings above `low` in the quiet weeks."""
    start, end = week_start(START, QUIET.start), week_start(START, QUIET.stop)
    rows = newest_findings(app.store).filter(
        pl.col("tocsin.window.start") >= start,
        pl.col("tocsin.window.end") <= end,
        ~pl.col("tocsin.severity").is_in([Severity.INFO.value, Severity.LOW.value]),
    )
    return rows.to_dicts()


def _count_calls(app: App, story: Story) -> None:
    counted = app.store.scan("inference", columns=["user.id"]).select(pl.len(), pl.col("user.id").n_unique())
    story.calls, story.principals = counted.collect().row(0)
