"""Calls with feature vectors, for the cases of `pyod` and `query_budget`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

START = datetime(2026, 3, 1, tzinfo=UTC)


def durations(day: int, days: int, slow: float = 0.0, seed: int = 1) -> pl.DataFrame:
    """200 calls of one model a day; a share of them takes twenty times as long."""
    rng = np.random.default_rng([seed, day])
    count = 200 * days
    times = rng.gamma(9, 1e6, count)
    times[rng.random(count) < slow] *= 20
    return pl.DataFrame(
        {
            "@timestamp": [START + timedelta(days=day, minutes=7.2 * i) for i in range(count)],
            "event.id": [f"{day}-{i}" for i in range(count)],
            "tocsin.model.name": ["credit"] * count,
            "event.duration": times.astype(np.int64),
            "tocsin.output.score": rng.random(count),
        }
    )


def customers(day: int, days: int, thief: int = 0, repeats: int = 0, seed: int = 1) -> pl.DataFrame:
    """Twelve customers with ten calls a day and a nightly batch of 300; a newcomer asks `thief` new rows
    a day, or the same one `repeats` times.
    """
    rng = np.random.default_rng([seed, day])
    known = np.random.default_rng(seed).normal(size=(3000, 3))
    times, users, vectors = [], [], []

    def ask(at: datetime, user: str, vector: np.ndarray) -> None:
        times.append(at)
        users.append(user)
        vectors.append(vector.tolist())

    for number in range(day, day + days):
        start = START + timedelta(days=number)
        for customer in range(12):
            for i in range(10):
                ask(
                    start + timedelta(hours=9 + customer / 2, minutes=i),
                    f"customer-{customer}",
                    rng.normal(size=3),
                )
        for i, row in enumerate(rng.choice(3000, 300, replace=False)):
            ask(start + timedelta(hours=2, seconds=i), "nightly", known[row])
        for i in range(thief):
            ask(start + timedelta(hours=14, seconds=20 * i), "newcomer", rng.normal(size=3))
        for i in range(repeats):
            ask(start + timedelta(hours=14, seconds=i), "newcomer", known[0])
    return pl.DataFrame(
        {
            "@timestamp": times,
            "event.id": [f"{day}-{i}" for i in range(len(times))],
            "user.id": users,
            "tocsin.model.name": ["credit"] * len(times),
            "tocsin.features.values": vectors,
        }
    )
