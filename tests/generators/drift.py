"""Calls of a credit model: quiet ones, and ones that have drifted in a chosen way."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

Floats = NDArray[np.float64]

START = datetime(2026, 3, 2, tzinfo=UTC)
NAMES = "income,debt,age,calls,region:category,employed"
INCOME, DEBT, AGE, CALLS, REGION, EMPLOYED = range(6)


def calls(
    rows: int,
    seed: int,
    day: int = 0,
    days: int = 1,
    change: str = "none",
    share: float = 1.0,
    model: str = "credit",
    version: str = "1",
) -> pl.DataFrame:
    """Rows of the inference stream, evenly over some days; `change` hits a share of them."""
    rng = np.random.default_rng(seed)
    vectors = _vectors(rng, rows)
    hit = rng.random(rows) < share
    vectors[hit] = _CHANGES[change](vectors[hit], rng)
    scores = 1 / (1 + np.exp(-_risk(vectors) + rng.normal(0, 0.5, rows)))
    scores[hit] = _ANSWERS.get(change, lambda s: s)(scores[hit])
    labels = np.where(scores >= 0.5, "refuse", "grant")
    names = NAMES
    if change == "new_schema":
        vectors, names = np.column_stack((vectors[:, 1:], rng.normal(size=rows))), NAMES[7:] + ",tenure"
    return pl.DataFrame(
        {
            "@timestamp": [START + timedelta(days=day + days * (k + 0.5) / rows) for k in range(rows)],
            "event.id": [f"{seed}-{day}-{k}" for k in range(rows)],
            "tocsin.model.name": model,
            "tocsin.model.version": version,
            "tocsin.features.names": names,
            "tocsin.features.values": pl.Series(vectors.tolist(), dtype=pl.List(pl.Float64)),
            "tocsin.output.label": pl.Series(labels).replace("refuse", None)
            if change == "no_label"
            else labels,
            "tocsin.output.score": pl.Series(scores, nan_to_null=True),
            "tocsin.output.confidence": pl.Series(np.maximum(scores, 1 - scores), nan_to_null=True),
        }
    )


def _vectors(rng: np.random.Generator, rows: int) -> Floats:
    income = np.round(rng.lognormal(10, 0.5, rows))
    return np.column_stack(
        (
            income,
            np.round(income * rng.lognormal(-1, 0.3, rows)),
            rng.integers(18, 80, rows),
            np.maximum(rng.poisson(3, rows) - 2, 0),
            rng.choice(9, rows, p=[0.3, 0.2, 0.15, 0.1, 0.1, 0.05, 0.05, 0.04, 0.01]),
            rng.random(rows) < 0.8,
        )
    ).astype(np.float64)


def _risk(vectors: Floats) -> Floats:
    known = np.nan_to_num(vectors)
    return 4 * known[:, DEBT] / (known[:, INCOME] + 1) - 2.2 - 0.5 * known[:, EMPLOYED]


def _units(vectors: Floats, rng: np.random.Generator) -> Floats:
    vectors[:, INCOME] /= 1000
    return vectors


def _shuffled(vectors: Floats, rng: np.random.Generator) -> Floats:
    vectors[:, DEBT] = rng.permutation(vectors[:, DEBT])
    return vectors


def _missing(vectors: Floats, rng: np.random.Generator) -> Floats:
    vectors[:, AGE] = np.nan
    return vectors


def _new_region(vectors: Floats, rng: np.random.Generator) -> Floats:
    vectors[:, REGION] = 11
    return vectors


def _richer(vectors: Floats, rng: np.random.Generator) -> Floats:
    vectors[:, [INCOME, DEBT]] = np.round(vectors[:, [INCOME, DEBT]] * 1.01)
    return vectors


def _indebted(vectors: Floats, rng: np.random.Generator) -> Floats:
    vectors[:, DEBT] *= 1.6
    return vectors


def _same(vectors: Floats, rng: np.random.Generator) -> Floats:
    return vectors


_CHANGES: dict[str, Callable[[Floats, np.random.Generator], Floats]] = {
    "none": _same,
    "units": _units,
    "shuffled": _shuffled,
    "missing": _missing,
    "new_region": _new_region,
    "richer": _richer,
    "indebted": _indebted,
    "new_schema": _same,
    "stuck": _same,
    "no_answer": _same,
    "no_label": _same,
    "a_little": _same,
}
_ANSWERS: dict[str, Callable[[Floats], Floats]] = {
    "stuck": lambda scores: np.full_like(scores, 0.25),
    "no_answer": lambda scores: np.full_like(scores, np.nan),
    "a_little": lambda scores: np.minimum(scores + 0.004, 1.0),
}
