"""Calls of clients behind one address, and of a thief's accounts that share an address or nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

START = datetime(2026, 3, 1, tzinfo=UTC)
CLIENTS = 8


def calls(
    day: int, days: int, accounts: int = 0, each: int = 0, tie: str = "address", same: bool = False
) -> pl.DataFrame:
    """Eight clients with twelve calls a day behind one address; on the first day of `days`, new accounts.

    Args:
        day: the first day.
        days: number of days.
        accounts: number of the thief's accounts.
        each: number of queries of each.
        tie: what the accounts share: `address`, `agent` or nothing.
        same: all queries of the accounts are the same one.
    """
    rng = np.random.default_rng([7, day])
    rows: list[tuple[datetime, str, str, str]] = []
    for number in range(day, day + days):
        start = START + timedelta(days=number)
        for client in range(CLIENTS):
            times = [start + timedelta(hours=8, minutes=40 * i + client) for i in range(12)]
            rows += [(at, f"client-{client}", "198.51.100.7", "okhttp/4.12") for at in times]
    honest = len(rows)
    for account in range(accounts):
        address = "192.0.2.9" if tie == "address" else f"203.{account}.0.1"
        agent = "curl/8.9" if tie == "agent" else "okhttp/4.12"
        times = [
            START + timedelta(days=day, hours=account % 12, seconds=61 * i + account) for i in range(each)
        ]
        rows += [(at, f"sybil-{account:02d}", address, agent) for at in times]
    vectors = rng.normal(size=(len(rows), 3)).round(4)
    if same:
        vectors[honest:] = vectors[0]
    return pl.DataFrame(
        {
            "@timestamp": [row[0] for row in rows],
            "event.id": [f"{day}-{i}" for i in range(len(rows))],
            "user.id": [row[1] for row in rows],
            "source.ip": [row[2] for row in rows],
            "user_agent.original": [row[3] for row in rows],
            "tocsin.model.name": ["credit"] * len(rows),
            "tocsin.features.values": vectors.tolist(),
        }
    )
