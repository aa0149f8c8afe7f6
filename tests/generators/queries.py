"""Calls of a credit-like model by honest clients and by one that copies it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

START = datetime(2026, 3, 1, tzinfo=UTC)
FEATURES = 8


def applicants(count: int, seed: int) -> np.ndarray:
    """Correlated features on different scales, some of them counts."""
    rng = np.random.default_rng(seed)
    wealth = rng.normal(size=count)
    columns = [
        np.exp(10 + wealth + rng.normal(0, 0.3, count)).round(-2),
        np.exp(7 + wealth + rng.normal(0, 0.3, count)).round(),
        np.clip(rng.normal(40 + 4 * wealth, 10), 18, 90).round(),
        rng.poisson(np.exp(0.3 - 0.5 * wealth)).astype(float),
        rng.poisson(np.exp(0.2 - 0.5 * wealth)).astype(float),
        (wealth + rng.normal(0, 0.5, count)).round(2),
        (2 * wealth + rng.normal(0, 0.5, count)).round(2),
        rng.integers(0, 3, count).astype(float),
    ]
    return np.column_stack(columns)


def answers(vectors: np.ndarray) -> dict[str, list[float] | list[str]]:
    """The model's answers to vectors, as columns: it reads the features 5 and 3."""
    score = 1 / (1 + np.exp(vectors[:, 5] - 0.4 * vectors[:, 3]))
    return {
        "tocsin.output.label": [str(int(s > 0.5)) for s in score],
        "tocsin.output.score": score.tolist(),
        "tocsin.output.confidence": np.maximum(score, 1 - score).tolist(),
    }


def variants(count: int, varied: tuple[int, ...] = (1, 5)) -> np.ndarray:
    """Variants of one applicant, who takes the values of other ones in some features."""
    rows = np.repeat(applicants(1, seed=77), count, axis=0)
    rows[:, varied] = applicants(count, seed=78)[:, varied]
    return rows


def trained() -> dict[str, pl.DataFrame]:
    """The rows of the training snapshot `trained`: applicants whom no client asks about, with labels."""
    rows = applicants(2000, seed=91)
    named = {f"f{i}": column for i, column in enumerate(rows.T)}
    return {"trained": pl.DataFrame(named | {"default": answers(rows)["tocsin.output.label"]})}


def snapshots(day: int = 0) -> pl.DataFrame:
    """The event of the training snapshot."""
    return pl.DataFrame(
        {
            "@timestamp": [START + timedelta(days=day)],
            "event.id": ["training"],
            "user.id": ["svc-training"],
            "tocsin.dataset.name": ["applications"],
            "tocsin.dataset.digest": ["trained"],
            "tocsin.dataset.label": ["default"],
        }
    )


def calls(
    day: int, days: int, copied: int = 0, batch: int = 0, seed: int = 1, varied: int = 0, probed: int = 0
) -> pl.DataFrame:
    """Ten clients with 30 calls a day, a third of them what-ifs; a thief that draws each feature by itself;
    a batch of known applicants; variants of one applicant among the calls of the first client; training rows among them.
    """
    rng = np.random.default_rng([seed, day])
    known = applicants(4000, seed)
    rows: list[tuple[datetime, str, np.ndarray]] = []
    for number in range(day, day + days):
        start = START + timedelta(days=number)
        for client in range(10):
            mine = known[rng.integers(len(known), size=30)]
            mine[20:] = mine[rng.integers(20, size=10)]
            mine[20:, 1] = known[rng.integers(len(known), size=10), 1]
            rows += [
                (start + timedelta(hours=9, minutes=client, seconds=60 * i), f"client-{client}", v)
                for i, v in enumerate(mine)
            ]
        drawn = np.column_stack([known[rng.integers(len(known), size=copied), j] for j in range(FEATURES)])
        rows += [(start + timedelta(hours=14, seconds=9 * i), "thief", v) for i, v in enumerate(drawn)]
        rows += [
            (start + timedelta(hours=9, seconds=60 * i + 30), "client-0", v)
            for i, v in enumerate([*variants(varied), *applicants(2000, seed=91)[:probed]])
        ]
        chosen = known[rng.choice(len(known), batch, replace=False)]
        rows += [(start + timedelta(hours=2, seconds=i), "nightly", v) for i, v in enumerate(chosen)]
    vectors = np.stack([v for _, _, v in rows])
    return pl.DataFrame(
        {
            "@timestamp": [at for at, _, _ in rows],
            "event.id": [f"{day}-{i}" for i in range(len(rows))],
            "user.id": [user for _, user, _ in rows],
            "tocsin.model.name": ["credit"] * len(rows),
            "tocsin.features.names": [",".join(f"f{i}" for i in range(FEATURES))] * len(rows),
            "tocsin.features.values": vectors.tolist(),
            **answers(vectors),
        }
    )
