"""The lender: its credit model, its applicants, its clients, its model registry and its training feed.

The data is written as in production: the inference API records with `tocsin.Recorder`, the registry writes an
nginx access log, the feed and the training jobs write files.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tocsin.clock import EPOCH, ScriptedClock, format_time, parse_time
from tocsin.demo.data import LABEL
from tocsin.pipeline.detecting.evaluate import one_thread
from tocsin_recorder.recorder import Recorder

START = parse_time("2026-01-01")  # a Thursday
WEEKS = 12
DAY = timedelta(days=1)
FEED = 1_000  # labelled applications a week
MODEL = "credit"
BROKERS = tuple(f"broker-{i:02d}" for i in range(1, 27))
MODELS = (MODEL, "fraud-score", "limit-setter", "churn", "collections", "marketing")
_PEOPLE = ("maria", "jonas", "aisha", "pedro", "wen", "olga", "tariq", "lena")
_BROWSER = "mlflow-python-client/3.18.0"
_HOLDOUT, _FIRST = 3_000, 3_000
_FRESH_A_DAY = 150

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the inference API."""

    at: datetime
    principal: str
    vector: Matrix


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the registry's nginx log."""

    at: datetime
    user: str
    request: str
    address: str = ""
    agent: str = _BROWSER
    size: int = 812


@dataclass(frozen=True, slots=True)
class Delivery:
    """The arrival of a week's feed of labelled applications."""

    at: datetime
    week: int
    rows: pl.DataFrame


Event = Call | Line | Delivery


class Lender:
    """One lender over twelve weeks. All randomness comes from one seed."""

    def __init__(self, rows: pl.DataFrame, folder: Path, clock: ScriptedClock, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.clock, self.folder = clock, folder
        for name in ("inference", "registry", "feeds/applications", "pipeline"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        self.features = [c for c in rows.columns if c != LABEL]
        self._deal(rows.sample(fraction=1.0, shuffle=True, seed=seed))
        self.training = [self.first]
        self.candidates = 0
        self.model = fit(self.newest(), self.features)
        self.recorder = Recorder(
            MODEL, version="1", spool=folder / "inference", queue=1_000_000, clock=self._nanoseconds
        )

    def _deal(self, rows: pl.DataFrame) -> None:
        """Split the rows into a holdout, the first training set, weekly feeds, and the applicants, without overlap."""
        young = rows.filter(pl.col("AGE") <= 26).head(7 * _FRESH_A_DAY)
        rest = rows.join(young, on=rows.columns, how="anti", maintain_order="left")
        self.holdout, rest = rest.head(_HOLDOUT), rest.slice(_HOLDOUT)
        self.first, rest = rest.head(_FIRST), rest.slice(_FIRST)
        self.feeds = [rest.slice(week * FEED, FEED) for week in range(WEEKS)]
        self._applicants = rest.slice(WEEKS * FEED).select(self.features).to_numpy()
        self._young = young.select(self.features).to_numpy()
        self._next = 0
        self.shifted = False
        self.clients = self.first.select(self.features).to_numpy()

    # The model

    def train(self, at: datetime) -> None:
        """A week's training: a candidate on the newest labelled rows, registered but not deployed."""
        candidate = fit(self.newest(), self.features)
        self.candidates += 1
        self.job(at, "train", {"auc": self.auc(candidate)})
        path = f"model-versions/create?name={MODEL}&version={self.candidates + 1}"
        self._log(Line(at + timedelta(minutes=5), "svc-training", f"POST /api/2.0/mlflow/{path}"))

    def mean_age(self) -> tuple[float, float]:
        """Mean age of the usual applicants and of the young ones."""
        at = self.features.index("AGE")
        return float(self._applicants[:, at].mean()), float(self._young[:, at].mean())

    def newest(self) -> pl.DataFrame:
        """The labelled rows of the next training."""
        return pl.concat(self.training).tail(3 * FEED)

    def auc(self, model: Any) -> float:
        """Area under the ROC curve on the holdout."""
        from sklearn.metrics import roc_auc_score

        probability = model.predict_proba(self.holdout.select(self.features).to_numpy())[:, 1]
        return round(float(roc_auc_score(self.holdout[LABEL].to_numpy(), probability)), 4)

    # The data that its systems write

    def _deliver(self, feed: Delivery) -> None:
        """Write a feed, with the sidecar file of its producer."""
        path = self.folder / "feeds" / "applications" / f"2026-w{feed.week + 1:02d}.parquet"
        about = {
            "writer": "partner-feed",
            "time": format_time(feed.at),
            "label": LABEL,
            "name": "applications",
        }
        path.with_name(f"{path.name}.meta.json").write_text(json.dumps(about))
        feed.rows.cast({LABEL: pl.Int64}).write_parquet(path)

    def job(self, at: datetime, step: str, metrics: dict[str, float]) -> None:
        """Write one event of a training job."""
        event = {
            "@timestamp": format_time(at),
            "event": {
                "id": f"credit-training-{step}-{self.candidates}",
                "action": step,
                "outcome": "success",
            },
            "user": {"id": "svc-training"},
            "message": f"{step} of {MODEL} {self.candidates + 1}",
            "tags": [MODEL],
            "tocsin": {
                "pipeline": {
                    "name": "credit-training",
                    "step": step,
                    "trigger": "schedule",
                    "metrics": metrics,
                },
                "model": {"name": MODEL, "version": str(self.candidates + 1)},
            },
        }
        with (self.folder / "pipeline" / "pipeline.ndjson").open("a") as file:
            file.write(json.dumps(event) + "\n")

    def _log(self, line: Line) -> None:
        place = line.address or f"10.20.0.{10 + (sum(line.user.encode()) % 200)}"
        with (self.folder / "registry" / "access.log").open("a") as file:
            file.write(
                f'{place} - {line.user} [{line.at:%d/%b/%Y:%H:%M:%S} +0000] "{line.request} HTTP/1.1" 200 {line.size} '
                f'"-" "{line.agent}"\n'
            )

    def write(self, events: Sequence[Event]) -> None:
        """Let events happen, in order of time: answer and record the calls, write the lines and the feeds."""
        calls = [event for event in events if isinstance(event, Call)]
        if calls:
            self._answer(calls)
        for event in events:
            if isinstance(event, Line):
                self._log(event)
            elif isinstance(event, Delivery):
                self._deliver(event)

    # A day's ordinary traffic

    def day(self, day: datetime, extra: Sequence[Event] = ()) -> list[Event]:
        """The events of one day and `extra` events, in order of time. Nothing is written yet."""
        return sorted([*self._calls(day), *extra, *self._registry_day(day)], key=lambda event: event.at)

    def _answer(self, calls: Sequence[Call]) -> None:
        """Score and record calls."""
        probabilities = self.model.predict_proba(np.stack([c.vector for c in calls]))[:, 1]
        for call, probability in zip(calls, probabilities.tolist(), strict=True):
            self.clock.set(max(call.at, self.clock.now()))
            with self.recorder.call(principal=call.principal) as seen:
                seen.features(call.vector.tolist(), self.features)
                seen.output(int(probability >= 0.5), probability, max(probability, 1 - probability))

    def _nanoseconds(self) -> int:
        return (self.clock.now() - EPOCH) // timedelta(microseconds=1) * 1_000

    def _calls(self, day: datetime) -> Iterator[Call]:
        rng = self.rng
        for broker in BROKERS:
            for _ in range(rng.poisson(5)):
                yield Call(self._office_hours(day), broker, self._applicant())
        batch = rng.choice(len(self.clients), 150, replace=False)
        for i, at in enumerate(batch):
            yield Call(day + timedelta(hours=2, seconds=int(i)), "svc-nightly-batch", self.clients[at])
        for _ in range(6):
            yield from self._what_if(self._office_hours(day), self._applicant())
        for _ in range(rng.poisson(12)):
            call = Call(self._office_hours(day), "mobile-gateway", self._applicant())
            yield call
            if rng.random() < 0.5:
                yield Call(call.at + timedelta(seconds=2), call.principal, call.vector)
        for at in rng.choice(len(self.clients), 10, replace=False):
            yield Call(self._office_hours(day), "internal-audit", self.clients[at])

    def _what_if(self, at: datetime, vector: Matrix) -> Iterator[Call]:
        """A power user who queries one applicant with changed values, such as another limit."""
        for step in range(3):
            changed = vector.copy()
            if step:
                place = int(self.rng.choice(min(21, len(vector))))
                changed[place] = self.clients[self.rng.integers(len(self.clients)), place]
            yield Call(at + timedelta(seconds=40 * step), "power-user", changed)

    def _applicant(self) -> Matrix:
        source = self._young if self.shifted else self._applicants
        self._next += 1
        vector: Matrix = source[self._next % len(source)]
        return vector

    def _office_hours(self, day: datetime) -> datetime:
        return day + timedelta(seconds=float(np.clip(self.rng.normal(13, 2.5), 7.5, 19.5)) * 3600)

    def _registry_day(self, day: datetime) -> list[Line]:
        rng, lines = self.rng, []
        for place, person in enumerate(_PEOPLE):
            for _ in range(rng.poisson(5 if day.weekday() < 5 else 0.3)):
                model = MODELS[place % len(MODELS)] if rng.random() < 0.8 else str(rng.choice(MODELS))
                verb = str(
                    rng.choice(["registered-models/get", "model-versions/get", "model-versions/search"])
                )
                lines.append(
                    (self._office_hours(day), person, f"GET /api/2.0/mlflow/{verb}?name={model}&version=3")
                )
        for hour in range(0, 24, 4):
            path = f"GET /api/2.0/mlflow/model-versions/get-download-uri?name={MODEL}&version=1"
            lines.append((day + timedelta(hours=hour, minutes=7), "svc-serving", path))
        return [Line(at, user, request) for at, user, request in lines]


def fit(rows: pl.DataFrame, features: Sequence[str]) -> Any:
    """A gradient-boosted classifier of default."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    model = HistGradientBoostingClassifier(max_iter=60, learning_rate=0.1, max_leaf_nodes=15, random_state=0)
    with one_thread():
        return model.fit(rows.select(features).to_numpy(), rows[LABEL].to_numpy().astype(int))
