"""The result of the demo: which attacks were found, how fast, and the false alarms in the quiet weeks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

from tocsin.contract.findings import Severity, Subject
from tocsin.demo.attacks import Poisoned, week_start
from tocsin.demo.lender import DAY, START
from tocsin.demo.timing import Decisive, decisive, page
from tocsin.pipeline.detecting.records import newest_findings
from tocsin.worker.app import App

if TYPE_CHECKING:
    from tocsin.contract.incidents import Incident

TRUSTED = 4  # weeks on which baselines are fitted
QUIET = range(4, 8)
POISON, EXTRACT, SHIFT, INTRUDE = 8, 9, 10, 11
#: The names of the times of a detection: `reaction` and `delay`.
TIMES = "decisive event to page", "first act to page"


@dataclass(frozen=True, slots=True)
class Attack:
    """An attack: its technique, its start, and the subjects that a detector has to find.

    `acts` are the times at which the attack does its damage: a model version is taken, a query is answered, a training run
    reads the file. `saved` says what the page saved; if there are several acts, after their number.
    """

    name: str
    technique: str
    started: datetime
    week: int
    subjects: tuple[Subject, ...]
    facts: Mapping[str, str]
    acts: tuple[datetime, ...] = ()
    saved: str = ""

    @property
    def ended(self) -> datetime:
        """The end of the attack's week."""
        return week_start(START, self.week + 1)


@dataclass(frozen=True, slots=True)
class Detection:
    """The worst finding about the subjects of an attack in its week, the first page, and the decisive event."""

    attack: Attack
    detector: str = ""
    severity: Severity | None = None
    reason: str = ""
    page: datetime | None = None
    decisive: Decisive | None = None

    @property
    def delay(self) -> timedelta | None:
        """The time from the first act of the attack to the page."""
        return None if self.page is None else self.page - self.attack.started

    @property
    def reaction(self) -> timedelta | None:
        """The time from the decisive event to the page."""
        return None if self.page is None or self.decisive is None else self.page - self.decisive.at

    @property
    def acts(self) -> int:
        """The number of the attack's acts before the page."""
        return sum(at <= self.page for at in self.attack.acts) if self.page else len(self.attack.acts)

    @property
    def saved(self) -> str:
        """What did not happen before the page."""
        every, left = len(self.attack.acts), len(self.attack.acts) - self.acts
        if every <= 1 or self.page is None:
            return self.attack.saved if left else ""
        return f"{left:,} of {every:,} {self.attack.saved}"

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
    time = attack.started, attack.ended + DAY, attack.subjects
    return Detection(
        attack,
        worst["tocsin.detector.id"],
        Severity(worst["tocsin.severity"]),
        worst["event.reason"],
        page(app.store, *time),
        decisive(app, attack.started, attack.ended, attack.subjects),
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
