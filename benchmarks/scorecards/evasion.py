"""evasion on real rows: variants of one input among a day's honest queries of the same principal.

A month of honest calls by 30 principals is the baseline. Each window is one day of a principal never seen before. An
attack's queries are alone, or among 1,000 honest queries of a partner, each of them about another customer. The model
and the month are like those of the family `extraction`. An attack that is alone is for `model_extraction`, too: the rows of
both detectors count a window that one of them finds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from benchmarks.attacks import tables
from benchmarks.attacks.clients import month
from benchmarks.attacks.days import Days, Ratios, card
from benchmarks.attacks.evasions import EVASIONS
from benchmarks.attacks.extraction import real, train
from benchmarks.card import Row
from tocsin.testing.evaluate import evaluate

TABLES = ("credit", "census", "housing", "loans", "german")
DAYS = 28
ALONE = ", alone"
WINDOWS = 10  # of each attack and seed
#: Numbers of an attack's queries, and of the honest ones among which they are.
QUERIES, AMONG = (20, 50, 100), (0, 1000)


def measure(seeds: Sequence[int]) -> list[Row]:
    """The rows of the scorecard."""
    return card(
        lambda case: "evasion+model_extraction" if case.endswith(ALONE) else "evasion", TABLES, seeds, _ratios
    )


def _ratios(name: str, seed: int) -> dict[str, Ratios]:
    """The scores in thresholds of each case."""
    rng = np.random.default_rng(2000 + seed)
    target = train(tables.TABLES[name](), "label", seed)
    days = Days(target, rng, DAYS)
    for attack, ask in EVASIONS.items():
        for count in QUERIES:
            for among in AMONG:
                for _ in range(WINDOWS):
                    rows = np.vstack([ask(target, rng, count), real(target, rng, among)])
                    rows = rows[rng.permutation(len(rows))] if among else rows
                    days.add(f"{attack}, {count} queries{f' among {among:,}' if among else ALONE}", rows)
    known = {"inference": month(target, rng, DAYS)}
    alone = [one for one in days.frames if one["user.id"][0].rsplit(" ", 1)[0].endswith(ALONE)]
    ratio = _of("evasion", pl.concat(days.frames), known)
    other = _of("model_extraction", pl.concat(alone), known)
    return days.by_case(ratio | {who: max(score, ratio.get(who, 0.0)) for who, score in other.items()})


def _of(detector: str, events: pl.DataFrame, known: dict[str, pl.DataFrame]) -> dict[str, float]:
    scores = evaluate(detector, {"inference": events}, baseline=known).scores
    return dict(scores.select("subject.id", pl.col("score") / pl.col("threshold")).iter_rows())
