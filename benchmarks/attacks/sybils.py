"""One thief with many accounts, and a population of clients with addresses and user agents."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from benchmarks.attacks.clients import customer, month
from benchmarks.attacks.extraction import DAY, START, Behavior, Rng, Target, calls, real, spread

#: Numbers of accounts and of queries of each.
TEAMS = ((5, 400), (20, 100), (50, 40))
#: What ties a thief's accounts together.
TIES = ("address", "agent", "first day", "rhythm", "nothing")
#: User agents of honest clients: a few libraries, which many clients share.
AGENTS = ("python-requests/2.32", "okhttp/4.12", "Java-http-client/21", "axios/1.7")


def population(target: Target, rng: Rng, days: int, newcomers: float = 1.0) -> pl.DataFrame:
    """Calls of a month's clients and of new clients, `newcomers` a week; a third of all are behind one address."""
    frames = [month(target, rng, days)]
    for week in range(1, days // 7 + 1):
        for number in range(rng.poisson(newcomers)):
            ask, rate = customer(target, rng), rng.uniform(8, 24)
            for day in range(7 * week + int(rng.integers(7)), days):
                count = max(1, int(rng.poisson(rate)))
                frames.append(
                    calls(target, f"new-{week}-{number}", ask(target, rng, count), spread(rng, day, count))
                )
    rows = pl.concat(frames)
    names = rows["user.id"].unique().sort().to_list()
    shared = {name: i % 3 == 0 for i, name in enumerate(names)}
    where = {name: "198.51.100.7" if shared[name] else f"203.0.{i}.20" for i, name in enumerate(names)}
    agent = {name: AGENTS[i % len(AGENTS)] for i, name in enumerate(names)}
    return _placed(rows, where, agent)


def team(
    target: Target,
    rng: Rng,
    day: int,
    size: tuple[int, int],
    tie: str,
    days: int = 2,
    attack: Behavior = real,
) -> pl.DataFrame:
    """Calls of a thief's accounts, which have one thing in common; without `first day` they are 1 to 20 days old.

    An older account made one to three calls a day until now. With `rhythm`, calls come at one pace.
    """
    accounts, each = size
    names = [f"sybil-{i:02d}" for i in range(accounts)]
    frames = []
    for name in names:
        if tie != "first day":
            for before in range(int(rng.integers(1, 21)), 0, -1):
                count = int(rng.integers(1, 4))
                frames.append(calls(target, name, real(target, rng, count), spread(rng, day - before, count)))
        rows = attack(target, rng, each)
        for part, number in enumerate(np.array_split(np.arange(each), days)):
            times = (
                _paced(rng, day + part, len(number))
                if tie == "rhythm"
                else _burst(rng, day + part, len(number))
            )
            frames.append(calls(target, name, rows[number], times))
    where = {name: "192.0.2.99" if tie == "address" else f"203.{1 + i}.7.20" for i, name in enumerate(names)}
    agent = {name: "curl/8.9" if tie == "agent" else AGENTS[int(rng.integers(len(AGENTS)))] for name in names}
    return _placed(pl.concat(frames), where, agent)


def _paced(rng: Rng, day: int, count: int) -> Sequence[datetime]:
    start = START + day * DAY + timedelta(seconds=float(rng.uniform(0, 3600)))
    return [start + timedelta(seconds=60 * i) for i in range(count)]


def _burst(rng: Rng, day: int, count: int) -> Sequence[datetime]:
    """Times within a part of the day that is as long as chance has it."""
    begin, length = rng.uniform(0, 0.5), rng.uniform(0.05, 0.5)
    at = np.sort(begin + length * rng.uniform(size=count))
    return [START + day * DAY + timedelta(seconds=86_400 * float(t)) for t in at]


def _placed(rows: pl.DataFrame, where: dict[str, str], agent: dict[str, str]) -> pl.DataFrame:
    return rows.with_columns(
        pl.col("user.id").replace_strict(where).alias("source.ip"),
        pl.col("user.id").replace_strict(agent).alias("user_agent.original"),
    )
