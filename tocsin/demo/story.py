"""Simulates twelve weeks at a lender: four to fit baselines on, four without an attack, and four with one attack each.

The same `App` that runs in production collects, evaluates and alerts, with a scripted clock. The detectors receive no
information about the attacks.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

from tocsin.clock import ScriptedClock
from tocsin.config.load import load
from tocsin.contract.findings import Subject
from tocsin.demo.attacks import ROGUE, VICTIM, Extraction, consequences, intrude, poison, week_start
from tocsin.demo.data import applications
from tocsin.demo.days import Days
from tocsin.demo.lender import DAY, MODEL, START, WEEKS, Delivery, Event, Lender, Line
from tocsin.demo.outcome import EXTRACT, INTRUDE, POISON, SHIFT, TRUSTED, Attack, Story, summarize
from tocsin.demo.timing import page
from tocsin.errors import BaselineError, InputError
from tocsin.pipeline.detecting.evaluate import one_thread
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
    folder: Path, seed: int, progress: Callable[[str], None], cluster: str = "", *, steps: int = 1
) -> tuple[App, Story]:
    """Simulate the twelve weeks. Notifications go to the configured receivers.

    Args:
        folder: where the demo writes.
        seed: the seed of all random draws.
        progress: is called with the progress.
        cluster: the URL of an Elasticsearch for the store; if empty, the store is in the folder.
        steps: how often Tocsin collects, evaluates and alerts on a day. From the start of an attack until it is paged,
            it does so every minute.

    Raises:
        InputError: the data cannot be downloaded, or the folder contains other files.
    """
    rows = applications(progress)
    config = prepare(folder, cluster)
    clock = ScriptedClock(START)
    progress("training the first credit model")
    lender = Lender(rows, folder / "sources", clock, seed)
    app = App(load(config), clock)
    days, story = Days(app, lender, steps), Story(seed)
    attacks: list[Attack] = []
    extraction = Extraction(lender)
    # On a busy machine, the threads that train and ask the lender's models wait for each other.
    with one_thread():
        for week in range(WEEKS):
            attacks += _week(week, days, story, extraction, progress)
            if week == TRUSTED - 1:
                _fit_baselines(app, progress)
    lender.recorder.close(timeout=30)
    summarize(app, attacks, story)
    return app, story


def _week(
    week: int, days: Days, story: Story, extraction: Extraction, progress: Callable[[str], None]
) -> list[Attack]:
    lender, start = days.lender, week_start(START, week)
    title = _TITLES.get(week, _NORMAL if week < TRUSTED else "a quiet week")
    feed, attack = lender.feeds[week], None
    if week == POISON:
        feed = poison(lender, week)
        attack = _poisoning(lender, story, week, feed)
    if week == SHIFT:
        lender.shifted = True
        attack = _shift(lender, start)
    for number in range(7):
        day = start + number * DAY
        progress(f"week {week + 1} of {WEEKS}, day {number + 1}: {title}")
        extra: list[Event] = []
        if number == 3:
            extra.append(Delivery(day + _DELIVERED, week, feed))
        if week == EXTRACT and number in {2, 3, 4}:
            extra += extraction.day(day)
            story.fidelity = extraction.fidelity
            attack = _extraction(extraction, start)
        if week == INTRUDE and number == 4:
            lines = intrude(lender, day)
            extra += lines
            attack = _intrusion(start, lines)
        events = lender.day(day, extra)
        if week < TRUSTED:
            days.collect(day, events)
        else:
            days.play(day, events, attack)
        if week == POISON and number == 3:
            _acknowledge_incident(days.app)
    lender.shifted = False
    if week != SHIFT and not _is_held(days, week, attack, start + _TRAINED):
        lender.training.append(feed)
    lender.train(start + _TRAINED)
    return [attack] if attack else []


def _is_held(days: Days, week: int, attack: Attack | None, until: datetime) -> bool:
    """Whether the lender holds a feed back from the training at `until`: the poisoned one, if somebody was paged before."""
    if week != POISON or attack is None:
        return False
    return page(days.app.store, attack.started, until, attack.subjects) is not None


_DELIVERED = timedelta(hours=4)
_TRAINED = timedelta(days=7) - timedelta(hours=1)
_NORMAL = "collecting normal data for the baselines"
_TITLES = {
    POISON: "the partner feed is poisoned",
    EXTRACT: "a client copies the model",
    SHIFT: "the applicants are younger than before",
    INTRUDE: "an intruder downloads the models at night",
}


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
            with contextlib.suppress(BaselineError):  # the lender's labels do not arrive call by call
                version = app.detect.fit(setting, end, START)
                app.detect.baselines.pin(version.detector, version.number)


def _poisoning(lender: Lender, story: Story, week: int, feed: pl.DataFrame) -> Attack:
    done = story.poisoned = consequences(lender, week, feed)
    return Attack(
        "poisoned partner feed",
        "AML.T0020",
        week_start(START, week) + 3 * DAY + _DELIVERED,
        week,
        (Subject("dataset", "applications"),),
        {
            "labels flipped": str(done.flipped),
            "forged applications": str(done.forged),
            "fraud approved before": f"{done.approved_before} of {done.defaulters}",
            "fraud approved after": f"{done.approved_after} of {done.defaulters}",
        },
        (week_start(START, week) + _TRAINED,),
        "the training run did not read the file",
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


def _extraction(extraction: Extraction, start: datetime) -> Attack:
    queries, fidelity = extraction.fidelity[-1]
    return Attack(
        "model copied through its API",
        "AML.T0024.002",
        start + 2 * DAY + timedelta(hours=10),
        EXTRACT,
        (Subject("principal", ROGUE),),
        {"queries": f"{queries:,}", "fidelity of the copy": f"{fidelity:.1%}"},
        tuple(extraction.asked),
        "queries not yet answered",
    )


def _intrusion(start: datetime, lines: Sequence[Line]) -> Attack:
    taken = tuple(line.at for line in lines if "get-artifact" in line.request)
    return Attack(
        "stolen account in the registry",
        "AML.T0012",
        start + 4 * DAY + timedelta(hours=2, minutes=43),
        INTRUDE,
        (Subject("principal", VICTIM),),
        {"model versions taken": str(len(taken))},
        taken,
        "model versions not yet taken",
    )
