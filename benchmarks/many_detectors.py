"""A worker with 1,000 detectors: how long until it serves, and how much memory its main process takes.

Run `python -m benchmarks.many_detectors [--detectors N]`. The detectors are the shipped `prediction_drift`, each an
instance of its own. One hour of calls is there; the first round over all detectors is measured as well.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil

from tests.nodes.node import free_port

TOCSIN = str(Path(sys.executable).with_name("tocsin"))


def serves(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def windows(url: str) -> int:
    with urllib.request.urlopen(f"{url}/metrics", timeout=60) as answer:
        lines = answer.read().decode().splitlines()
    return int(
        sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("tocsin_windows_total"))
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--detectors", type=int, default=1_000)
    count = parser.parse_args().detectors
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        detectors = "\n".join(f"  d{i:04}: {{type: prediction_drift}}" for i in range(count))
        (folder / "tocsin.yaml").write_text(
            "collectors: [{type: ndjson, params: {paths: [inference.ndjson]}}]\n"
            f"monitoring: {{listen: '127.0.0.1:{port}'}}\nschedule: {{detect: 1s}}\ndetectors:\n{detectors}\n"
        )
        start = datetime.now(UTC) - timedelta(days=2)
        event = {"tocsin": {"model": {"name": "credit"}, "output": {"score": 0.5}}}
        times = [start + timedelta(seconds=i) for i in range(3_600)]
        lines = [json.dumps({"@timestamp": t.isoformat(), **event}) for t in times]
        (folder / "inference.ndjson").write_text("\n".join(lines) + "\n")
        began = time.perf_counter()
        worker = subprocess.Popen([TOCSIN, "run"], cwd=folder, stderr=subprocess.DEVNULL)
        url = f"http://127.0.0.1:{port}"
        while not serves(f"{url}/readyz"):
            time.sleep(0.02)
        print(f"{count:,} detectors: ready after {time.perf_counter() - began:.1f} s")
        while windows(url) < count:
            time.sleep(0.2)
        memory = psutil.Process(worker.pid).memory_info().rss / 2**20
        print(
            f"first round over all of them after {time.perf_counter() - began:.1f} s; main process {memory:.0f} MiB"
        )
        worker.terminate()
        worker.wait()


if __name__ == "__main__":
    main()
