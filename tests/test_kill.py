"""kill -9 at random points: after a restart no event is lost or counted twice, nobody is told twice.

A source grows all the while, with duplicates and garbage in it. Each process is killed at a random point of
what it takes to do its work, then started again.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.faults.scenario import sink
from tests.stores import default_store
from tocsin.contract.streams import ID

pytestmark = pytest.mark.full

KILLS = 20
TOCSIN = Path(sys.executable).with_name("tocsin")
HOURS = 24


class Source:
    """A growing ndjson file of calls; every hour of it half of the calls of one model fail."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._path, self._rng = folder / "inference.ndjson", random.Random(seed)
        self.distinct = self.garbage = 0
        self._path.write_text("")

    def grow(self, hour: int, events: int) -> None:
        lines: list[str] = []
        for i in range(events):
            self.distinct += 1
            event = {
                "@timestamp": f"2026-03-02T{hour % HOURS:02d}:{i * 3600 // events // 60:02d}:00Z",
                "event": {"id": f"{hour}-{i}", "outcome": "failure" if i % 2 else "success"},
                "tocsin": {"model": {"name": f"model-{hour}"}},
            }
            lines.append(json.dumps(event))
            if self._rng.random() < 0.01:
                lines.append(lines[-1])
            if self._rng.random() < 0.01:
                self.garbage += 1
                lines.append(f"garbage {hour}-{i} {{")
        with self._path.open("a") as file:
            file.write("\n".join(lines) + "\n")


@pytest.fixture(name="sink")
def _sink() -> Iterator[http.server.ThreadingHTTPServer]:
    with sink() as server:
        yield server


def start(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "examples" / "plugin"),
        "SECRET": "whsec_" + "c2VjcmV0" * 4,
    }
    return subprocess.Popen(
        [TOCSIN, *arguments], cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def finish(process: subprocess.Popen[bytes]) -> float:
    began = time.monotonic()
    output = process.communicate(timeout=120)[0].decode()
    assert process.returncode == 0, output
    return time.monotonic() - began


def kill(process: subprocess.Popen[bytes], after: float) -> bool:
    """Kill -9 after some seconds; whether it was still at work."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(after)
    at_work = process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return at_work


def check_events(folder: Path, source: Source) -> None:
    store = default_store(folder)
    ids = store.scan("inference", columns=[ID]).collect()[ID]
    assert ids.len() == ids.n_unique() == source.distinct
    letters = store.scan("dead_letter", columns=["event.original"]).collect().to_series()
    assert letters.len() == letters.n_unique() == source.garbage
    store.close()


def test_collect_survives_kill_9(tmp_path: Path) -> None:
    rng, source = random.Random(7), Source(tmp_path, 1)
    command = ("collect", "ndjson", "inference.ndjson")
    source.grow(0, 4000)
    finish(start(tmp_path, *command))  # which also sets up a cluster
    source.grow(100, 4000)
    took = finish(start(tmp_path, *command))
    at_work = 0
    for number in range(1, KILLS + 1):
        source.grow(number, 4000)
        at_work += kill(start(tmp_path, *command), rng.uniform(0.5, 1.0) * took)
    assert at_work >= KILLS // 2
    finish(start(tmp_path, *command))
    check_events(tmp_path, source)


def test_run_survives_kill_9(tmp_path: Path, sink: http.server.ThreadingHTTPServer) -> None:
    rng, source = random.Random(8), Source(tmp_path, 2)
    (tmp_path / "tocsin.yaml").write_text(
        f"""
plugins: [tocsin_failed_calls]
collectors: [{{type: ndjson, params: {{paths: [inference.ndjson]}}}}]
detectors: {{feature_drift: {{enabled: false}}, prediction_drift: {{enabled: false}}, model_extraction: {{enabled: false}}}}
alerting:
  route: {{receiver: sink, group_by: [detector, subject_id], group_wait: 0s}}
  receivers:
    sink:
      type: webhook
      url: http://127.0.0.1:{sink.server_address[1]}/
      secret: {{env: SECRET}}
      allow_private: true
schedule: {{collect: 1s, detect: 1s, alert: 1s, maintain: 2s}}
"""
    )
    source.grow(0, 200)
    took = finish(start(tmp_path, "run", "--once"))
    for number in range(1, KILLS + 1):
        source.grow(number, 200)
        assert kill(start(tmp_path, "run"), rng.uniform(0.4, 1.3) * took)
    for _ in range(2):
        finish(start(tmp_path, "run", "--once"))
    check_events(tmp_path, source)

    notified: dict[str, set[str]] = defaultdict(set)
    for key, bodies in sink.taken.items():  # type: ignore[attr-defined]
        assert len({json.dumps([a["labels"] for a in body["alerts"]]) for body in bodies}) == 1
        for alert in bodies[0]["alerts"]:
            # the detector `health` may report the lines that the source has on purpose and that cannot be read
            if alert["status"] == "firing" and alert["labels"]["detector"] == "failed_calls":
                notified[alert["labels"]["subject_id"]].add(key)
    assert sorted(notified) == sorted(f"model-{hour}" for hour in range(KILLS + 1))
    assert {subject: len(keys) for subject, keys in notified.items()} == dict.fromkeys(notified, 1)
