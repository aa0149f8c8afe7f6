"""Accesses to a registry of models and data sets: quiet weeks, and sessions to put beside them.

Twelve people in three teams work on weekdays between 07:00 and 17:00 UTC, each with their own address and
client, mostly on their team's five resources. Three services run every night: one deploys, one
trains, and one fails a few times before it succeeds. Models are evaluated, then promoted, once a week.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

START = datetime(2026, 1, 5, tzinfo=UTC)  # a Monday
PEOPLE = ("ana", "ben", "cem", "dia", "eli", "fay", "gus", "hal", "ida", "jon", "kim", "leo")
TEAMS = 3
RESOURCES = 5
#: Was here in the first week and not since.
GONE = "oda"
_ACTIONS = ("read", "search", "download", "update")
_CHANCES = (0.5, 0.25, 0.15, 0.1)


def resource(team: int, number: int) -> str:
    """A resource's name: `credit-0` …, `fraud-0` …, `churn-0` …"""
    return f"{('credit', 'fraud', 'churn')[team]}-{number}"


def quiet(seed: int, days: int = 56, first: int = 0, typed: bool = True) -> pl.DataFrame:
    """`days` quiet days from day `first` on; `typed` says whether the source knows people from services."""
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for day in range(first, first + days):
        start = START + timedelta(days=day)
        _services(rows, start, rng)
        if start.weekday() < 5:
            for number, name in enumerate(PEOPLE):
                _person(rows, name, number, start, rng)
            if start.weekday() == 2:
                _release(rows, start, rng)
            if day < 5:
                _add(
                    rows,
                    start + timedelta(hours=9),
                    GONE,
                    "read",
                    resource(0, 0),
                    "10.0.0.99",
                    "mlflow/3.1",
                    "human",
                )
    frame = pl.DataFrame(rows).sort("@timestamp")
    return frame if typed else frame.drop("tocsin.principal.type")


def session(
    principal: str | None,
    at: str,
    resources: int = 10,
    team: int | None = None,
    action: str = "download",
    address: str | None = None,
    agent: str | None = "mlflow/3.1",
    megabytes: float = 1.0,
    seed: int = 0,
) -> pl.DataFrame:
    """One access to each of so many resources (of one team, or of all), half a minute apart."""
    del seed
    teams = range(TEAMS) if team is None else (team,)
    names = [resource(t, n) for n in range(RESOURCES) for t in teams]
    names += [f"archive-{n}" for n in range(max(resources - len(names), 0))]
    start = datetime.fromisoformat(at)
    home = f"10.0.0.{PEOPLE.index(principal) + 1}" if principal in PEOPLE else "10.0.0.77"
    rows: list[dict[str, Any]] = []
    for number, name in enumerate(names[:resources]):
        time = start + timedelta(seconds=30 * number)
        _add(rows, time, principal, action, name, address or home, agent, "human", round(megabytes * 2**20))
    return pl.DataFrame(rows, schema_overrides={"user.id": pl.String, "user_agent.original": pl.String})


def _add(
    rows: list[dict[str, Any]],
    time: datetime,
    principal: str | None,
    action: str,
    name: str,
    address: str,
    agent: str | None,
    kind: str,
    size: int = 2048,
    outcome: str = "success",
) -> None:
    rows.append(
        {
            "@timestamp": time,
            "event.id": f"{principal}-{time:%Y%m%dT%H%M%S%f}-{len(rows)}",
            "user.id": principal,
            "tocsin.principal.type": kind,
            "event.action": action,
            "event.outcome": outcome,
            "source.ip": address,
            "user_agent.original": agent,
            "tocsin.resource.type": "model",
            "tocsin.resource.id": name,
            "http.response.bytes": size,
        }
    )


def _person(
    rows: list[dict[str, Any]], name: str, number: int, start: datetime, rng: np.random.Generator
) -> None:
    team = number % TEAMS
    for _ in range(rng.poisson(4)):
        hours = float(np.clip(rng.normal(11.5 + number % 3, 2), 7, 17))
        what = int(min(rng.geometric(0.4), RESOURCES)) - 1
        other = rng.random() < 0.02  # now and then, something of another team
        action = str(rng.choice(_ACTIONS, p=_CHANCES))
        size = int(rng.lognormal(14, 1)) if action == "download" else 2048
        where = resource((team + 1) % TEAMS if other else team, what)
        address = f"10.1.0.{rng.integers(1, 250)}" if rng.random() < 0.01 else f"10.0.0.{number + 1}"
        _add(rows, start + timedelta(hours=hours), name, action, where, address, "mlflow/3.1", "human", size)


def _services(rows: list[dict[str, Any]], start: datetime, rng: np.random.Generator) -> None:
    night = start + timedelta(hours=2, minutes=float(rng.uniform(0, 20)))
    for team in range(TEAMS):
        time = night + timedelta(minutes=team)
        _add(rows, time, "svc-deploy", "deploy", resource(team, 0), "10.9.0.1", "deployer/2", "service")
        for action in ("create", "upload"):
            _add(
                rows,
                time,
                "svc-train",
                action,
                resource(team, 1),
                "10.9.0.2",
                "trainer/5",
                "service",
                1 << 22,
            )
    for attempt in range(1 + int(rng.integers(6))):
        time = night + timedelta(minutes=10, seconds=20 * attempt)
        _add(rows, time, "svc-batch", "download", "fraud-0", "10.9.0.3", "batch/1", "service", 0, "failure")
    time = night + timedelta(minutes=14)
    _add(rows, time, "svc-batch", "download", "fraud-0", "10.9.0.3", "batch/1", "service", 1 << 22)


def _release(rows: list[dict[str, Any]], start: datetime, rng: np.random.Generator) -> None:
    for team in range(TEAMS):
        name, number = PEOPLE[team], team
        time = start + timedelta(hours=10, minutes=float(rng.uniform(0, 50)))
        for action in ("evaluate", "promote"):
            where = resource(team, 0)
            _add(rows, time, name, action, where, f"10.0.0.{number + 1}", "mlflow/3.1", "human")
            time += timedelta(minutes=5)
