"""A small store with fixed rows for the tests of the command line: three alerts, runs of every outcome, accesses."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.demo.small_story import append
from tocsin.clock import ScriptedClock
from tocsin.config.load import load
from tocsin.contract.findings import Subject, finding_id
from tocsin.worker.app import App

DAY = timedelta(days=1)
START = datetime(2026, 3, 23, tzinfo=UTC)
NOW = datetime(2026, 3, 24, 9, 30, tzinfo=UTC)
TRACEBACK = 'Traceback (most recent call last):\n  File "drift.py", line 9, in score\nZeroDivisionError: division by zero\n'
CONFIG = """\
namespace: demo
alerting:
  route: {receiver: pages, group_by: [detector, subject_id]}
  receivers: {pages: {type: console}}
"""
FINDINGS: tuple[tuple[str, Subject, str, float, float, str, str, dict[str, Any]], ...] = (
    (
        "registry_access", Subject("principal", "maria"), "critical", 50.18, 6.0, "registry-intrusion", "AML.T0012",
        {"reason": "maria made 62 accesses to 7 resources and downloaded 24 artifacts; unusual: mass download, "
                   "unfamiliar role and 7 more",
         "accesses": 62, "addresses": ["10.20.0.132", "203.0.113.66"],
         "rules": [{"rule": "mass_download", "detail": "downloaded 24 artifacts; the usual maximum is 0", "at": None},
                   {"rule": "off_hours", "nats": 1.805, "new": True}]},
    ),
    (
        "query_budget", Subject("principal", "broker-13"), "high", 2.39, 1.0, "model-extraction", "AML.T0024.002",
        {"reason": "broker-13 sent 478 different queries to credit in 15 days; the budget is 200",
         "budget": 200.0, "different queries": 478},
    ),
    (
        "prediction_drift", Subject("model", "credit"), "low", 4.82, 3.44, "model-drift", "AML.T0031",
        {"reason": "credit returns another score than before: mean 0.275, before 0.216", "mean": [0.216, 0.275]},
    ),
)  # fmt: skip


def fill(folder: Path) -> Path:
    """Write the store to a folder; the configuration file."""
    file = folder / "tocsin.yaml"
    file.write_text(CONFIG)
    clock = ScriptedClock(START + DAY)
    app = App(load(file), clock)
    try:
        _accesses(app)
        _verdicts(app)
        _runs(app)
        app.detect.baselines  # noqa: B018 — opened as commands open it
        app.alerting.tick(last=True)
        clock.advance(timedelta(hours=1))
        worst = app.alerting.incidents()[0]
        app.alerting.acknowledge(worst.id, "ana", "on it")
        app.alerting.complete_step(worst.id, worst.steps[0].id, "ana", "read")
        app.audit("acknowledge", worst.id, "ana", "on it")
    finally:
        app.close()
    return file


def _accesses(app: App) -> None:
    append(app, "access", [
        {"@timestamp": START + timedelta(hours=9, minutes=7 * n, seconds=12), "user.id": user, "event.action": action,
         "event.outcome": "success", "tocsin.resource.type": "model_version", "tocsin.resource.id": resource,
         "tocsin.resource.version": "3", "source.ip": "10.20.0.132", "http.response.status_code": 200,
         "user_agent.original": "mlflow-python-client/3.18.0",
         "tocsin.unmapped": json.dumps({"url.query": f"name={resource}"})}
        for n, (user, action, resource) in enumerate([
            ("maria", "read", "marketing"), ("aisha", "search", "limit-setter"), ("svc-serving", "download", "credit"),
        ])
    ])  # fmt: skip


def _key(detector: str, start: datetime) -> dict[str, Any]:
    return {"@timestamp": start + DAY, "tocsin.detector.id": detector, "tocsin.window.start": start,
            "tocsin.window.end": start + DAY}  # fmt: skip


def _verdicts(app: App) -> None:
    findings, scores = [], []
    for detector, subject, severity, score, threshold, playbook, technique, facts in FINDINGS:
        verdict = {"tocsin.subject.type": subject.type, "tocsin.subject.id": subject.id, "tocsin.score": score,
                   "tocsin.threshold": threshold, "event.reason": facts["reason"]}  # fmt: skip
        scores.append(_key(detector, START) | verdict)
        evidence = {key: value for key, value in facts.items() if key != "reason"}
        findings.append(_key(detector, START) | verdict | {
            "event.action": "found", "tocsin.finding.id": finding_id(detector, START, START + DAY, subject),
            "tocsin.severity": severity, "tocsin.evidence": json.dumps(evidence), "tocsin.playbook.id": playbook,
            "threat.technique.id": [technique], "tocsin.finding.newest_event": START + DAY - timedelta(minutes=3),
            "tocsin.finding.ingested": START + DAY - timedelta(seconds=165),
            "tocsin.finding.evaluated": START + DAY - timedelta(seconds=2),
        })  # fmt: skip
    append(app, "score", scores)
    append(app, "finding", findings)


def _runs(app: App) -> None:
    counts = {"tocsin.run.rows": 305, "tocsin.run.scores": 1, "tocsin.run.findings": 1, "tocsin.run.attempt": 1,
              "event.duration": 160_000_000, "tocsin.run.searched": START - 28 * DAY}  # fmt: skip
    none = counts | {"tocsin.run.rows": 0, "tocsin.run.scores": 0, "tocsin.run.findings": 0}
    rows = [_key(detector, START) | counts | {"event.action": "evaluated"} for detector, *_ in FINDINGS]
    rows += [
        _key("feature_drift", START) | none | {
            "event.action": "failed", "event.reason": "ZeroDivisionError: division by zero", "error.type": "raised",
            "tocsin.run.attempt": 2, "tocsin.unmapped": json.dumps({"error.stack_trace": TRACEBACK}),
        },
        _key("label_poisoning", START) | none | {
            "event.action": "skipped",
            "event.reason": "history before 2026-03-23T00:00:00Z is shorter than half of its baseline; wait, or fit "
                            "one with `tocsin baseline fit --from T --to T`",
        },
    ]  # fmt: skip
    rows.append(_key("query_budget", START) | none | {"event.action": "early"})
    append(app, "run", rows)
