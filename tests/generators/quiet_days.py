"""Days of ordinary telemetry as files: calls of two models, accesses to a registry, and a delivery of a dataset.

Ten clients call the model `credit` (`tests.generators.queries`) and the model `limits` (`tests.generators.drift`). People
and services use a registry (`tests.generators.accesses`); the people's accesses are lines of a web server's access log.
A delivery of loan applications arrives every day (`tests.generators.data_integrity`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tests.generators import accesses, data_integrity, drift, queries

START = accesses.START
DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
CONFIG = """
store: {path: store}
collectors:
  - {type: ndjson, params: {paths: [events]}}
  - {type: access_log, params: {paths: [logs]}}
  - {type: dataset, params: {paths: [data], label: default, writer: feed}}
"""
TIME, USER, MODEL = "@timestamp", "user.id", "tocsin.model.name"
NAMES, VALUES = "tocsin.features.names", "tocsin.features.values"
VERSION = "tocsin.model.version"
_PATHS = {
    "read": "GET /api/2.0/mlflow/registered-models/get?name={}",
    "search": "GET /api/2.0/mlflow/model-versions/search?name={}",
    "download": "GET /api/2.0/mlflow/model-versions/get-download-uri?name={}&version=1",
    "update": "PATCH /api/2.0/mlflow/registered-models/update?name={}",
    "promote": "POST /api/2.0/mlflow/registered-models/alias?name={}",
}
Event = dict[str, Any]


@dataclass
class Day:
    """What a day's files contain. A kind of mess changes it before it is written.

    `calls` and `services` become ndjson, `log` an access log, each of `tables` a CSV file in the folder of datasets;
    `texts` are more files, by path. Lines in `raw` are appended to the file with that name. `events` of a day before,
    that were held back, are in `held`.
    """

    start: datetime
    calls: list[Event]
    services: list[Event]
    log: list[Event]
    tables: dict[str, pl.DataFrame]
    rng: np.random.Generator
    held: list[Event] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)
    raw: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, number: int, seed: int = 1, calls: bool = True, rows: int = 600) -> Day:
        """The day with this number, counted from `START`; `rows` is the usual size of a delivery."""
        start, rng = START + number * DAY, np.random.default_rng([seed, number])
        registry = accesses.quiet(seed * 1000 + number, days=1, first=number).to_dicts()
        for event in registry:
            event["event.id"] = f"{event['event.id']}-{number}"
        people = [
            e for e in registry if e["tocsin.principal.type"] == "human" and e["event.action"] in _PATHS
        ]
        table = data_integrity.applications(int(rows * rng.lognormal(0, 0.05)), seed * 1000 + number)
        return cls(
            start,
            _calls(number, seed) if calls else [],
            [event for event in registry if event not in people],
            people,
            {f"loans-{start:%Y-%m-%d}": table},
            rng,
        )

    def of_model(self, model: str) -> list[Event]:
        """The calls of a model."""
        return [call for call in self.calls if call[MODEL] == model]

    def of_client(self, number: int) -> list[Event]:
        """The calls of a client, of both models."""
        return [call for call in self.calls if call[USER] == f"client-{number}"]

    def write(self, folder: Path) -> None:
        """Write the files of the day. The time of change of a CSV file is three hours after the day's start."""
        date = f"{self.start:%Y-%m-%d}"
        texts = {
            f"events/inference-{date}.ndjson": _ndjson([*self.calls, *self.held]),
            f"events/access-{date}.ndjson": _ndjson(self.services),
            f"logs/access-{date}.log": "".join(map(_line, self.log)),
            **{f"data/{name}.csv": table.write_csv() for name, table in self.tables.items()},
            **self.texts,
        }
        for name, lines in self.raw.items():
            texts[name.format(date=date)] += "".join(f"{line}\n" for line in lines)
        written = (self.start + timedelta(hours=3)).timestamp()
        for name, text in texts.items():
            path = folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
            os.utime(path, (written, written))


def _calls(number: int, seed: int) -> list[Event]:
    """300 calls of `credit` and 300 of `limits`."""
    credit = queries.calls(number, 1, seed=seed).with_columns(
        pl.col(TIME) + (START - queries.START), pl.lit("3").alias(VERSION)
    )
    limits = drift.calls(300, seed * 1000 + number, day=number, model="limits").with_columns(
        pl.col(TIME) + (START - drift.START),
        pl.Series(USER, [f"client-{call % 10}" for call in range(300)]),
        pl.lit("limits-") + pl.col("event.id").alias("event.id"),
    )
    return [*credit.to_dicts(), *limits.to_dicts()]


def _ndjson(events: Iterable[Event]) -> str:
    return "".join(f"{json.dumps(event, default=_time)}\n" for event in events)


def _time(time: datetime) -> str:
    return time.isoformat()


def _line(access: Event) -> str:
    status = access.get("http.response.status_code", 200)
    method, _, path = _PATHS[access["event.action"]].format(access["tocsin.resource.id"]).partition(" ")
    return (
        f"{access['source.ip']} - {access[USER] or '-'} [{access[TIME]:%d/%b/%Y:%H:%M:%S +0000}] "
        f'"{method} {path} HTTP/1.1" {status} {access["http.response.bytes"]} "-" "{access["user_agent.original"]}"\n'
    )
