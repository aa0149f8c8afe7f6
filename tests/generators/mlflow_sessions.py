"""Sessions recorded from a real MLflow server, shifted in time: weeks of normal work, and intrusions beside them."""

from __future__ import annotations

import functools
import hashlib
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from tests.generators.accesses import START
from tests.generators.mlflow_intrusions import ALL
from tocsin.clock import parse_time
from tocsin_collectors.access_log import AccessLog, Params

FILE = Path(__file__).parent.parent / "data" / "mlflow_sessions.log"
#: Hours (UTC) at which people and services work.
SERVICES = {"svc-train": 1.5, "svc-deploy": 3.5}
OWNERS = ("maria", "jonas", "aisha", "pavel")


@functools.cache
def sessions() -> dict[str, pl.DataFrame]:
    """The events of each recorded session, by its name."""
    result: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in FILE.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            lines = result.setdefault(line[3:], [])
        else:
            lines.append(line)
    return {name: events(lines) for name, lines in result.items()}


def events(lines: list[str]) -> pl.DataFrame:
    """The events of lines of an access log, as the collector reads them."""
    collector = AccessLog(Params(paths=("-",)))
    rows = [collector._event("recorded", at, line) for at, line in enumerate(lines)]
    for row in rows:
        row["@timestamp"] = parse_time(row["@timestamp"])
    return pl.DataFrame(rows, infer_schema_length=None)


def shifted(name: str, start: datetime) -> pl.DataFrame:
    """A session that begins at another time."""
    rows = sessions()[name]
    salt = hashlib.sha256(f"{name}{start}".encode()).hexdigest()[:12]
    return rows.with_columns(
        pl.col("@timestamp") - rows["@timestamp"].min() + pl.lit(start, rows.schema["@timestamp"]),
        pl.col("event.id") + salt,
    )


def work(seed: int, days: int = 56, first: int = 0) -> pl.DataFrame:
    """Normal days: owners work, clean up, release and share their own models; services run every night."""
    rng = np.random.default_rng(seed)
    parts = []
    for number in range(first, first + days):
        day = START + timedelta(days=number)
        for name, hour in SERVICES.items():
            parts.append(shifted(f"work {name} 0", day + timedelta(hours=hour + rng.uniform(0, 0.4))))
        for at, owner in enumerate(OWNERS if day.weekday() < 5 else ()):
            moments = sorted(float(np.clip(rng.normal(12.5, 2), 8, 17.5)) for _ in range(3))
            kinds = [f"work {owner} {rng.integers(3)}"]
            kinds += [f"clean {owner} {rng.integers(2)}"] if rng.random() < 0.25 else []
            kinds += [f"release {owner} 0"] if day.weekday() == at else []
            kinds += [f"share {owner} 0"] if rng.random() < 0.04 else []
            parts += [
                shifted(kind, day + timedelta(hours=hour)) for kind, hour in zip(kinds, moments, strict=False)
            ]
    return pl.concat(parts, how="diagonal_relaxed").sort("@timestamp")


def newcomer(day: datetime) -> pl.DataFrame:
    """The first day of a colleague, who makes a model and deletes its version again."""
    return shifted("first day nina", day + timedelta(hours=10.5))


def intrusion(number: int, day: datetime) -> pl.DataFrame:
    """An intrusion at its hour of a day."""
    return shifted(f"intrusion {ALL[number].name}", day + timedelta(hours=ALL[number].hour))
