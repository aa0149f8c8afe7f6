"""Shared by the fault tests: a source of calls, a slow detector, a webhook sink, workers, and checks after a fault."""

from __future__ import annotations

import http.server
import json
import os
import random
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.nodes.node import with_pause
from tocsin.clock import ScriptedClock
from tocsin.config.load import load
from tocsin.contract.plugin import Batch
from tocsin.contract.streams import ID
from tocsin.pipeline.detecting.detect import Detect
from tocsin.pipeline.detecting.records import newest_findings
from tocsin.pipeline.ingesting.ingest import Ingest
from tocsin.store.embedded.delta import DeltaStore
from tocsin.store.protocol import Store

TOCSIN = Path(sys.executable).with_name("tocsin")
START = datetime(2026, 3, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)
#: Writes to a file when it begins, waits, then scores the share of calls that failed.
PLUGIN = '''
import os, pathlib, time, uuid
import polars as pl
from tocsin import Detector, NoParams, Requires, Score, Subject

class SlowCalls(Detector[NoParams]):
    """Slow, and writes to a file when it evaluates."""
    id, requires, threshold, playbook = "slow_calls", Requires("inference", window="1h"), 0.3, "model-drift"
    def score(self, window):
        begun = os.environ.get("TOCSIN_TEST_BEGUN")
        rows = window.rows("inference", ["tocsin.model.name", "event.outcome"])
        if begun:
            (pathlib.Path(begun) / uuid.uuid4().hex).touch()
            time.sleep(float(os.environ["TOCSIN_TEST_SECONDS"]))
        shares = rows.group_by("tocsin.model.name").agg((pl.col("event.outcome") == "failure").mean())
        for model, share in shares.sort("tocsin.model.name").iter_rows():
            yield Score(Subject("model", model), share, f"{share:.0%} failed")
'''
CONFIG = """
namespace: {namespace}
plugins: [slow_calls_plugin]
store: {{type: elasticsearch, hosts: ["{url}"], replicas: 0}}
collectors: [{{type: ndjson, params: {{paths: [inference.ndjson]}}}}]
detectors: {{feature_drift: {{enabled: false}}, prediction_drift: {{enabled: false}}, model_extraction: {{enabled: false}}}}
alerting:
  route: {{receiver: sink, group_by: [detector, subject_id], group_wait: 0s}}
  receivers: {{sink: {{type: webhook, url: "http://127.0.0.1:{port}/", secret: {{env: SECRET}}, allow_private: true}}}}
schedule: {{collect: 1s, detect: 1s, alert: 1s, maintain: 1h, health: 1h}}
worker: {{lease: 3s, environment: [TOCSIN_TEST_BEGUN, TOCSIN_TEST_SECONDS]}}
"""


class Calls:
    """Calls of a model for each hour; every third hour half of them fail."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self.events: list[dict[str, Any]] = []

    def hour(self, hour: int, count: int = 100, word: str = "") -> list[dict[str, Any]]:
        share = 0.5 if hour % 3 == 0 else 0.05
        events = [
            {
                "@timestamp": f"{START + hour * HOUR + i * HOUR / count:%Y-%m-%dT%H:%M:%SZ}",
                "event": {
                    "id": f"{hour}-{word}{i}",
                    "outcome": "failure" if self._rng.random() < share else "success",
                },
                "tocsin": {"model": {"name": f"model-{hour}"}},
            }
            for i in range(count)
        ]
        self.events += events
        return events


def take(store: Store, clock: ScriptedClock, events: list[dict[str, Any]], key: int = 0) -> None:
    """Ingest events."""
    lines = b"".join(json.dumps(event).encode() + b"\n" for event in events)
    Ingest(store, clock).take(Batch("inference", "test", {"file": key}, lines=lines))


def verdicts(store: Store) -> dict[str, tuple[str, float, str]]:
    """The newest findings of the slow detector: id to subject, score and severity."""
    rows = newest_findings(store).filter(_own()).to_dicts()
    return {
        r["tocsin.finding.id"]: (r["tocsin.subject.id"], round(r["tocsin.score"], 9), r["tocsin.severity"])
        for r in rows
    }


def _own() -> Any:
    import polars as pl

    return pl.col("tocsin.detector.id") == "slow_calls"


def undisturbed(folder: Path, events: list[dict[str, Any]]) -> dict[str, tuple[str, float, str]]:
    """What an undisturbed run finds in all of the events."""
    clock = ScriptedClock(START + 1000 * HOUR)
    store = DeltaStore.open(folder / "undisturbed", clock=clock)
    take(store, clock, events)
    Detect(store, clock).run([slow_calls(folder)])
    found = verdicts(store)
    store.close()
    return found


def slow_calls(folder: Path) -> Any:
    """The slow detector's setting, in this process."""
    from tocsin.worker import assembly

    (folder / "slow_calls_plugin.py").write_text(PLUGIN)
    sys.path.insert(0, str(folder))
    try:
        (folder / "plugin.yaml").write_text("plugins: [slow_calls_plugin]\n")
        config = load(folder / "plugin.yaml")
        settings = assembly.settings(config, assembly.catalogue(config))
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop("slow_calls_plugin", None)
    return next(s for s in settings if s.detector.id == "slow_calls")


class _Sink(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.taken[self.headers["webhook-id"]].append(json.loads(body))  # type: ignore[attr-defined]
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def sink() -> Iterator[http.server.ThreadingHTTPServer]:
    """A webhook receiver; `taken` holds the notifications by key."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Sink)
    server.taken = defaultdict(list)  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


class Site:
    """A folder with a source and a configuration, and the workers that are started in it."""

    def __init__(self, folder: Path, url: str, namespace: str, port: int, seconds: float) -> None:
        self.folder, self.calls = folder, Calls(1)
        self.begun = folder / "begun"
        self.begun.mkdir()
        (folder / "slow_calls_plugin.py").write_text(PLUGIN)
        (folder / "inference.ndjson").touch()
        (folder / "tocsin.yaml").write_text(CONFIG.format(namespace=namespace, url=url, port=port))
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(folder),
            "TOCSIN_TEST_BEGUN": str(self.begun),
            "TOCSIN_TEST_SECONDS": str(seconds),
            "SECRET": "whsec_" + "c2VjcmV0" * 4,
        }
        self.workers: list[subprocess.Popen[bytes]] = []

    def grow(self, hour: int, count: int = 100, word: str = "") -> None:
        """Add the calls of an hour to the source."""
        with (self.folder / "inference.ndjson").open("a") as file:
            file.writelines(json.dumps(e) + "\n" for e in self.calls.hour(hour, count, word))

    def start(self) -> subprocess.Popen[bytes]:
        """Start a worker."""
        with (self.folder / "log").open("ab") as log:
            worker = subprocess.Popen(
                [TOCSIN, "run"], cwd=self.folder, env=self.environment, stdout=log, stderr=log
            )
        self.workers.append(worker)
        return worker

    def at_work(self) -> int:
        """How many evaluations have begun."""
        return len(list(self.begun.iterdir()))

    def works(self, before: int) -> bool:
        """Whether more evaluations have begun."""
        return self.at_work() > before

    def until(self, true: Callable[[], object], seconds: float = 60) -> None:
        """Wait for something to become true."""
        for _ in range(int(seconds * 20)):
            if true():
                return
            with_pause(0.05)
        pytest.fail(f"not within {seconds} s:\n{(self.folder / 'log').read_text()[-3000:]}")

    def close(self) -> None:
        """Kill every worker."""
        for worker in self.workers:
            worker.kill()
            worker.wait()


def check(site: Site, store: Store, taken: dict[str, list[Any]], hours: int) -> None:
    """Every event once, every window evaluated, the same findings, each alert notified under one key."""
    ids = store.scan("inference", columns=[ID]).collect()[ID]
    assert ids.len() == ids.n_unique() == len(site.calls.events)
    runs = store.scan("run", columns=["tocsin.window.start", "event.action", "tocsin.detector.id"]).collect()
    runs = runs.filter(_own())
    done = runs.filter(runs["event.action"].is_in(["evaluated", "late", "filled"]))
    assert set(done["tocsin.window.start"]) == {START + h * HOUR for h in range(hours)}
    expected = undisturbed(site.folder, site.calls.events)
    assert verdicts(store) == expected
    notified: dict[str, set[str]] = defaultdict(set)
    for key, bodies in taken.items():
        assert len({json.dumps([a["labels"] for a in body["alerts"]]) for body in bodies}) == 1
        for alert in bodies[0]["alerts"]:
            if alert["status"] == "firing":
                notified[alert["labels"]["subject_id"]].add(key)
    assert set(notified) == {subject for subject, _, _ in expected.values()}
