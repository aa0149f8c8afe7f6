"""An installation of Tocsin with four weeks of history, pinned baselines, sources in files, and a webhook on loopback."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.time_to_detect.traffic import DATASETS, traffic
from tests.generators.data_integrity import applications
from tocsin.clock import SystemClock, format_time
from tocsin.config.load import load
from tocsin.contract.findings import Outcome
from tocsin.contract.frames import conform
from tocsin.errors import BaselineError
from tocsin.pipeline.detecting.baselines import Version
from tocsin.pipeline.detecting.detect import Detect
from tocsin.pipeline.detecting.records import Run
from tocsin.pipeline.detecting.settings import Setting
from tocsin.worker.app import App

DAY = timedelta(days=1)
_ROWS = 600  # of a delivery
_CONFIG = """
namespace: {namespace}
store: {store}
collectors:
  - {{type: ndjson, params: {{paths: [calls], stream: inference}}}}
  - {{type: ndjson, params: {{paths: [registry], stream: access}}}}
  - {{type: dataset, params: {{paths: [feeds], label: default}}}}
alerting:
  route: {{receiver: pages, group_by: [detector, subject_id]}}
  receivers:
    pages: {{type: webhook, url: "http://127.0.0.1:{port}/", allow_private: true}}
"""


class Pages:
    """A webhook on loopback: when each subject was notified for the first time."""

    def __init__(self) -> None:
        self.first: dict[tuple[str, str], float] = {}
        pages = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(200)
                self.end_headers()
                for alert in json.loads(content)["alerts"]:
                    labels = alert["labels"]
                    pages.first.setdefault((labels["detector"], labels["subject_id"]), time.time())

            def log_message(self, *_: Any) -> None:
                """Print nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class _Unread:
    """Takes the windows of the history as evaluated: the worker has only today's windows to evaluate.

    To evaluate them takes more than half an hour on a cluster.
    """

    def attempt(self, setting: Setting, start: datetime, *_: Any, **__: Any) -> Run:
        detector = setting.detector
        return Run(detector.id, start, start + detector.requires.window, Outcome.EVALUATED)

    def fit(self, setting: Setting, end: datetime, start: datetime | None = None) -> Version:
        raise BaselineError(f"{setting.detector.id} has no baseline from {start} to {end}")


@dataclass(frozen=True, slots=True)
class Installation:
    """A store (`delta`, or the URL of an Elasticsearch server), its namespace, and the history that is made."""

    store: str
    namespace: str
    seed: int
    calls: int  # of each day; with 250 of each principal, the traffic of some minutes is no unusual day

    def install(self, folder: Path, port: int, today: datetime) -> App:
        """Write the configuration and four weeks of history before `today`, and pin baselines that are fitted on it."""
        for name in ("calls", "registry", "feeds"):
            (folder / name).mkdir()
        path = "{path: store}"
        kind = (
            path
            if self.store == "delta"
            else f'{{type: elasticsearch, hosts: ["{self.store}"], replicas: 0}}'
        )
        (folder / "tocsin.yaml").write_text(_CONFIG.format(namespace=self.namespace, store=kind, port=port))
        app = App(load(folder / "tocsin.yaml"), SystemClock())
        self._history(folder, app, today)
        app.collect()
        for setting in app.settings:
            if setting.detector.requires.baseline is not None:
                with suppress(BaselineError):  # of a detector whose stream is empty
                    version = app.detect.fit(setting, today, today - 28 * DAY)
                    app.detect.baselines.pin(version.detector, version.number)
        Detect(app.store, app.clock, _Unread()).run(app.settings)
        return app

    def _history(self, folder: Path, app: App, today: datetime) -> None:
        rng = np.random.default_rng(self.seed)
        for number in range(28, 0, -1):
            events = list(traffic(today - number * DAY, 86_400, self.calls, (), rng))
            for stream in ("inference", "access"):
                rows = pl.DataFrame([event for _, name, event in events if name == stream])
                app.store.append(stream, conform(rows, stream))
        for number in range(12, 0, -1):
            for place, name in enumerate(DATASETS):
                rows = applications(_ROWS, seed=1000 * number + place)
                deliver(folder, name, rows, today - 2 * number * DAY)


def deliver(folder: Path, name: str, rows: pl.DataFrame, at: datetime) -> None:
    """Write a delivery of a dataset with the sidecar of its writer."""
    path = folder / "feeds" / name / f"{at:%Y%m%d%H%M%S}.parquet"
    path.parent.mkdir(exist_ok=True)
    sidecar = {"writer": "feed", "time": format_time(at), "name": name}
    path.with_name(f"{path.name}.meta.json").write_text(json.dumps(sidecar))
    rows.write_parquet(path.with_suffix(".part"))
    path.with_suffix(".part").rename(path)


@contextmanager
def worker(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`tocsin run` in a process of its own, with its log in `worker.log`."""
    command = [sys.executable, "-m", "tocsin", "-c", str(folder / "tocsin.yaml"), "run"]
    with (folder / "worker.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(120)
