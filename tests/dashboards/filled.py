"""A namespace of a real cluster in which the demo was lived through, for the dashboards to show.

The demo ends well: nothing of Tocsin's own fails, every alert is over, and the lender reports no lineage. What it
spares is added, so that every panel has something to show.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from tests.dashboards.cluster import Elasticsearch
from tests.dashboards.datasources import of_tocsin
from tests.dashboards.ranges import Range
from tocsin.contract.alerts import Action, Alert, AlertState
from tocsin.contract.evaluation import Judgement
from tocsin.contract.findings import Family, Finding, Outcome, Score, Severity, Subject
from tocsin.contract.frames import conform
from tocsin.contract.incidents import Incident, IncidentState
from tocsin.demo.attacks import week_start
from tocsin.demo.lender import MODEL, START, WEEKS
from tocsin.demo.outcome import Story
from tocsin.pipeline.detecting.recording import write_runs
from tocsin.pipeline.detecting.records import Run
from tocsin.worker.app import App
from tocsin_alerting.history import append
from tocsin_alerting.records import Table

#: A namespace that holds all of this already: then it is not told again.
TOLD = os.environ.get("TOCSIN_TEST_DASHBOARDS_NAMESPACE", "")
END = week_start(START, WEEKS)
_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Filled:
    """The cluster and the namespace of the demo, the time of its events, and its result; None if it was simulated before."""

    cluster: Elasticsearch
    namespace: str
    range: Range
    story: Story | None


def fill(url: str, folder: Path) -> Filled:
    """Live through the demo in a namespace of its own."""
    from tocsin.demo.story import simulate

    namespace, story = TOLD, None
    if not namespace:
        app, story = simulate(folder / "demo", 1, lambda _: None, url)
        add_what_is_spared(app)
        namespace = app.config.namespace
        app.close()
    found = Filled(Elasticsearch(url), namespace, Range(_ms(START), _ms(END) + 3_600_000), story)
    for source in of_tocsin(found.namespace).values():
        found.cluster.refresh(source.index)
    return found


def add_what_is_spared(app: App) -> None:
    """Alerts that are open, one of each severity; things that fail; lineage; and who wrote a dataset."""
    alerts = Table(app.store, "alert", Alert)
    model = next(alert for alert in app.alerting.alerts() if alert.incident)
    since = END - 2 * _DAY
    for severity in Severity:
        family = Family.HEALTH if severity is Severity.LOW else Family.ACCESS
        given: dict[str, Any] = {"state": AlertState.FIRING, "resolved": None, "acknowledged": None}
        about = Subject("principal", "maria")
        alerts.save(
            replace(
                model, id=f"{model.fingerprint}-{severity}", severity=severity, started=since, raised=since + _DAY,
                changed=since + _DAY, family=family.value, subject=about, **given,
            )
        )  # fmt: skip
    incidents = Table(app.store, "incident", Incident)
    case = app.alerting.incident(model.incident)
    incidents.save(replace(case, id=f"{case.id}-open", opened=since, owner="", closed=None))
    over: dict[str, Any] = {"state": IncidentState.CLOSED, "closed": since + _DAY}
    incidents.save(replace(case, id=f"{case.id}-closed", opened=since, **over))
    append(
        app.store, [model.transition(Action.NOTIFICATION_FAILED, since, receiver="oncall", notification="n1")]
    )
    write_runs(
        app.store, [Run("feature_drift", since, since + _DAY, Outcome.FAILED, "raised", fault="raised")]
    )
    finding = Finding(
        "early",
        "feature_drift",
        Subject("model", MODEL),
        Severity.LOW,
        1.2,
        1.0,
        since,
        since + _HOUR,
        (),
        "moved",
        {},
    )
    judged = Judgement(Score(finding.subject, 1.2, "moved"), 1.0, replace(finding, early=True))
    early = Run(
        "feature_drift", since, since + _HOUR, Outcome.EARLY, judged=(judged,), evaluated=since + _HOUR / 2
    )
    write_runs(app.store, [early])
    write_runs(app.store, [replace(early, outcome=Outcome.EVALUATED, judged=(), evaluated=since + _HOUR)])
    _append(
        app,
        "dead_letter",
        {"error.message": "no time", "tocsin.dead_letter.stream": "access", "tocsin.source.id": "s"},
    )
    train = {
        "event.action": "train",
        "message": "trained",
        "tags": [MODEL],
        "tocsin.pipeline.name": "credit-training",
    }
    lineage = {
        "tocsin.pipeline.inputs": ["sha256:in"],
        "tocsin.model.name": MODEL,
        "tocsin.pipeline.run_id": "w1",
    }
    _append(app, "pipeline", {**train, **lineage})
    _append(
        app,
        "dataset",
        {"user.id": "maria", "tocsin.dataset.name": "applications", "tocsin.dataset.digest": "sha256:in"},
    )


def _append(app: App, stream: str, row: dict[str, Any]) -> None:
    full = {"@timestamp": END - _DAY, "event.id": f"spared-{stream}", **row}
    app.store.append(stream, conform(pl.DataFrame([full]), stream))


def _ms(time: datetime) -> int:
    return int(time.timestamp() * 1000)
