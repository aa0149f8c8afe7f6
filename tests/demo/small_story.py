"""A story of the demo made by hand: a small store with every stream, text that an attacker chose included."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tests.stores import ON_ELASTICSEARCH
from tocsin.clock import ScriptedClock
from tocsin.config.load import load
from tocsin.contract.findings import Severity, Subject, finding_id
from tocsin.contract.frames import conform
from tocsin.datasets.digest import digest_file
from tocsin.demo.attacks import ROGUE, VICTIM, Poisoned
from tocsin.demo.data import LABEL
from tocsin.demo.lender import MODEL, START
from tocsin.demo.outcome import EXTRACT, INTRUDE, POISON, SHIFT, Attack, Detection, Story
from tocsin.demo.timing import Decisive
from tocsin.demo.weeks import week
from tocsin.worker.app import App

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
HOSTILE = "<script>alert('pwned')</script>$x_1$\u202e"
NAMESPACE = "" if ON_ELASTICSEARCH else "namespace: demo\n"
CONFIG = f"{NAMESPACE}alerting:\n  route: {{receiver: pages}}\n  receivers:\n    pages: {{type: console}}\n"
ATTACKS = (  # week, name, technique, subject, detector
    (POISON, "poisoned partner feed", "AML.T0020", Subject("dataset", "applications"), "label_poisoning"),
    (EXTRACT, "model copied", "AML.T0024.002", Subject("principal", ROGUE), "model_extraction"),
    (SHIFT, "shift in applicants", "AML.T0015", Subject("model", MODEL), "feature_drift"),
    (INTRUDE, "stolen account", "AML.T0012", Subject("principal", VICTIM), "registry_access"),
)


def open_app(folder: Path, config: str = CONFIG) -> App:
    (folder / "tocsin.yaml").write_text(config)
    return App(load(folder / "tocsin.yaml"), ScriptedClock(week(12)))


def append(app: App, stream: str, rows: list[dict[str, Any]]) -> None:
    named = [{"event.id": f"{stream}-{place}"} | row for place, row in enumerate(rows)]
    app.store.append(stream, conform(pl.DataFrame(named, infer_schema_length=None), stream))


def fill_sources(app: App, folder: Path) -> None:
    rng = np.random.default_rng(0)
    principals = ["broker-01", "svc-nightly-batch", HOSTILE, "broker-02"]
    calls = [(START + n * DAY + 9 * HOUR, p) for n in range(84) for p in principals]
    calls += [(week(EXTRACT) + 2 * DAY + n * timedelta(minutes=1), ROGUE) for n in range(60)]
    append(app, "inference", [
        {
            "@timestamp": time,
            "user.id": principal,
            "tocsin.model.name": MODEL,
            "tocsin.features.names": f"age,limit,sex:category,{HOSTILE.replace(',', '')}",
            "tocsin.features.values": [*rng.normal(40, 9, 2), float(rng.integers(2)), 1.0],
            "tocsin.output.score": float(rng.random()),
        }
        for time, principal in calls
    ])  # fmt: skip
    usual = [(START + n * DAY + (9 + n % 8) * HOUR, "read", MODEL, "10.20.0.7") for n in range(84)]
    night = week(INTRUDE) + 4 * DAY + timedelta(hours=2, minutes=43)
    times = [night + n * timedelta(seconds=40) for n in range(40)]
    path = [(time, "download", f"m{n % 16}{HOSTILE}", "203.0.113.66") for n, time in enumerate(times)]
    append(app, "access", [
        {"@timestamp": time, "user.id": VICTIM, "event.action": action, "tocsin.resource.id": resource,
         "source.ip": address, "user_agent.original": f"curl {HOSTILE}"}
        for time, action, resource, address in usual + path
    ])  # fmt: skip
    feeds = []
    for number in (6, 7, POISON):
        file = folder / f"{number}.parquet"
        label = [0] * 30 if number == POISON else [1, 0, 1] * 10
        pl.DataFrame({"PAY_0": [2.0, 3.0, 0.0] * 10, LABEL: label}).write_parquet(file)
        given = {"tocsin.dataset.digest": digest_file(file), "tocsin.dataset.path": str(file)}
        at = week(number) + 3 * DAY
        feeds.append({"@timestamp": at, "tocsin.dataset.name": "applications", **given})
    append(app, "dataset", feeds)


def fill_verdicts(app: App) -> None:
    """Each detector looks at every day from week 5 on, finds its attack, and once something low."""
    scores: list[dict[str, Any]] = []
    findings: list[dict[str, Any]] = []
    runs: list[dict[str, Any]] = []
    for number, _, technique, subject, detector in ATTACKS:
        for start in (week(4) + n * DAY for n in range(56)):
            attacked = start == week(number) + 4 * DAY
            score = 5.0 if attacked else 1.2 if start == week(5) else 0.3
            key = {"@timestamp": start + DAY, "tocsin.detector.id": detector,
                   "tocsin.window.start": start, "tocsin.window.end": start + DAY}  # fmt: skip
            about = {"tocsin.subject.type": subject.type, "tocsin.subject.id": subject.id}
            verdict = about | {
                "tocsin.score": score,
                "tocsin.threshold": 1.0,
                "event.reason": f"saw {HOSTILE}",
            }
            scores.append({**key, **verdict, "event.id": f"score-{detector}-{start}"})
            counted = {"tocsin.run.rows": 10, "tocsin.run.scores": 1, "tocsin.run.findings": int(score > 1)}
            runs.append(
                {**key, **counted, "event.action": "evaluated", "event.id": f"run-{detector}-{start}"}
            )
            if score > 1:
                findings.append({
                    **key, **verdict, "event.action": "found",
                    "tocsin.finding.id": finding_id(detector, start, start + DAY, subject),
                    "tocsin.severity": "critical" if attacked else "low",
                    "tocsin.evidence": json.dumps({"snapshot": HOSTILE, "odd": [{"row": 1, "why": HOSTILE}]}),
                    "tocsin.playbook.id": "registry-intrusion", "threat.technique.id": [technique],
                    "event.id": f"finding-{detector}-{start}",
                })  # fmt: skip
    for stream, rows in (("score", scores), ("finding", findings), ("run", runs)):
        append(app, stream, rows)


def tell_story(app: App) -> Story:
    story = Story(7, calls=396, principals=5, fidelity=[(20, 0.7), (40, 0.9), (60, 0.95)])
    story.poisoned = Poisoned(20, 150, 40, 190, 200, 0.77, 0.7)
    for number, name, technique, subject, detector in ATTACKS:
        started = week(number) + 4 * DAY + timedelta(hours=2, minutes=43)
        acts = tuple(started + n * timedelta(minutes=1) for n in range(60))
        attack = Attack(name, technique, started, number, (subject,), {"fact": HOSTILE}, acts, "acts to come")
        minute = timedelta(minutes=1)
        decisive = Decisive(detector, started + 9 * minute, started + 10 * minute)
        found = detector, Severity.CRITICAL, f"saw {HOSTILE}", started + 10 * minute, decisive
        story.detections.append(Detection(attack, *found))
    worst = app.alerting.incidents()[0]
    app.alerting.acknowledge(worst.id, "ana", f"on it {HOSTILE}")
    app.alerting.complete_step(worst.id, worst.steps[0].id, "ana", "read")
    story.incidents = app.alerting.incidents()
    return story
