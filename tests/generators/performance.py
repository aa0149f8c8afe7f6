"""Answers of a calibrated classifier, and their labels, which arrive some days later."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tests.generators.drift import START

Floats = NDArray[np.float64]


def _chances(rows: int, seed: int, hard: float) -> Floats:
    """The probability of class 1 for each call; `hard`: the share of calls near one half."""
    rng = np.random.default_rng(seed)
    chances = rng.beta(0.3, 0.9, rows)
    return np.where(rng.random(rows) < hard, rng.uniform(0.35, 0.65, rows), chances)


def answers(
    rows: int, seed: int, day: int = 0, days: int = 1, hard: float = 0.0, model: str = "credit"
) -> pl.DataFrame:
    """Calls of the model, evenly over some days."""
    chances = _chances(rows, seed, hard)
    return pl.DataFrame(
        {
            "@timestamp": [START + timedelta(days=day + days * (k + 0.5) / rows) for k in range(rows)],
            "event.id": [f"{seed}-{day}-{k}" for k in range(rows)],
            "tocsin.model.name": model,
            "tocsin.output.label": (chances >= 0.5).astype(int).astype(str),
            "tocsin.output.score": chances,
        }
    )


def labels(
    rows: int,
    seed: int,
    day: int = 0,
    days: int = 1,
    hard: float = 0.0,
    model: str = "credit",
    delay: int = 0,
    random: float = 0.0,
    strays: float = 0.0,
) -> pl.DataFrame:
    """The labels of `answers` with the same arguments. A share of them is drawn without regard to the call (`random`), or
    is of no call (`strays`)."""
    rng = np.random.default_rng(seed + 10_000)
    chances = _chances(rows, seed, hard)
    chances = np.where(rng.random(rows) < random, chances.mean(), chances)
    of = [f"{seed}-{day}-{k}" for k in range(rows)]
    stray = rng.random(rows) < strays
    return pl.DataFrame(
        {
            "@timestamp": [
                START + timedelta(days=day + delay + days * (k + 0.6) / rows) for k in range(rows)
            ],
            "event.id": [f"label-{id}" for id in of],
            "tocsin.model.name": model,
            "tocsin.label.of": [f"stray-{id}" if s else id for id, s in zip(of, stray, strict=True)],
            "tocsin.label.value": (rng.random(rows) < chances).astype(int).astype(str),
        }
    )
