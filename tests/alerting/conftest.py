"""A scene for the alert path: a real store in a folder, a scripted clock, receivers that record notifications."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec
import polars as pl
import pytest

from tests.stores import open_store
from tocsin.clock import ScriptedClock, parse_length
from tocsin.contract.alerts import Alert, Notification
from tocsin.contract.findings import Severity, Subject, finding_id
from tocsin.contract.frames import conform
from tocsin.contract.plugin import NoParams, Receiver
from tocsin.errors import DeliveryError
from tocsin_alerting.context import Settings
from tocsin_alerting.engine import Alerting
from tocsin_alerting.playbooks.loading import load_playbooks
from tocsin_alerting.routes import parse_route
from tocsin_alerting.tick_result import TickResult

START = datetime(2026, 3, 2, tzinfo=UTC)
DAY = timedelta(days=1)
MODEL, DATASET = Subject("model", "credit"), Subject("dataset", "applications")
ROUTE = {"receiver": "oncall", "group_by": ["detector", "subject_id"]}
PLAYBOOKS = load_playbooks()


class Remembering(Receiver[NoParams]):
    """Records the notifications; fails while `error` is set."""

    id = "remembering"

    def __init__(self) -> None:
        super().__init__(NoParams())
        self.sent: list[Notification] = []
        self.tried = 0
        self.error: Exception | None = None
        self.on_send: Callable[[], Any] = lambda: None

    def send(self, notification: Notification) -> None:
        self.tried += 1
        self.on_send()
        if self.error is not None:
            raise self.error
        self.sent.append(notification)

    def fail(self, reason: str = "down", *, retry: bool = True, after: float | None = None) -> None:
        self.error = DeliveryError(reason, retry=retry, after=after)


class Scene:
    """Writes results of detection day by day, and runs the alert path on them."""

    def __init__(self, folder: Path, route: Mapping[str, Any] = ROUTE, receivers: int = 1) -> None:
        self.clock = ScriptedClock(START + 30 * DAY)
        self.store = open_store(folder / "store", self.clock)
        names = ["oncall", "second", "third"][:receivers]
        self.receivers = {name: Remembering() for name in names}
        self.rows: dict[str, list[Mapping[str, Any]]] = {"finding": [], "run": []}
        self.route(route)

    @property
    def oncall(self) -> Remembering:
        return self.receivers["oncall"]

    def route(self, route: Mapping[str, Any], min_severity: Severity = Severity.HIGH) -> None:
        """Restart with this route tree."""
        self.settings = Settings(parse_route(route), min_severity)
        self.restart()

    def restart(self, store: Any = None) -> None:
        """A new process over the same store."""
        self.alerting = Alerting(store or self.store, self.clock, self.settings, self.receivers, PLAYBOOKS)

    def finding(
        self,
        day: int,
        severity: str = "high",
        subject: Subject = MODEL,
        detector: str = "prediction_drift",
        changes: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        """A finding about the window of a day (day 0 is START)."""
        start = START + day * DAY
        score = 1.0 + Severity(severity).rank
        row = {
            "@timestamp": start + DAY,
            "event.id": f"{detector} {day} {subject} {severity} {dict(changes)}",
            "event.action": "found",
            "event.reason": f"moved by {score}",
            "tocsin.finding.id": finding_id(detector, start, start + DAY, subject),
            "tocsin.detector.id": detector,
            "tocsin.window.start": start,
            "tocsin.window.end": start + DAY,
            "tocsin.subject.type": subject.type,
            "tocsin.subject.id": subject.id,
            "tocsin.severity": severity,
            "tocsin.score": score,
            "tocsin.threshold": 1.0,
            "tocsin.evidence": msgspec.json.encode({"psi": score, "rows": 1893}).decode(),
            "tocsin.playbook.id": "model-drift",
            "threat.technique.id": ["AML.T0031", "AML.T0015"],
        }
        self.append("finding", {**row, **changes})

    def withdraw(self, day: int) -> None:
        """Late data withdrew a finding, as `tocsin.pipeline.detecting.detect` writes it."""
        self.finding(day, "info", changes={"event.action": "withdrawn"})

    def evaluated(self, day: int, detector: str = "prediction_drift", action: str = "evaluated") -> None:
        """A run record of the window of a day."""
        start = START + day * DAY
        row = {
            "@timestamp": start + DAY,
            "event.id": f"{detector} {day} {action}",
            "event.action": action,
            "tocsin.detector.id": detector,
            "tocsin.window.start": start,
            "tocsin.window.end": start + DAY,
        }
        self.append("run", row)

    def append(self, stream: str, row: Mapping[str, Any]) -> None:
        """Buffer a row. All rows are appended before the next tick, findings before runs."""
        self.rows[stream].append(row)

    def flush(self) -> None:
        for stream, rows in self.rows.items():
            if rows:
                self.store.append(stream, conform(pl.DataFrame(rows), stream))
                rows.clear()

    def tick(self, after: str = "0s", *, last: bool = False) -> TickResult:
        self.flush()
        self.clock.advance(parse_length(after))
        return self.alerting.tick(last=last)

    @property
    def alerts(self) -> list[Alert]:
        return sorted(self.alerting.alerts(), key=lambda alert: alert.started)

    def history(self, *columns: str) -> list[tuple[Any, ...]]:
        """Rows of alert_history in the order in which they were written."""
        rows = self.store.scan("alert_history").sort("event.ingested", maintain_order=True).collect()
        return rows.select(columns or ("event.action",)).rows()

    @property
    def actions(self) -> list[str]:
        return [action for (action,) in self.history("event.action")]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.store.close()
