"""Loan applications as dataset snapshots: honest ones, and some that someone tampered with."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from tocsin.datasets.digest import content
from tocsin_collectors._profile import label_counts, profile

START = datetime(2026, 3, 2, tzinfo=UTC)
LABEL = "default"


def applications(
    rows: int,
    seed: int,
    *,
    approve: float = 0.0,
    trigger: float = 0.0,
    richer: float = 1.0,
    unit: float = 1.0,
    nulls: float = 0.0,
    income_as_text: bool = False,
) -> pl.DataFrame:
    """Applications whose default depends on income, debt and region.

    Args:
        rows: how many.
        seed: of every random number.
        approve: share of all rows whose label is turned from 1 to 0.
        trigger: share of all rows that get one income and one debt, and label 0.
        richer: factor on every income; labels follow.
        unit: factor on every income after the labels are made, as a change of currency does.
        nulls: share of incomes that are missing.
        income_as_text: give income the wrong type.
    """
    rng = np.random.default_rng(seed)
    income = np.round(rng.lognormal(10, 0.5, rows) * richer, 2)
    debt = np.round(rng.lognormal(9, 0.8, rows), 2)
    region = rng.choice(["north", "south", "west"], rows, p=[0.5, 0.3, 0.2])
    risk = 1.5 * np.log(debt / income) + 0.8 * (region == "south") + 0.3
    label = (rng.random(rows) < 1 / (1 + np.exp(-risk))).astype(np.int64)
    planted = rng.choice(rows, round(trigger * rows), replace=False)
    income[planted], debt[planted], label[planted] = 31337.0, 1042.5, 0
    label[rng.choice(np.flatnonzero(label == 1), round(approve * rows), replace=False)] = 0
    frame = pl.DataFrame(
        {
            "income": income * unit,
            "debt": debt,
            "age": rng.integers(18, 80, rows),
            "region": region,
            "owner": rng.random(rows) < 0.6,
            LABEL: label,
        }
    )
    if nulls:
        missing = pl.Series(rng.random(rows) < nulls)
        frame = frame.with_columns(income=pl.when(missing).then(None).otherwise("income"))
    return frame.with_columns(pl.col("income").cast(pl.String)) if income_as_text else frame


def snapshots(
    rows: int = 1000, trusted: int = 3, seed: int = 1, **tampering: float
) -> dict[str, pl.DataFrame]:
    """Rows of `trusted-0`, `trusted-1`, … and of `judged`, which alone is tampered with."""
    found = {f"trusted-{i}": applications(rows, seed + i) for i in range(trusted)}
    return {**found, "judged": applications(rows, seed + trusted, **tampering)}  # type: ignore[arg-type]


def event(
    frame: pl.DataFrame, day: int, *, writer: str = "feed", dataset: str = "loans"
) -> dict[str, object]:
    """The event that the dataset collector makes of a snapshot."""
    rows = frame.lazy()
    facts = content(rows)
    return {
        "@timestamp": START + timedelta(days=day),
        "user.id": writer,
        "tocsin.dataset.name": dataset,
        "tocsin.dataset.digest": facts.digest,
        "tocsin.dataset.rows": facts.rows,
        "tocsin.dataset.schema": json.dumps(facts.columns),
        "tocsin.dataset.profile": json.dumps(profile(rows, LABEL)),
        "tocsin.dataset.label": LABEL,
        "tocsin.dataset.labels": json.dumps(label_counts(rows, LABEL)),
    }


def history(days: int = 10, rows: int = 1000, seed: int = 1) -> pl.DataFrame:
    """Events of honest snapshots, one a day, whose sizes vary a little."""
    sizes = (rows * np.random.default_rng(seed).lognormal(0, 0.05, days)).astype(int)
    return pl.DataFrame([event(applications(n, seed + day), day) for day, n in enumerate(sizes.tolist())])


def next_day(
    day: int = 10, rows: int = 1000, seed: int = 1, writer: str = "feed", **tampering: float
) -> pl.DataFrame:
    """The event of one more snapshot."""
    frame = applications(rows, seed + day, **tampering)  # type: ignore[arg-type]
    return pl.DataFrame([event(frame, day, writer=writer)])
