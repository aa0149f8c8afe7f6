"""The four attacks. The demo carries them out: it flips labels, trains a copy, downloads every model."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from tocsin.demo.data import LABEL
from tocsin.demo.lender import DAY, MODELS, Call, Lender, Line, Matrix, fit

#: The applicants whom the ring wants approved: two months or more behind with their payments.
RING = pl.col("PAY_0") >= 2
_FORGED = 150
ROGUE = "broker-13"
VICTIM = "maria"
_QUERIES_A_DAY = 400


@dataclass(frozen=True, slots=True)
class Poisoned:
    """The effect of the poisoned feed on a model that is trained on it."""

    flipped: int
    forged: int
    approved_before: int
    approved_after: int
    defaulters: int
    auc_before: float
    auc_after: float


def poison(lender: Lender, week: int) -> pl.DataFrame:
    """A week's feed in which the ring's defaults are labelled good, with forged good applications of the same kind."""
    feed = lender.feeds[week]
    ring = feed.filter(RING & (pl.col(LABEL) == 1))
    forged = ring.sample(_FORGED, with_replacement=True, seed=week)
    amounts = [c for c in feed.columns if "AMT" in c or c == "LIMIT_BAL"]
    noise = lender.rng.uniform(0.9, 1.1, (_FORGED, len(amounts)))
    forged = forged.with_columns((pl.col(c) * noise[:, i]).round() for i, c in enumerate(amounts))
    flipped = feed.with_columns(pl.when(RING).then(0.0).otherwise(pl.col(LABEL)).alias(LABEL))
    forged = forged.with_columns(pl.lit(0.0).alias(LABEL))
    return pl.concat([flipped, forged]).sample(fraction=1.0, shuffle=True, seed=week)


def consequences(lender: Lender, week: int, feed: pl.DataFrame) -> Poisoned:
    """Train the lender's model with and without the poisoned feed, and count the fraud that each approves."""
    known = pl.concat(lender.training)
    clean = fit(pl.concat([known, lender.feeds[week]]).tail(3_000), lender.features)
    poisoned = fit(pl.concat([known, feed]).tail(3_000), lender.features)
    fraud = lender.holdout.filter(RING & (pl.col(LABEL) == 1)).select(lender.features).to_numpy()
    return Poisoned(
        flipped=lender.feeds[week].filter(RING & (pl.col(LABEL) == 1)).height,
        forged=_FORGED,
        approved_before=int((clean.predict(fraud) == 0).sum()),
        approved_after=int((poisoned.predict(fraud) == 0).sum()),
        defaulters=len(fraud),
        auc_before=lender.auc(clean),
        auc_after=lender.auc(poisoned),
    )


class Extraction:
    """A client that copies the model. It queries invented applicants, then those of whom its copy is least sure."""

    def __init__(self, lender: Lender) -> None:
        self._lender = lender
        self._queries: list[Matrix] = []
        self._answers: list[float] = []
        self._copy: Any = None
        self.fidelity: list[tuple[int, float]] = []
        self.asked: list[datetime] = []

    def day(self, day: datetime) -> list[Call]:
        """One day's queries. Measures the fidelity of copies that are trained on the answers so far."""
        vectors = self._invent(_QUERIES_A_DAY) if self._copy is None else self._unsure(_QUERIES_A_DAY)
        first = day + timedelta(hours=10)
        calls = [Call(first + timedelta(seconds=20 * i), ROGUE, vector) for i, vector in enumerate(vectors)]
        self.asked += [call.at for call in calls]
        before = len(self._queries)
        self._queries += list(vectors)
        self._answers += self._lender.model.predict_proba(vectors)[:, 1].tolist()
        for asked in (50, 100, 200, before + len(vectors)):
            if asked > before:
                self._train(asked)
        return calls

    def _train(self, asked: int) -> None:
        """Train a copy on the first `asked` answers; its fidelity is the share of equal decisions on the holdout."""
        from sklearn.ensemble import HistGradientBoostingRegressor

        self._copy = HistGradientBoostingRegressor(max_iter=150, random_state=0)
        self._copy.fit(np.stack(self._queries[:asked]), self._answers[:asked])
        rows = self._lender.holdout.select(self._lender.features).to_numpy()
        alike = (self._copy.predict(rows) >= 0.5) == (self._lender.model.predict(rows) == 1)
        self.fidelity.append((asked, float(alike.mean())))

    def _invent(self, count: int) -> Matrix:
        """Applicants with each feature drawn independently from its known values."""
        known, rng = self._lender.clients, self._lender.rng
        return np.column_stack([rng.choice(known[:, j], count) for j in range(known.shape[1])])

    def _unsure(self, count: int) -> Matrix:
        candidates = self._invent(count * 10)
        order = np.argsort(np.abs(self._copy.predict(candidates) - 0.5), kind="stable")
        chosen: Matrix = candidates[order[:count]]
        return chosen


def intrude(lender: Lender, night: datetime) -> list[Line]:
    """A stolen account at 02:43: lists the registry, then downloads every model."""
    address, agent = "203.0.113.66", "python-requests/2.32"
    at = night + timedelta(hours=2, minutes=43)
    lines: list[Line] = []

    def go(request: str, size: int = 2_000) -> None:
        nonlocal at
        at += timedelta(seconds=int(lender.rng.integers(4, 40)))
        lines.append(Line(at, VICTIM, request, address, agent, size))

    go("GET /api/2.0/mlflow/registered-models/search?max_results=1000")
    for model in MODELS:
        go(f"GET /api/2.0/mlflow/model-versions/search?filter=name%3D%27{model}%27&name={model}")
        for version in range(1, 5):
            go(f"GET /api/2.0/mlflow/model-versions/get-download-uri?name={model}&version={version}")
            go(f"GET /model-versions/get-artifact?name={model}&version={version}&path=model.pkl", 48_000_000)
    return lines


def week_start(start: datetime, week: int) -> datetime:
    """The first moment of a week, counted from 0."""
    return start + week * 7 * DAY
