"""One worker and two on one cluster: 2,000 windows of a detector that waits 50 ms, each evaluated once.

Run `python -m benchmarks.workers [--windows N]`; it needs Maven and a JDK of 21 or newer, as the tests do. Each worker is
`tocsin detect` in a process of its own. CPU is that of the worker and of its process for detectors, client of the store
and all; the store's server is not in it.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from tests.nodes.node import running
from tocsin.contract.frames import conform
from tocsin.store.cluster.elastic import ElasticStore

START = datetime(2026, 3, 2, tzinfo=UTC)
WAIT = 0.05
PLUGIN = f'''
import time
from tocsin import Detector, NoParams, Requires, Score, Subject

class Waits(Detector[NoParams]):
    """Waits."""
    id, requires, threshold = "waits", Requires("access", window="1m"), 1.0
    def score(self, window):
        time.sleep({WAIT})
        yield Score(Subject("principal", "ana"), 0.0, "quiet")
'''
CONFIG = """
namespace: {namespace}
plugins: [waiting]
store: {{type: elasticsearch, hosts: ["{url}"], replicas: 0}}
"""


def evaluated(url: str, folder: Path, windows: int, workers: int) -> tuple[float, float]:
    """Windows a second, and CPU milliseconds a window."""
    namespace = f"workers{workers}"
    (folder / "tocsin.yaml").write_text(CONFIG.format(namespace=namespace, url=url))
    store = ElasticStore.open(url, namespace, replicas=0)
    times = [START + i * timedelta(minutes=1) for i in range(windows)]
    rows = {"@timestamp": times, "event.id": [str(i) for i in range(windows)], "user.id": "ana"}
    store.append("access", conform(pl.DataFrame(rows), "access"))
    command = [str(Path(sys.executable).with_name("tocsin")), "detect", "--detector", "waits", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    running_ = [
        subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE) for _ in range(workers)
    ]
    for process in running_:
        process.communicate()
        assert process.returncode == 0
    took = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    runs = store.scan("run", columns=["tocsin.window.start", "event.action"]).collect()
    assert runs["event.action"].to_list() == ["evaluated"] * windows, "a window was evaluated twice, or not"
    assert runs["tocsin.window.start"].n_unique() == windows
    store.close()
    cpu = after.ru_utime + after.ru_stime - spent.ru_utime - spent.ru_stime
    return windows / took, cpu / windows * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--windows", type=int, default=2_000)
    windows = parser.parse_args().windows
    with tempfile.TemporaryDirectory() as name, running(Path(name) / "node") as node:
        folder = Path(name)
        (folder / "waiting.py").write_text(PLUGIN)
        evaluated(node.url, folder, 50, 3)  # warm
        one, cpu = evaluated(node.url, folder, windows, 1)
        two, _ = evaluated(node.url, folder, windows, 2)
    print(
        f"one worker   {one:8.1f} windows/s (at most {1 / WAIT:.0f})   {cpu:.2f} ms CPU a window, start-up and all"
    )
    print(f"two workers  {two:8.1f} windows/s   {two / one:.2f} x one")


if __name__ == "__main__":
    main()
