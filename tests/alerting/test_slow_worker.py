"""`tocsin run` with a receiver that drips: the other receiver is served, SIGTERM ends the worker, nothing is lost."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.alerting.conftest import DATASET, Scene
from tests.alerting.sinks import dripping
from tests.alerting.test_receivers import Endpoint, serve
from tests.stores import only_embedded
from tocsin.clock import SystemClock
from tocsin.store.embedded.delta import DeltaStore

_ENOUGH = 60.0  # seconds until a worker has started on a busy machine


@pytest.fixture
def good() -> Iterator[Endpoint]:
    yield from serve(Endpoint())


def configuration(drip: int, good: int) -> str:
    def hook(port: int) -> dict[str, object]:
        return {"type": "webhook", "url": f"http://127.0.0.1:{port}/", "allow_private": True, "timeout": 60}

    match = ['subject_type="dataset"']
    route: dict[str, object] = {"receiver": "drip", "group_by": ["..."], "group_wait": "0s"}
    route["routes"] = [{"matchers": match, "receiver": "good"}]
    return yaml.safe_dump(
        {
            "store": {"path": "store"},
            "schedule": {"alert": "1s", "detect": "1h", "collect": "1h", "health": "1h"},
            "alerting": {"route": route, "receivers": {"drip": hook(drip), "good": hook(good)}},
        }
    )


@only_embedded
def test_a_worker_with_a_receiver_that_drips(tmp_path: Path, good: Endpoint) -> None:
    scene = Scene(tmp_path)
    scene.finding(0, "critical")
    scene.finding(0, subject=DATASET)
    scene.flush()
    scene.store.close()
    with dripping(b"HTTP/1.1 200 OK\r\nX: ", b"a") as port:
        (tmp_path / "tocsin.yaml").write_text(configuration(port, good.server_port))
        worker = subprocess.Popen([sys.executable, "-m", "tocsin", "run"], cwd=tmp_path)
        try:
            deadline = time.monotonic() + _ENOUGH
            while not good.requests and time.monotonic() < deadline:
                assert worker.poll() is None
                time.sleep(0.1)
            assert len(good.requests) == 1
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(20) == 0  # the request to the other receiver may take a minute
        finally:
            worker.kill()
            worker.wait()
    store = DeltaStore.open(tmp_path / "store", clock=SystemClock())
    left = {e.value["receiver"]: len(e.value["outbox"]) for e in store.entries("group")}
    store.close()
    assert left == {"drip": 1, "good": 0}
