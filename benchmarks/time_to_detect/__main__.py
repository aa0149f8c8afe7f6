"""Time from the decisive event of an attack to its notification: `python -m benchmarks.time_to_detect [--minutes 20]`.

A worker (`tocsin run`, default schedule) reads the traffic of 200 principals, 500 calls a second, from files. Attacks begin
at random times. The decisive event is found afterwards, by the final evaluation of prefixes of the window, never from what
the worker did: the last event of the shortest prefix on which the final evaluation gives the finding. The bar: the 95th
percentile from decisive event to notification is at most 60 s. CPU of all early evaluations: at most 2.5 times that of one
final evaluation.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import psutil

from benchmarks.time_to_detect.decisive import Found, Judge
from benchmarks.time_to_detect.installation import DAY, Installation, Pages, deliver, worker
from benchmarks.time_to_detect.traffic import Attack, planned, traffic
from tests.generators.data_integrity import applications
from tocsin.worker.app import App

KINDS = {
    "theft": ("registry_access",),
    "copy": ("model_extraction", "query_budget"),
    "shift": ("feature_drift", "prediction_drift"),
    "poison": ("label_poisoning", "dataset_profile"),
}
_GRACE = 90.0  # seconds after the traffic, for the last notifications


def live(
    folder: Path,
    start: datetime,
    minutes: float,
    rate: int,
    attacks: Sequence[Attack],
    rng: np.random.Generator,
) -> dict[str, float]:
    """Write the traffic at its times. Returns when each poisoned file was written."""
    files = {
        "inference": folder / "calls" / "calls.ndjson",
        "access": folder / "registry" / "registry.ndjson",
    }
    poisoned: dict[str, float] = {}
    files_due = [a for a in attacks if a.kind == "poison"]
    events = traffic(start, minutes * 60, int(minutes * 60 * rate), attacks, rng)
    lines: dict[str, list[bytes]] = {name: [] for name in files}
    second = start
    for at, stream, event in events:
        if at >= second + timedelta(seconds=1):
            for name, file in files.items():
                with file.open("ab") as out:
                    out.write(b"".join(lines[name]))
                lines[name].clear()
            second = at
            while files_due and start + timedelta(seconds=files_due[0].begins) <= at:
                name = files_due.pop(0).subject
                deliver(folder, name, applications(600, seed=len(files_due), approve=0.3), datetime.now(UTC))
                poisoned[name] = time.time()
            time.sleep(max((at - datetime.now(UTC)).total_seconds(), 0.0))
        lines[stream].append(msgspec.json.encode(event) + b"\n")
    return poisoned


def main(arguments: Sequence[str]) -> int:
    """Run the traffic and print the times. Returns 1 if a bar is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--rate", type=int, default=500, help="calls a second")
    parser.add_argument("--repeats", type=int, default=10, help="attacks of each kind; at most four shifts")
    parser.add_argument("--history", type=int, default=50_000, help="calls of each day of the history")
    parser.add_argument("--store", default="delta", help="delta, or the URL of an Elasticsearch server")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    rng, pages = np.random.default_rng(given.seed), Pages()
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if datetime.now(UTC) + timedelta(minutes=given.minutes + 15) > today + DAY:
        raise SystemExit(
            "the traffic would cross midnight, and with it the end of the windows; start it later"
        )
    with tempfile.TemporaryDirectory(prefix="tocsin-ttd-") as name:
        folder, began = Path(name), time.perf_counter()
        installation = Installation(given.store, f"ttd{given.seed}", given.seed, given.history)
        app = installation.install(folder, pages.server.server_port, today)
        print(f"four weeks of history and baselines: {time.perf_counter() - began:.0f} s", flush=True)
        attacks = planned(given.minutes, given.repeats, rng)
        with worker(folder) as process:
            time.sleep(20)
            cpu, start = _cpu(process.pid), datetime.now(UTC)
            poisoned = live(folder, start, given.minutes, given.rate, attacks, rng)
            time.sleep(_GRACE)
            spent = _cpu(process.pid) - cpu
        return _report(app, today, start, attacks, poisoned, pages, spent)


def _cpu(pid: int) -> float:
    """CPU seconds of the process that runs the detectors, which starts with the first evaluation."""
    times = [child.cpu_times() for child in psutil.Process(pid).children()]
    return float(sum(spent.user + spent.system for spent in times))


def _report(
    app: App,
    today: datetime,
    start: datetime,
    attacks: Sequence[Attack],
    poisoned: dict[str, float],
    pages: Pages,
    spent: float,
) -> int:
    judge, missed = Judge(app, today), 0
    late: list[float] = []
    for kind, detectors in KINDS.items():
        delays = []
        for attack in (a for a in attacks if a.kind == kind):
            begins = start + timedelta(seconds=attack.begins)
            found = [_delay(judge, d, attack, begins, poisoned, pages) for d in detectors]
            delay = min((f for f in found if f is not None), default=None)
            missed += delay is None
            delays += [] if delay is None else [delay]
        print(f"{kind}: {len(delays)} notified, {_percentiles(delays)}")
        late += delays
    final = judge.final_cpu()
    ratio = spent / sum(final.values())
    print(f"all: {len(late)} notified, {missed} not notified, {_percentiles(late)}; bar: p95 at most 60 s")
    print(
        f"CPU: early evaluations {spent:.1f} s, one final evaluation {sum(final.values()):.1f} s: {ratio:.2f}; bar: 2.5"
    )
    print(json.dumps({name: round(seconds, 2) for name, seconds in final.items()}))
    return int(bool(missed) or float(np.quantile(late, 0.95)) > 60 or ratio > 2.5)


def _delay(
    judge: Judge, detector: str, attack: Attack, begins: datetime, poisoned: dict[str, float], pages: Pages
) -> float | None:
    """Seconds from the decisive event to the notification; None if there was neither."""
    paged = pages.first.get((detector, attack.subject))
    if attack.kind == "poison":
        return None if paged is None else paged - poisoned[attack.subject]
    found: Found | None = judge.decisive(detector, attack.subject, begins)
    if found is None or paged is None:
        return None
    return paged - found.at.timestamp()


def _percentiles(delays: Sequence[float]) -> str:
    if not delays:
        return "no times"
    p50, p95 = np.quantile(delays, [0.5, 0.95])
    return f"p50 {p50:.0f} s, p95 {p95:.0f} s, worst {max(delays):.0f} s"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
