"""Rows for the cases."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import polars as pl

_NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)


def calls(count: int, milliseconds: float) -> pl.DataFrame:
    """Calls of one model within an hour, with `milliseconds` as their median."""
    return _frame(_NOW, 1, count, milliseconds, seed=2)


def history(hours: int, calls: int, milliseconds: float) -> pl.DataFrame:
    """The hours before that; an hour is up to a tenth faster or slower than another."""
    return _frame(_NOW - timedelta(hours=hours), hours, calls, milliseconds, seed=1)


def _frame(start: datetime, hours: int, calls: int, milliseconds: float, seed: int) -> pl.DataFrame:
    chance = random.Random(seed)  # noqa: S311 — a fixed seed: cases give the same rows every time
    durations = []
    for _ in range(hours):
        load = chance.uniform(0.9, 1.1) if hours > 1 else 1.0
        durations += [milliseconds * load * chance.lognormvariate(0, 0.3) for _ in range(calls)]
    step = timedelta(hours=1) / calls
    return pl.DataFrame(
        {
            "@timestamp": [start + step * i for i in range(len(durations))],
            "event.id": [f"call-{start:%d%H}-{i}" for i in range(len(durations))],
            "event.duration": [int(d * 1_000_000) for d in durations],
            "tocsin.model.name": "credit",
        }
    )
