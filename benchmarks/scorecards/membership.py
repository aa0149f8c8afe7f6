"""membership on real rows: a principal asks about rows of the training data, among rows that are not in it.

The model is trained on half of a table, which is a dataset snapshot. Honest principals ask about rows of the other half for
a month; one of them scores existing customers every night. Each window is one day of a principal never seen before. An
attacker asks about candidates, half of whom are in the training data, alone or among 1,000 honest queries.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.attacks import tables
from benchmarks.attacks.clients import customer, load_test, month, power_user, retried
from benchmarks.attacks.extraction import START, Behavior, Rng, Rows, Target, calls, real, spread, train
from benchmarks.card import Row, shared
from tocsin.testing.evaluate import evaluate

Ratios = NDArray[np.float64]

TABLES = ("credit", "census", "housing", "loans", "german")
DAYS, WINDOWS = 28, 10
#: Numbers of training rows that an attacker asks about, and of honest queries among which they are.
ROWS, AMONG = (10, 20, 50), (0, 1000)
#: Existing customers that the nightly batch scores.
PORTFOLIO = 250
#: Kinds of honest days: how a principal behaves, its calls, and how many such days a seed has.
HONEST: dict[str, tuple[Callable[[Target, Rng], Behavior], int, int]] = {
    "customers": (customer, 100, 60),
    "partners": (lambda _t, _r: real, 1000, 20),
    "power users": (power_user, 50, 20),
    "retries": (lambda t, r: retried(customer(t, r), 0.5), 200, 20),
    "load tests": (lambda _t, _r: load_test, 1000, 5),
}


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
    """The rows of the scorecard. The other tables are measured with the first seed alone."""
    found = []
    for name in TABLES:
        of_table = seeds if name == TABLES[0] else [seed for seed in seeds if seed == 0]
        trials = [_ratios(name, seed) for seed in of_table]
        for case in dict.fromkeys(case for trial in trials for case in trial):
            ratios = np.concatenate([trial[case] for trial in trials])
            if case.startswith("new "):
                found.append(shared(("membership", name, case), "FPR", ratios, 0.02, quiet=True))
            else:
                found.append(shared(("membership", name, case), "TPR", ratios))
    return found


def _ratios(name: str, seed: int) -> dict[str, Ratios]:
    """The scores in thresholds of each case."""
    rng = np.random.default_rng(3000 + seed)
    target = train(tables.TABLES[name](), "label", seed)
    days: list[pl.DataFrame] = []
    cases: dict[str, list[str]] = {}

    def day(case: str, rows: Rows) -> None:
        who = f"{case} {len(days)}"
        cases.setdefault(case, []).append(who)
        days.append(calls(target, who, rows, spread(rng, DAYS, len(rows))))

    for kind, (behave, count, number) in HONEST.items():
        for _ in range(number):
            day(f"new {kind}, {count} calls", behave(target, rng)(target, rng, count))
    for attack, ask in ATTACKS.items():
        for count in ROWS:
            for among in AMONG:
                for _ in range(WINDOWS):
                    rows = np.vstack([ask(target, rng, count), real(target, rng, among)])
                    where = f" and {among:,} others" if among else ""
                    day(f"{attack}, {count} training rows{where}", rows[rng.permutation(len(rows))])
    portfolio = target.trained[rng.choice(len(target.trained), min(PORTFOLIO, len(target.trained)))]
    nightly = [calls(target, "portfolio", portfolio, spread(rng, i, len(portfolio))) for i in range(DAYS)]
    known = {"inference": pl.concat([month(target, rng, DAYS), *nightly]), "dataset": _snapshot()}
    trained = pl.DataFrame(target.trained, schema=target.names.split(","), orient="row").lazy()
    scores = evaluate(
        "membership", {"inference": pl.concat(days)}, baseline=known, snapshots={"trained": trained}
    ).scores
    ratio = dict(scores.select("subject.id", pl.col("score") / pl.col("threshold")).iter_rows())
    return {case: np.array([ratio.get(who, 0.0) for who in names]) for case, names in cases.items()}


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
