"""Simulates twelve weeks at a lender: four to fit baselines on, four without an attack, and four with one attack each.

The same `App` that runs in production collects, evaluates and alerts, with a scripted clock. The detectors receive no
information about the attacks.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

from tocsin.clock import ScriptedClock
from tocsin.config.load import load
from tocsin.contract.findings import Subject
from tocsin.demo.attacks import ROGUE, VICTIM, Extraction, consequences, intrude, poison, week_start
from tocsin.demo.data import applications
from tocsin.demo.lender import DAY, MODEL, START, WEEKS, Call, Lender
from tocsin.demo.outcome import EXTRACT, INTRUDE, POISON, SHIFT, TRUSTED, Attack, Story, summarize
from tocsin.errors import InputError
from tocsin.worker.app import App

CONFIG = """\
# Written by `tocsin demo`: the configuration of the lender's Tocsin. Try: tocsin -c {path} findings
namespace: {namespace}
store: {store}
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


def prepare(folder: Path, cluster: str = "") -> Path:
    """Empty the folder of the demo and write its configuration. `cluster` is the URL of an Elasticsearch for the store.

    Raises:
        InputError: the folder contains files that no demo wrote.
    """
    config = folder / "tocsin.yaml"
    if folder.exists() and any(folder.iterdir()):
        if not config.exists() or "tocsin demo" not in config.read_text()[:60]:
            raise InputError(
                f"{folder} contains files that `tocsin demo` did not write: choose another folder with --dir"
            )
        shutil.rmtree(folder)
    (folder / "sources").mkdir(parents=True)
    (folder / "pseudonym.key").write_text("the demo's key protects nobody: use your own\n")
    store, namespace = "{path: store}", "demo"
    if cluster:  # a new namespace, so that the data of earlier demos does not change
        store = f"{{type: elasticsearch, hosts: [{cluster}], replicas: 0}}"
        namespace = f"demo.{secrets.token_hex(4)}"
    config.write_text(CONFIG.format(path=config, store=store, namespace=namespace))
    return config


def simulate(
    folder: Path, seed: int, progress: Callable[[str], None], cluster: str = ""
) -> tuple[App, Story]:
    """Simulate the twelve weeks. `progress` is called with the progress. Notifications go to the configured receivers.

    Raises:
        InputError: the data cannot be downloaded, or the folder contains other files.
    """
    rows = applications(progress)
    config = prepare(folder, cluster)
    clock = ScriptedClock(START)
    progress("training the first credit model")
    lender = Lender(rows, folder / "sources", clock, seed)
    app = App(load(config), clock)
    story = Story(seed)
    attacks: list[Attack] = []
    extraction = Extraction(lender)
    for week in range(WEEKS):
        attacks += _week(week, lender, app, story, extraction, progress)
        if week == TRUSTED - 1:
            _fit_baselines(app, progress)
    lender.recorder.close(timeout=30)
    summarize(app, attacks, story)
    return app, story


def _week(
    week: int, lender: Lender, app: App, story: Story, extraction: Extraction, progress: Callable[[str], None]
) -> list[Attack]:
    start, feed = week_start(START, week), lender.feeds[week]
    title = _TITLES.get(week, _NORMAL if week < TRUSTED else "a quiet week")
    attacks: list[Attack] = []
    if week == POISON:
        feed = poison(lender, week)
        attacks.append(_poisoning(lender, story, week, feed))
    if week == SHIFT:
        lender.shifted = True
        attacks.append(_shift(lender, start))
    for number in range(7):
        day = start + number * DAY
        progress(f"week {week + 1} of {WEEKS}, day {number + 1}: {title}")
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
        _process_day(app, lender, evaluate=week >= TRUSTED)
        if week == POISON and number == 3:
            _acknowledge_incident(app)
    lender.shifted = False
    if week == EXTRACT:
        attacks.append(_extraction(story, start))
    if week not in {POISON, SHIFT}:  # the lender does not train on the feeds of these weeks
        lender.training.append(feed)
    lender.train(start + 7 * DAY - timedelta(hours=1))
    return attacks


_NORMAL = "collecting normal data for the baselines"
_TITLES = {
    POISON: "the partner feed is poisoned",
    EXTRACT: "a client copies the model",
    SHIFT: "the applicants are younger than before",
    INTRUDE: "an intruder downloads the models at night",
}


def _process_day(app: App, lender: Lender, *, evaluate: bool) -> None:
    """Collect, evaluate and alert once at the end of a day. In production, `tocsin run` does this continuously."""
    lender.recorder.flush()
    for collector in app.collectors:
        app.ingest.run(collector)
    if not evaluate:
        return
    app.evaluate()
    lender.clock.advance(timedelta(seconds=1))
    app.alerting.tick()
    lender.clock.advance(timedelta(minutes=1))  # group_wait of the route
    app.alerting.tick()


def _acknowledge_incident(app: App) -> None:
    """Acknowledge the first incident and complete the first step of its playbook."""
    for incident in app.alerting.incidents()[:1]:
        app.alerting.acknowledge(incident.id, "Ana (data platform)", "feed is held back, looking at the rows")
        app.alerting.complete_step(
            incident.id,
            incident.steps[0].id,
            "Ana (data platform)",
            "the writer is the partner's new export job",
        )


def _fit_baselines(app: App, progress: Callable[[str], None]) -> None:
    """Fit and pin a baseline of every detector that has one, on the trusted weeks."""
    end = week_start(START, TRUSTED)
    for setting in app.settings:
        if setting.detector.requires.baseline is not None:
            progress(f"fitting a baseline: {setting.detector.id}")
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
