"""`tocsin run` as an operator sees it: metrics, health, logs, a heartbeat, a new configuration without a restart."""

from __future__ import annotations

import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import ROOT
from tests.nodes.node import free_port, with_pause

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT / "examples" / "plugin")}
TOCSIN = Path(sys.executable).with_name("tocsin")
CONFIG = """
plugins: [tocsin_failed_calls]
collectors: [{{type: ndjson, params: {{paths: [inference.ndjson]}}}}]
detectors:
  feature_drift: {{enabled: false}}
  prediction_drift: {{enabled: false}}
  model_extraction: {{enabled: false}}
  calls: {{type: failed_calls, threshold: 0.5}}
schedule: {{collect: 1s, detect: 1s, alert: 1s, maintain: 1h, health: 1s}}
monitoring: {{listen: "127.0.0.1:{port}", heartbeat: {{file: heartbeat.url}}, heartbeat_every: 1s}}
"""


class Heart(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.beats.append(self.path)  # type: ignore[attr-defined]
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def heart() -> Iterator[http.server.ThreadingHTTPServer]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Heart)
    server.beats = []  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


class Worker:
    def __init__(self, folder: Path, heart: http.server.ThreadingHTTPServer) -> None:
        self.folder, self.port = folder, free_port()
        self.configure(CONFIG)
        (folder / "heartbeat.url").write_text(f"http://127.0.0.1:{heart.server_address[1]}/ping/secret")
        self.log = folder / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [TOCSIN, "run"], cwd=folder, stdout=log, stderr=log, env=ENVIRONMENT
            )

    def configure(self, config: str) -> None:
        (self.folder / "tocsin.yaml").write_text(config.format(port=self.port))

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except (urllib.error.URLError, OSError):
            return 0, ""

    def metric(self, name: str, **labels: str) -> float:
        families = text_string_to_metric_families(self.get("/metrics")[1])
        values = [
            s.value
            for f in families
            for s in f.samples
            if s.name == name and labels.items() <= s.labels.items()
        ]
        return sum(values)

    def lines(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def until(self, true: Callable[[], object], seconds: float = 60) -> None:
        for _ in range(int(seconds * 10)):
            if true():
                return
            assert self.process.poll() is None, self.log.read_text()
            with_pause(0.1)
        pytest.fail(f"not within {seconds} s:\n{self.log.read_text()[-3000:]}")

    def logged(self, event: str) -> list[dict[str, object]]:
        return [line for line in self.lines() if line["event"] == event]


@pytest.fixture
def worker(tmp_path: Path, heart: http.server.ThreadingHTTPServer) -> Iterator[Worker]:
    lines = [
        {
            "@timestamp": f"2026-11-20T06:{i:02d}:00Z",
            "event": {"id": str(i), "outcome": "failure"},
            "tocsin": {"model": {"name": "credit"}},
        }
        for i in range(20)
    ]
    (tmp_path / "inference.ndjson").write_text("\n".join(map(json.dumps, lines)) + "\ngarbage {\n")
    worker = Worker(tmp_path, heart)
    worker.until(lambda: worker.get("/healthz")[0] == 200)
    yield worker
    worker.process.kill()
    worker.process.wait()


def test_a_worker_is_watched(worker: Worker, heart: http.server.ThreadingHTTPServer) -> None:
    worker.until(lambda: worker.metric("tocsin_windows_total", detector="calls", outcome="evaluated"))
    assert worker.metric("tocsin_events_total", stream="inference", outcome="accepted") == 20
    assert worker.metric("tocsin_events_total", stream="inference", outcome="rejected") == 1
    assert worker.metric("tocsin_dead_letters_total", stream="inference") == 1
    assert worker.metric("tocsin_ingest_lag_seconds", stream="inference") > 3600
    assert worker.metric("tocsin_window_duration_seconds_count") >= 1
    assert worker.metric("tocsin_coverage_gaps", detector="calls") == 0
    assert worker.metric("tocsin_up") == 1
    assert worker.get("/readyz") == (200, "ok\n")
    assert worker.get("/else")[0] == 404
    worker.until(lambda: "/ping/secret" in heart.beats)  # type: ignore[attr-defined]
    worker.process.send_signal(signal.SIGTERM)
    assert worker.process.wait(30) == 0
    assert "secret" not in worker.log.read_text()
    (collected,) = worker.logged("collected")
    assert (collected["accepted"], collected["rejected"], collected["level"]) == (20, 1, "info")
    assert worker.logged("worker stopped")


def test_a_new_configuration_is_taken_and_a_wrong_one_changes_nothing(worker: Worker) -> None:
    worker.until(lambda: worker.metric("tocsin_windows_total", detector="calls"))
    worker.configure(CONFIG.replace("threshold: 0.5", "threshold: high"))
    worker.process.send_signal(signal.SIGHUP)
    worker.until(lambda: worker.logged("configuration rejected, the current one stays in force"))
    (refused,) = worker.logged("configuration rejected, the current one stays in force")
    assert str(refused["error"]).startswith("tocsin.yaml:8: ")
    assert worker.get("/readyz") == (200, "ok\n")

    worker.configure(CONFIG.replace("  calls:", "  others:"))
    worker.process.send_signal(signal.SIGHUP)
    worker.until(lambda: worker.logged("configuration reloaded"))
    worker.until(lambda: worker.metric("tocsin_windows_total", detector="others"))
    worker.process.send_signal(signal.SIGTERM)
    assert worker.process.wait(30) == 0


def test_an_address_that_is_taken_is_said_so(worker: Worker, tmp_path: Path) -> None:
    second = subprocess.run(
        [TOCSIN, "run"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=ENVIRONMENT,
    )
    assert second.returncode == 1
    last = second.stderr.splitlines()[-1]
    assert last.startswith(f"error: monitoring.listen: cannot listen on 127.0.0.1:{worker.port}: ")
