"""Twelve weeks of a lender, day by day: four to learn from, four quiet ones, four attacks.

The sources are collected, judged and alerted on by the same `App` that production runs, on a scripted
clock; nothing here tells a detector what is an attack.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from tocsin.app import App
from tocsin.clock import ScriptedClock
from tocsin.config import load
from tocsin.demo.attacks import ROGUE, VICTIM, Extraction, Poisoned, consequences, intrude, poison, week_start
from tocsin.demo.data import applications
from tocsin.demo.lender import DAY, MODEL, START, WEEKS, Call, Lender
from tocsin.errors import InputError
from tocsin.findings import Severity, Subject
from tocsin.pipeline.records import newest_findings
from tocsin.streams import INGESTED

if TYPE_CHECKING:
    from tocsin.incidents import Incident

TRUSTED = 4  # weeks that baselines are fitted on
QUIET = range(4, 8)
POISON, EXTRACT, SHIFT, INTRUDE = 8, 9, 10, 11

CONFIG = """\
# Written by `tocsin demo`: the lender's Tocsin. Look around with `tocsin -c {path} findings`.
namespace: demo
store: {{path: store}}
ingest:
  pseudonym_key: {{file: pseudonym.key}}
  protect:
    - {{field: source.ip, action: pseudonymize, streams: [inference]}}
collectors:
  - {{type: ndjson, params: {{paths: [sources/inference], stream: inference}}}}
  - {{type: ndjson, params: {{paths: [sources/pipeline], stream: pipeline}}}}
  - {{type: access_log, params: {{paths: [sources/registry/access.log]}}}}
  - {{type: dataset, params: {{paths: [sources/feeds]}}}}
alerting:
  route:
    receiver: pages
    group_by: [detector, subject_id]
    routes:
      - {{matchers: ['severity =~ "info|low"'], receiver: nobody}}
  receivers:
    pages: {{type: console}}
    nobody: {{type: nobody}}
"""


@dataclass(frozen=True, slots=True)
class Attack:
    """What was done, when, and what of it a detector has to see."""

    name: str
    technique: str
    started: datetime
    week: int
    subjects: tuple[Subject, ...]
    facts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Detection:
    """How an attack came out: the worst finding on its subjects in its week, and the delay to the first."""

    attack: Attack
    detector: str = ""
    severity: Severity | None = None
    reason: str = ""
    delay: timedelta | None = None

    @property
    def caught(self) -> bool:
        """Whether it was found at `high` or worse."""
        return self.severity is not None and self.severity.rank >= Severity.HIGH.rank


@dataclass(slots=True)
class Story:
    """Everything that happened, for the table and the report."""

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
        """Every attack caught, every quiet week quiet."""
        return bool(self.detections) and all(d.caught for d in self.detections) and not self.false_alarms


def prepare(folder: Path) -> Path:
    """Make the demo's folder anew and write its configuration.

    Raises:
        InputError: the folder holds something that no demo wrote.
    """
    config = folder / "tocsin.yaml"
    if folder.exists() and any(folder.iterdir()):
        if not config.exists() or "tocsin demo" not in config.read_text()[:60]:
            raise InputError(
                f"{folder} is not empty and was not made by `tocsin demo`; name another with --dir"
            )
        shutil.rmtree(folder)
    (folder / "sources").mkdir(parents=True)
    (folder / "pseudonym.key").write_text("the demo's key protects nobody: use your own\n")
    config.write_text(CONFIG.format(path=config))
    return config


def live(folder: Path, seed: int, say: Callable[[str], None]) -> tuple[App, Story]:
    """Live through the story; `say` hears what is going on, pages go where the configuration says.

    Raises:
        InputError: the data cannot be had, or the folder is in use.
    """
    rows = applications(say)
    config = prepare(folder)
    clock = ScriptedClock(START)
    say("training the first credit model")
    lender = Lender(rows, folder / "sources", clock, seed)
    app = App(load(config), clock)
    story = Story(seed)
    attacks: list[Attack] = []
    extraction = Extraction(lender)
    for week in range(WEEKS):
        attacks += _week(week, lender, app, story, extraction, say)
        if week == TRUSTED - 1:
            _learn(app, say)
    lender.recorder.close(timeout=30)
    story.detections = [_detection(app, attack) for attack in attacks]
    story.false_alarms = _false_alarms(app)
    story.incidents = app.alerting.incidents()
    _count_calls(app, story)
    return app, story


def _week(
    week: int,
    lender: Lender,
    app: App,
    story: Story,
    extraction: Extraction,
    say: Callable[[str], None],
) -> list[Attack]:
    start = week_start(START, week)
    title = _TITLES.get(week, "learning what is normal" if week < TRUSTED else "a quiet week")
    feed = lender.feeds[week]
    attacks: list[Attack] = []
    if week == POISON:
        feed = poison(lender, week)
        attacks.append(_poisoning(lender, story, week, feed))
    if week == SHIFT:
        lender.shifted = True
        attacks.append(_shift(lender, start))
    for number in range(7):
        day = start + number * DAY
        say(f"week {week + 1} of {WEEKS}, day {number + 1}: {title}")
        extra: list[Call] = []
        if number == 3:
            lender.deliver(week, feed)
        if week == EXTRACT and number in {2, 3, 4}:
            extra = extraction.day(day)
            story.fidelity = extraction.fidelity
        if week == INTRUDE and number == 4:
            attacks.append(_intrusion(start, intrude(lender, day)))
        lender.day(day, extra)
        lender.clock.set(day + DAY)
        _evening(app, lender, judge=week >= TRUSTED)
        if week == POISON and number == 3:
            _respond(app)
    lender.shifted = False
    if week == EXTRACT:
        attacks.append(_extraction(story, start))
    if week not in {POISON, SHIFT}:  # what was quarantined is not trained on
        lender.training.append(feed)
    lender.train(start + 7 * DAY - timedelta(hours=1))
    return attacks


_TITLES = {
    POISON: "the partner feed is poisoned",
    EXTRACT: "a client copies the model",
    SHIFT: "other applicants than before",
    INTRUDE: "somebody is in the registry at night",
}


def _evening(app: App, lender: Lender, *, judge: bool) -> None:
    """What `tocsin run` does all day long, done once at the day's end."""
    lender.recorder.flush()
    for collector in app.collectors:
        app.ingest.run(collector)
    if not judge:
        return
    app.detect.run(app.settings)
    lender.clock.advance(timedelta(seconds=1))
    app.alerting.tick()
    lender.clock.advance(timedelta(minutes=1))  # group_wait
    app.alerting.tick()


def _respond(app: App) -> None:
    """Somebody takes the incident on and begins to work its playbook."""
    for incident in app.alerting.incidents()[:1]:
        app.alerting.acknowledge(incident.id, "Ana (data platform)", "feed is held back, looking at the rows")
        app.alerting.complete_step(
            incident.id,
            incident.steps[0].id,
            "Ana (data platform)",
            "the writer is the partner's new export job",
        )


def _learn(app: App, say: Callable[[str], None]) -> None:
    """Fit and pin a baseline of every detector that has one, on the trusted weeks."""
    end = week_start(START, TRUSTED)
    for setting in app.settings:
        if setting.detector.requires.baseline is not None:
            say(f"fitting a baseline: {setting.detector.id}")
            version = app.detect.fit(setting, end, START)
            app.detect.baselines.pin(version.detector, version.number)


def _poisoning(lender: Lender, story: Story, week: int, feed: pl.DataFrame) -> Attack:
    done = story.poisoned = consequences(lender, week, feed)
    return Attack(
        "poisoned partner feed",
        "AML.T0020",
        week_start(START, week) + 3 * DAY + timedelta(hours=4),
        week,
        (Subject("dataset", "applications"),),
        {
            "labels flipped": str(done.flipped),
            "forged applications": str(done.forged),
            "fraud approved before": f"{done.approved_before} of {done.defaulters}",
            "fraud approved after": f"{done.approved_after} of {done.defaulters}",
        },
    )


def _shift(lender: Lender, start: datetime) -> Attack:
    before, after = lender.mean_age()
    return Attack(
        "shift in applicants",
        "AML.T0015",
        start + timedelta(hours=7),
        SHIFT,
        (Subject("model", MODEL),),
        {"mean age before": f"{before:.0f}", "mean age after": f"{after:.0f}"},
    )


def _extraction(story: Story, start: datetime) -> Attack:
    queries, fidelity = story.fidelity[-1]
    return Attack(
        "model copied through its API",
        "AML.T0024.002",
        start + 2 * DAY + timedelta(hours=10),
        EXTRACT,
        (Subject("principal", ROGUE),),
        {"queries": f"{queries:,}", "fidelity of the copy": f"{fidelity:.1%}"},
    )


def _intrusion(start: datetime, taken: int) -> Attack:
    return Attack(
        "stolen account in the registry",
        "AML.T0012",
        start + 4 * DAY + timedelta(hours=2, minutes=43),
        INTRUDE,
        (Subject("principal", VICTIM),),
        {"model versions taken": str(taken)},
    )


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
