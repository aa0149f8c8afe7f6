"""membership on real rows: a principal asks about rows of the training data, among rows that are not in it.

The model is trained on half of a table, which is a dataset snapshot. Honest principals ask about rows of the other half for
a month; one of them scores existing customers every night. Each window is one day of a principal never seen before. An
attacker asks about candidates, half of whom are in the training data, alone or among 1,000 honest queries.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import numpy as np
import polars as pl

from benchmarks.attacks import tables
from benchmarks.attacks.clients import month
from benchmarks.attacks.days import Days, Ratios, card
from benchmarks.attacks.extraction import START, Behavior, Rng, Rows, Target, calls, real, spread, train
from benchmarks.card import Row
from tocsin.testing.evaluate import evaluate

TABLES = ("credit", "census", "housing", "loans", "german")
DAYS, WINDOWS = 28, 10
#: Numbers of training rows that an attacker asks about, and of honest queries among which they are.
ROWS, AMONG = (10, 20, 50), (0, 1000)
#: Existing customers that the nightly batch scores.
PORTFOLIO = 250


def candidates(target: Target, rng: Rng, count: int) -> Rows:
    """`count` rows of the training data and as many others, in random order."""
    members = target.trained[rng.choice(len(target.trained), count, replace=False)]
    rows = np.vstack([members, real(target, rng, count)])
    return rows[rng.permutation(len(rows))]


def nudged(target: Target, rng: Rng, count: int) -> Rows:
    """The same, with all values changed by about a hundredth of their spread."""
    rows = candidates(target, rng, count)
    return rows + 0.01 * target.spread * rng.normal(size=rows.shape)


ATTACKS: dict[str, Behavior] = {"candidates": candidates, "nudged candidates": nudged}


def measure(seeds: Sequence[int]) -> list[Row]:
    """The rows of the scorecard."""
    return card(lambda _: "membership", TABLES, seeds, _ratios)


def _ratios(name: str, seed: int) -> dict[str, Ratios]:
    """The scores in thresholds of each case."""
    rng = np.random.default_rng(3000 + seed)
    target = train(tables.TABLES[name](), "label", seed)
    days = Days(target, rng, DAYS)
    for attack, ask in ATTACKS.items():
        for count in ROWS:
            for among in AMONG:
                for _ in range(WINDOWS):
                    rows = np.vstack([ask(target, rng, count), real(target, rng, among)])
                    where = f" and {among:,} others" if among else ""
                    days.add(f"{attack}, {count} training rows{where}", rows[rng.permutation(len(rows))])
    portfolio = target.trained[rng.choice(len(target.trained), min(PORTFOLIO, len(target.trained)))]
    nightly = [calls(target, "portfolio", portfolio, spread(rng, i, len(portfolio))) for i in range(DAYS)]
    known = {"inference": pl.concat([month(target, rng, DAYS), *nightly]), "dataset": _snapshot()}
    trained = pl.DataFrame(target.trained, schema=target.names.split(","), orient="row").lazy()
    events = {"inference": pl.concat(days.frames)}
    scores = evaluate("membership", events, baseline=known, snapshots={"trained": trained}).scores
    return days.by_case(dict(scores.select("subject.id", pl.col("score") / pl.col("threshold")).iter_rows()))


def _snapshot() -> pl.DataFrame:
    """The event of the training snapshot, an hour before the month."""
    return pl.DataFrame(
        {
            "@timestamp": [START - timedelta(hours=1)],
            "event.id": ["training"],
            "tocsin.dataset.name": ["applications"],
            "tocsin.dataset.digest": ["trained"],
        }
    )
