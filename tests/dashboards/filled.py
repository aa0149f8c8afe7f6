"""A namespace of a real cluster in which the demo was lived through, for the dashboards to show."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tests.dashboards.cluster import Elasticsearch
from tests.dashboards.datasources import of_tocsin
from tests.dashboards.ranges import Range
from tests.demo import small_story
from tocsin.app import App
from tocsin.demo.lender import MODEL, START
from tocsin.demo.pictures import canvas
from tocsin.discovery import discover
from tocsin.findings import Subject, finding_id
from tocsin.streams import STREAMS

#: A namespace that holds the demo already: then it is not told again.
TOLD = os.environ.get("TOCSIN_TEST_DASHBOARDS_NAMESPACE", "")


@dataclass(frozen=True, slots=True)
class Filled:
    """Where the story is, and which time it fills."""

    cluster: Elasticsearch
    namespace: str
    range: Range


def fill(url: str, folder: Path) -> Filled:
    """Live through the demo in a namespace of its own."""
    from tocsin.demo.story import live

    namespace = TOLD
    if not namespace:
        app, _ = live(folder / "demo", 1, lambda _: None, url)
    else:
        store = f"{{type: elasticsearch, hosts: ['{url}'], replicas: 0}}"
        own = small_story.CONFIG.removeprefix(small_story.NAMESPACE)
        app = small_story.open_app(folder, f"namespace: {namespace}\nstore: {store}\n{own}")
        small_story.fill_sources(app, folder)
        _fill_rest(app)
        _fill_verdicts(app)
        small_story.fill_verdicts(app)
        app.alerting.tick(last=True)
        small_story.tell_story(app)
    found = Filled(
        Elasticsearch(url), namespace, Range(_ms(START), _ms(week_start(START, WEEKS)) + 3_600_000)
    )
    for source in of_tocsin(found.namespace).values():
        found.cluster.refresh(source.index)
    return found


def _fill_rest(app: App) -> None:
    """Fields and streams that the small story does without and the demo has."""
    days = [START + n * _DAY for n in range(84)]
    calls = [
        {
            "@timestamp": day + (9 + n) * _HOUR, "event.id": f"call-{day:%j}-{n}", "user.id": f"broker-{n:02}",
            "event.action": "predict", "event.outcome": "failure" if n == 7 else "success",
            "event.duration": 1_000_000 * (n + 1), "http.response.status_code": 500 if n == 7 else 200,
            "source.ip": f"192.0.2.{n}", "tocsin.source.id": "ndjson-1", "service.name": "scoring",
            "tocsin.model.name": MODEL, "tocsin.model.version": "8", "tocsin.output.label": str(n % 2),
            "tocsin.output.score": n / 10, "tocsin.output.confidence": 0.5 + n / 20,
            "gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 100 + n, "gen_ai.usage.output_tokens": n + 1,
        }
        for day in days for n in range(8)
    ]  # fmt: skip
    _append(app, "inference", calls)
    steps: list[dict[str, Any]] = [
        {
            "@timestamp": canvas.week(week) + n * _HOUR, "event.action": step, "user.id": "svc-training",
            "event.outcome": "failure" if week == 6 and step == "train" else "success", "event.duration": 10**9 * 60,
            "tocsin.pipeline.name": "credit-training", "tocsin.pipeline.run_id": f"w{week:02}", "error.code": "1",
            "tocsin.pipeline.step": step, "tocsin.pipeline.trigger": "schedule", "tocsin.pipeline.metrics": '{"auc": 0.7}',
            "tocsin.pipeline.code_digest": "sha256:c0de", "tocsin.pipeline.definition_digest": "sha256:def1",
            "tocsin.pipeline.inputs": ["sha256:in"], "tocsin.pipeline.outputs": ["sha256:out"],
            "tocsin.model.name": MODEL, "tocsin.model.version": str(week), "message": f"{step} of {MODEL} {week}",
            "tags": [MODEL],
        }
        for week in range(12) for n, step in enumerate(("prepare", "train", "deploy"))
    ]  # fmt: skip
    _append(app, "pipeline", steps)
    accesses = [
        {
            "@timestamp": day + 10 * _HOUR, "event.id": f"got-{day:%j}", "user.id": "maria", "user.name": "Maria",
            "event.action": "download", "event.outcome": "failure" if day.day == 5 else "success",
            "http.request.method": "GET", "http.response.status_code": 403 if day.day == 5 else 200,
            "http.response.bytes": 4096, "url.path": "/models/credit", "source.ip": "10.20.0.7",
            "service.name": "registry", "event.provider": "mlflow", "tocsin.resource.type": "model_version",
            "tocsin.resource.id": MODEL, "tocsin.resource.version": "8", "tocsin.principal.type": "human",
        }
        for day in days
    ]  # fmt: skip
    _append(app, "access", accesses)
    snapshots = [
        {
            "@timestamp": canvas.week(week) + _HOUR, "event.id": f"feed-{week}",
            "user.id": "partner-feed" if week % 2 else "maria",
            "event.action": "write", "event.outcome": "success", "tocsin.dataset.name": "applications",
            "tocsin.dataset.digest": f"sha256:{week:064x}", "tocsin.dataset.format": "parquet",
            "tocsin.dataset.rows": 2000 + week, "tocsin.dataset.bytes": 90_000, "tocsin.dataset.label": "default",
            "tocsin.dataset.labels": '{"0": 1561, "1": 439}', "tocsin.dataset.inputs": ["sha256:raw"],
        }
        for week in range(12)
    ]  # fmt: skip
    _append(app, "dataset", snapshots)
    letters = [
        {
            "@timestamp": day, "error.message": "@timestamp: required field is missing", "event.hash": "h",
            "tocsin.dead_letter.stream": "access", "tocsin.dead_letter.position": f"access.ndjson:{n}",
            "tocsin.dead_letter.bytes": 120, "event.original": "{}", "tocsin.source.id": "access-1",
        }
        for n, day in enumerate(days[::20])
    ]  # fmt: skip
    _append(app, "dead_letter", letters)
    deeds = [
        {
            "@timestamp": day, "event.action": "baseline pin", "user.name": "ana", "event.reason": "reviewed",
            "tocsin.audit.object": "feature_drift/1", "tocsin.audit.details": '{"old": null}',
        }
        for day in days[::10]
    ]  # fmt: skip
    _append(app, "audit", deeds)


def _fill_verdicts(app: App) -> None:
    """Every detector and Tocsin's own health: scores of every day, findings of a few, windows that were not judged."""
    from tocsin.plugin import Detector

    families = {id: str(getattr(d, "family", "other")) for id, d in discover().of(Detector).items()}  # type: ignore[type-abstract]
    subjects = {
        "data_integrity": ("dataset", "applications"),
        "usage": ("principal", "maria"),
        "access": ("principal", "maria"),
    }
    scores, findings, runs = [], [], []
    for detector, family in (families | {"coverage": "health"}).items():
        kind, id = subjects.get(family, ("model", MODEL))
        for n, start in enumerate(START + n * _DAY for n in range(28, 84)):
            key = {"@timestamp": start + _DAY, "event.id": f"rest-{detector}-{n}", "tocsin.detector.id": detector,
                   "tocsin.window.start": start, "tocsin.window.end": start + _DAY}  # fmt: skip
            found, failed = n % 14 == 13, n % 20 == 19
            verdict = {"tocsin.subject.type": kind, "tocsin.subject.id": id, "tocsin.score": 3.0 if found else 0.4,
                       "tocsin.threshold": 1.0, "event.reason": "made for the dashboards"}  # fmt: skip
            scores.append(key | verdict)
            runs.append(key | {
                "event.action": "failed" if failed else "evaluated", "event.duration": 4 * 10**7, "tocsin.run.rows": 10,
                "tocsin.run.scores": 1, "tocsin.run.findings": int(found), "tocsin.run.attempt": 1,
                "error.type": "raised" if failed else None, "event.reason": "it raised" if failed else None,
            })  # fmt: skip
            if found:
                about = Subject(kind, id)
                findings.append(key | verdict | {
                    "event.action": "found", "tocsin.detector.family": family, "tocsin.severity": "high",
                    "tocsin.finding.id": finding_id(detector, start, start + _DAY, about),
                    "tocsin.evidence": '{"psi": 0.61}', "tocsin.playbook.id": "model-drift",
                    "threat.technique.id": ["AML.T0031"],
                })  # fmt: skip
    for stream, rows in (("score", scores), ("finding", findings), ("run", runs)):
        _append(app, stream, rows)


def _append(app: App, stream: str, rows: list[dict[str, Any]]) -> None:
    """Without the columns that a stream does not have (yet)."""
    known = {*STREAMS[stream].by_name, "event.id"}
    small_story.append(app, stream, [{k: v for k, v in row.items() if k in known} for row in rows])


def _ms(time: datetime) -> int:
    return int(time.timestamp() * 1000)
