"""A store with a history of every kind, and what must be the same of it after a copy."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import polars as pl

from tocsin.clock import ScriptedClock
from tocsin.contract.findings import Score, Severity, Subject
from tocsin.contract.frames import conform
from tocsin.contract.plugin import Detector, NoParams, Requires
from tocsin.contract.streams import ID, INGESTED, STREAMS, TIME
from tocsin.contract.windows import Baseline, Window
from tocsin.pipeline.detecting.baselines import Baselines
from tocsin.pipeline.detecting.detect import Detect, Setting
from tocsin.pipeline.detecting.records import newest_findings
from tocsin.store.protocol import Appended, Store
from tocsin_alerting.context import Settings
from tocsin_alerting.engine import Alerting
from tocsin_alerting.playbooks.loading import load_playbooks
from tocsin_alerting.routes import parse_route

START, HOUR = datetime(2026, 3, 1, tzinfo=UTC), timedelta(hours=1)


class Count(Detector[NoParams]):
    """How many accesses a principal made: a rule."""

    id = "count"
    requires = Requires("access", window="1h")
    threshold = 10.0

    def score(self, window: Window) -> Iterator[Score]:
        for user, count in window.summary("access", ["user.id"]).iter_rows():
            yield Score(Subject("principal", user), float(count), f"{count} accesses")


class Learned(Detector[NoParams]):
    """The same against the most of a baseline."""

    id = "learned"
    requires = Requires("access", window="30m", baseline="1d")

    def fit(self, window: Window) -> Baseline | None:
        rows = window.summary("access", ["user.id"])
        return Baseline({"rows": rows}, {"most": max(rows["count"].to_list())}) if rows.height else None

    def score(self, window: Window) -> Iterator[Score]:
        for user, count in window.summary("access", ["user.id"]).iter_rows():
            yield Score(Subject("principal", user), float(count), f"{count} accesses")


class Bench:
    """A store, its detection and its alerting, at a clock."""

    def __init__(self, store: Store, clock: ScriptedClock) -> None:
        self.store, self.clock = store, clock
        self.settings = [Setting(Count(NoParams())), Setting(Learned(NoParams()))]
        route = parse_route({"receiver": "nobody"})
        settings = Settings(route, Severity.LOW)
        self.alerting = Alerting(store, clock, settings, {}, load_playbooks())

    def add(self, hour: int, count: int, prefix: str = "") -> None:
        rows = {
            TIME: [START + hour * HOUR + timedelta(seconds=i) for i in range(count)],
            ID: [f"{prefix}{hour}-{i}" for i in range(count)],
            "user.id": ["ana"] * count,
            "labels": ['{"a":{"b":1.0}}'] * count,
            "user.roles": [["b", "a"]] * count,
        }
        self.store.append("access", conform(pl.DataFrame(rows), "access"))

    def detect(self) -> list[tuple[str, int]]:
        """What a new process evaluates: detectors and hours, each once, whatever it records of it."""
        runs = Detect(self.store, self.clock).run(self.settings)
        return sorted({(run.detector, (run.start - START) // HOUR) for run in runs})

    def simulate(self, hours: int) -> None:
        """Hours of accesses, now and then detection and alerting; the twentieth becomes worse and worse."""
        for hour in range(hours):
            self.add(hour, 12 if hour % 7 == 5 else 5)
            self.clock.set(START + (hour + 1) * HOUR)
            if hour % 4 != 0:
                continue
            self.detect()
            if hour == 20:
                for late in range(3):
                    self.add(hour, 10, f"late{late}-")
                    self.detect()
            self.alerting.tick()
        self.alerting.acknowledge(self.alerting.incidents()[0].id, "ana", "known")
        detect = Detect(self.store, self.clock)
        version = detect.fit(self.settings[1], START + 24 * HOUR, START)
        detect.baselines.pin("learned", version.number)
        for stream in STREAMS.keys() - {"finding", "score", "run"}:
            row = {TIME: [START], ID: [f"one of {stream}"], "user.id": ["ana"]}
            self.store.append(
                stream, conform(_known(row, stream), stream), {f"{stream} file": 17, "b/c d": 2**40}
            )
        self.detect()
        self.alerting.tick()


def _known(row: dict[str, Any], stream: str) -> pl.DataFrame:
    return pl.DataFrame({name: value for name, value in row.items() if name in STREAMS[stream].by_name})


class Watched:
    """A store of which something is done before each append, such as raising."""

    def __init__(self, store: Store, before: Any) -> None:
        self._store, self._before = store, before

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def append(self, *arguments: Any) -> Appended:
        self._before()
        return self._store.append(*arguments)


def watched(store: Store, before: Any) -> Store:
    """A `Watched` as the store that it stands for."""
    return cast("Store", Watched(store, before))


def events(store: Store, stream: str) -> pl.DataFrame:
    """All rows of a stream in one order, without what the store itself stamps."""
    return store.scan(stream).collect().drop(INGESTED).sort(TIME, ID)


def facts(store: Store, clock: ScriptedClock) -> dict[str, Any]:
    """What people see of a store."""
    baselines = Baselines(store, clock)
    versions = baselines.versions()
    revisions = store.scan("finding", columns=["tocsin.finding.id", ID, INGESTED]).collect()
    return {
        "findings": newest_findings(store).drop(INGESTED).to_dicts(),
        "revisions": revisions.sort("tocsin.finding.id", INGESTED, ID).drop(INGESTED).rows(),
        "alerts": [alert.to_dict() for alert in Bench(store, clock).alerting.alerts()],
        "incidents": [entry.value for entry in store.entries("incident")],
        "baselines": [version.to_dict() for version in versions],
        "digests": [baselines.load(version).digest for version in versions],
        "checkpoints": {stream: dict(store.checkpoints(stream)) for stream in STREAMS},
        "files": store.file_names(),
    }
