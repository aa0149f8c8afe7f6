"""How the cost of registry_access grows with what a day contains: resources, principals, addresses, programs, actions.

Run `python -m benchmarks.access_growth [--sizes 30000 1000000] [--kinds resources …]`. A flood of each size is put beside a
real intrusion of the same day (p1 downloads forty models that nobody knows). Each row gives the time and the peak memory of
scoring the day and of fitting a baseline over it, and the severity of the findings about the flood and about p1. Each
measurement has a process of its own.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from tocsin.config import discovery, params
from tocsin.contract.evaluation import fit, judge
from tocsin.contract.findings import Finding
from tocsin.contract.plugin import Detector
from tocsin.contract.windows import Baseline, FrameSource, Window

START = datetime(2026, 1, 5, tzinfo=UTC)
DAYS = 100
DAY = START + timedelta(days=DAYS)
INTRUDER = "p1"
KINDS = (
    "resources",
    "principals",
    "both",
    "addresses",
    "agents",
    "actions",
    "types",
    "deletions",
    "grants",
    "known",
)


class Cost(NamedTuple):
    """What one flood costs, and what is found beside it."""

    score_seconds: float
    fit_seconds: float
    mebibytes: float
    findings: dict[tuple[str, str, str], Finding]


def history(seed: int = 1) -> pl.DataFrame:
    """A hundred days of six people, each on two models."""
    rng = np.random.default_rng(seed)
    rows = [
        _row(day, float(rng.uniform(8, 17)), f"p{i}", str(rng.choice(["read", "search", "download"])),
             f"m{(i + int(rng.integers(0, 2))) % 6}", f"198.51.100.{i + 1}")
        for day in range(DAYS)
        for i in range(6)
        for _ in range(int(rng.integers(3, 9)))
    ]  # fmt: skip
    return pl.DataFrame(rows)


def intrusion() -> pl.DataFrame:
    """p1 takes forty models at night from an address that nobody used."""
    rows = [
        _row(DAYS, 3 + i / 60, INTRUDER, "download", f"secret{i}", "203.0.113.77", "python-requests")
        for i in range(40)
    ]
    return pl.DataFrame(rows)


def flood(kind: str, size: int) -> pl.DataFrame:
    """So many events of the same morning that differ in one thing, or in principal and resource (`both`)."""
    number = pl.int_range(size, eager=True).cast(pl.String)
    one = pl.Series([None], dtype=pl.String).new_from_index(0, size)
    values: dict[str, Any] = {
        "@timestamp": pl.Series([DAY + timedelta(hours=10)]).new_from_index(0, size),
        "user.id": "sybil" + number if kind in ("principals", "both", "deletions") else "sybil",
        "tocsin.principal.type": "type" + number if kind == "types" else one,
        "event.action": {"actions": "act" + number, "deletions": "delete", "grants": "grant"}.get(
            kind, "read"
        ),
        "event.outcome": "success" if kind in ("deletions", "grants") else "failure",
        "tocsin.resource.type": "model",
        "tocsin.resource.id": "x" + number if kind in ("resources", "both", "known", "grants") else "m1",
        "source.ip": "2001:db8::" + number if kind == "addresses" else "203.0.113.1",
        "user_agent.original": "agent" + number if kind == "agents" else "curl",
    }
    if kind == "types":
        values["user.id"] = "sybil" + number
    if kind == "known":
        values["user.id"] = "p2"
    return pl.DataFrame(values).with_columns(pl.col("@timestamp").cast(pl.Datetime("us", "UTC")))


def measure(kind: str, size: int) -> Cost:
    """Score a day with a flood, and fit a baseline over it."""
    plugin = discovery.discover().get(Detector, "registry_access")  # type: ignore[type-abstract]
    detector: Detector[Any] = plugin(params.build(plugin.params_type(), {}))
    past = FrameSource.of({"access": history()})
    baseline = fit(detector, Window(START, DAY, past), 0.01)
    day = pl.concat([intrusion(), flood(kind, size)], how="diagonal_relaxed")
    both = FrameSource.of({"access": pl.concat([history(), day], how="diagonal_relaxed")})
    began = time.perf_counter()
    window = Window(DAY, DAY + timedelta(days=1), FrameSource.of({"access": day}), baseline)
    found = [judged.finding for judged in judge(detector, window) if judged.finding]
    scored = time.perf_counter() - began
    began = time.perf_counter()
    fitted: Baseline | None = detector.fit(Window(START, DAY + timedelta(days=1), both))
    assert fitted is not None
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    by_subject = {(*finding.subject, finding.aspect): finding for finding in found}
    return Cost(scored, time.perf_counter() - began, memory, by_subject)


def _row(
    day: int, hour: float, who: str, action: str, what: str, ip: str, agent: str = "mlflow/3"
) -> dict[str, Any]:
    return {
        "@timestamp": START + timedelta(days=day, hours=hour),
        "user.id": who,
        "tocsin.principal.type": "human",
        "event.action": action,
        "event.outcome": "success",
        "tocsin.resource.type": "model",
        "tocsin.resource.id": what,
        "source.ip": ip,
        "user_agent.original": agent,
    }


def _told(cost: Cost) -> str:
    intruder = cost.findings.get(("principal", INTRUDER, ""))
    others = [f"{f.severity} {f.subject.id}" for f in cost.findings.values() if f.subject.id != INTRUDER]
    return f"{intruder.severity if intruder else 'not found':>10}   {', '.join(others[:2])} ({len(others)})"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[0, 30_000, 200_000, 1_000_000])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--here", action="store_true", help="measure in this process")
    given = parser.parse_args()
    if not given.here:
        print(
            f"{'kind':>10}{'events':>12}{'score':>9}{'fit':>9}{'peak memory':>14}{INTRUDER:>11}   the flood"
        )
    for kind in given.kinds:
        for size in given.sizes:
            if not given.here:
                command = [sys.executable, "-m", "benchmarks.access_growth", "--here", "--kinds", kind]
                subprocess.run([*command, "--sizes", str(size)], check=True)
                continue
            cost = measure(kind, size)
            print(
                f"{kind:>10}{size:>12,}{cost.score_seconds:>7.1f} s{cost.fit_seconds:>7.1f} s"
                f"{cost.mebibytes:>10.0f} MiB {_told(cost)}",
                flush=True,
            )


if __name__ == "__main__":
    main()
