"""The traffic of 200 principals: calls of five models, accesses to a registry, deliveries of datasets; and four attacks.

Events are plain mappings under ECS names. Every attack has a subject of its own, so that attacks do not disturb each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from tests.generators.queries import FEATURES, applicants

MODELS = tuple(f"model-{i}" for i in range(5))
CLIENTS = tuple(f"client-{i:03d}" for i in range(200))
DATASETS = tuple(f"partner-{i:02d}" for i in range(12))
_RESOURCES = tuple(f"registered-{i:02d}" for i in range(60))
_NAMES = ",".join(f"f{i}" for i in range(FEATURES))
_KNOWN = applicants(20_000, 1)
#: One access to the registry comes with so many calls.
ACCESSES = 100
Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Attack:
    """An attack: its kind, its subject, and when it begins, in seconds after the start of the traffic."""

    kind: str  # theft, copy, shift or poison
    subject: str
    begins: float

    def events(self, start: datetime, rng: np.random.Generator) -> list[tuple[datetime, str, Event]]:
        """The events of its own: times, streams, events. A shift changes the traffic, and a poisoned file is no event."""
        first = start + timedelta(seconds=self.begins)
        if self.kind == "theft":
            times = [first + timedelta(seconds=8 * i) for i in range(48)]
            return [
                (
                    at,
                    "access",
                    _access(at, self.subject, f"registered-{i:02d}", "203.0.113.66", "curl/8.5", 48_000_000),
                )
                for i, at in enumerate(times)
            ]
        if self.kind == "copy":
            times = [first + timedelta(seconds=2 * i) for i in range(300)]
            drawn = np.column_stack(
                [_KNOWN[rng.integers(len(_KNOWN), size=len(times)), j] for j in range(FEATURES)]
            )
            return [
                (at, "inference", _call(at, self.subject, MODELS[0], vector, rng))
                for at, vector in zip(times, drawn, strict=True)
            ]
        return []


def planned(minutes: float, repeats: int, rng: np.random.Generator) -> list[Attack]:
    """`repeats` attacks of each kind at random times; a shift has a model of its own, so there are at most four."""
    latest = {"theft": 5 * 60, "copy": 7 * 60, "shift": 5 * 60, "poison": 2 * 60}  # seconds before the end
    found = []
    for kind, before in latest.items():
        number = min(repeats, len(MODELS) - 1) if kind == "shift" else repeats
        for i in range(number):
            begins = float(rng.uniform(60, max(minutes * 60 - before, 61)))
            names = {
                "theft": CLIENTS[i],
                "copy": CLIENTS[-1 - i],
                "shift": MODELS[1 + i % 4],
                "poison": DATASETS[i],
            }
            found.append(Attack(kind, names[kind], begins))
    return sorted(found, key=lambda attack: attack.begins)


def traffic(
    start: datetime, seconds: float, calls: int, attacks: Sequence[Attack], rng: np.random.Generator
) -> Iterator[tuple[datetime, str, Event]]:
    """`calls` calls, and accesses, evenly over `seconds`, in the order of time, with the events of the attacks."""
    beside = sorted((event for attack in attacks for event in attack.events(start, rng)), key=lambda e: e[0])
    shifted = {a.subject: a.begins for a in attacks if a.kind == "shift"}
    clients, models = rng.integers(len(CLIENTS), size=calls), rng.integers(len(MODELS), size=calls)
    rows = rng.integers(len(_KNOWN), size=calls)
    for i in range(calls):
        after = seconds * i / calls
        at, model, vector = start + timedelta(seconds=after), MODELS[models[i]], _KNOWN[rows[i]]
        while beside and beside[0][0] <= at:
            yield beside.pop(0)
        if after >= shifted.get(model, seconds):
            vector = vector.copy()
            vector[2] += 8.0  # older applicants: 0.8 standard deviations of one feature
        yield at, "inference", _call(at, CLIENTS[clients[i]], model, vector, rng)
        if i % ACCESSES == 0:
            user = int(rng.integers(len(CLIENTS)))
            own = _RESOURCES[(user * 7 + int(rng.integers(3))) % len(_RESOURCES)]
            yield (
                at,
                "access",
                _access(at, CLIENTS[user], own, f"10.0.{user // 100}.{user % 100}", "mlflow/3.1"),
            )
    yield from beside


def _call(at: datetime, user: str, model: str, vector: Any, rng: np.random.Generator) -> Event:
    score = float(1 / (1 + np.exp(vector[5] - 0.4 * vector[3])))
    return {
        "@timestamp": at,
        "user.id": user,
        "tocsin.model.name": model,
        "tocsin.features.names": _NAMES,
        "tocsin.features.values": vector.tolist(),
        "tocsin.output.label": str(int(score > 0.5)),
        "tocsin.output.score": score,
        "tocsin.output.confidence": max(score, 1 - score),
        "event.id": f"{rng.integers(2**63):016x}",
    }


def _access(at: datetime, user: str, name: str, address: str, agent: str, size: int = 2_000) -> Event:
    return {
        "@timestamp": at,
        "event.id": f"{user}-{name}-{at.isoformat()}",
        "user.id": user,
        "tocsin.principal.type": "human",
        "event.action": "download" if size > 10_000 else "read",
        "event.outcome": "success",
        "source.ip": address,
        "user_agent.original": agent,
        "tocsin.resource.type": "model",
        "tocsin.resource.id": name,
        "http.response.bytes": size,
    }
