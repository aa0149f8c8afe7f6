"""evasion on real rows: variants of one input among a day's honest queries of the same principal.

A month of honest calls by 30 principals is the baseline. Each window is one day of a principal never seen before. An
attack's queries are alone, or among 1,000 honest queries of a partner, each of them about another customer. The model
and the month are like those of the family `extraction`. An attack that is alone is for `model_extraction`, too: the rows of
both detectors count a window that one of them finds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.attacks import tables
from benchmarks.attacks.clients import customer, load_test, month, power_user, retried
from benchmarks.attacks.evasions import EVASIONS
from benchmarks.attacks.extraction import Behavior, Rng, Target, calls, real, spread, train
from benchmarks.card import Row, shared
from tocsin.testing.evaluate import evaluate

Ratios = NDArray[np.float64]

TABLES = ("credit", "census", "housing", "loans", "german")
DAYS = 28
ALONE = ", alone"
WINDOWS = 10  # of each attack and seed
#: Numbers of an attack's queries, and of the honest ones among which they are.
QUERIES, AMONG = (20, 50, 100), (0, 1000)
#: Kinds of honest days: how a principal behaves, its calls, and how many such days a seed has.
HONEST: dict[str, tuple[Callable[[Target, Rng], Behavior], int, int]] = {
    "customers": (customer, 100, 60),
    "partners": (lambda _t, _r: real, 1000, 20),
    "power users": (power_user, 50, 20),
    "retries": (lambda t, r: retried(customer(t, r), 0.5), 200, 20),
    "load tests": (lambda _t, _r: load_test, 1000, 5),
}


def measure(seeds: Sequence[int]) -> list[Row]:
    """The rows of the scorecard. The other tables are measured with the first seed alone."""
    found = []
    for name in TABLES:
        of_table = seeds if name == TABLES[0] else [seed for seed in seeds if seed == 0]
        trials = [_ratios(name, seed) for seed in of_table]
        for case in dict.fromkeys(case for trial in trials for case in trial):
            ratios = np.concatenate([trial[case] for trial in trials])
            detector = "evasion+model_extraction" if case.endswith(ALONE) else "evasion"
            if case.startswith("new "):
                found.append(shared((detector, name, case), "FPR", ratios, 0.02, quiet=True))
            else:
                found.append(shared((detector, name, case), "TPR", ratios))
    return found


def _ratios(name: str, seed: int) -> dict[str, Ratios]:
    """The scores in thresholds of each case."""
    rng = np.random.default_rng(2000 + seed)
    target = train(tables.TABLES[name](), "label", seed)
    days: list[pl.DataFrame] = []
    cases: dict[str, list[str]] = {}

    def day(case: str, rows: NDArray[np.float64]) -> None:
        who = f"{case} {len(days)}"
        cases.setdefault(case, []).append(who)
        days.append(calls(target, who, rows, spread(rng, DAYS, len(rows))))

    for kind, (behave, count, number) in HONEST.items():
        for _ in range(number):
            day(f"new {kind}, {count} calls", behave(target, rng)(target, rng, count))
    for attack, ask in EVASIONS.items():
        for count in QUERIES:
            for among in AMONG:
                for _ in range(WINDOWS):
                    rows = np.vstack([ask(target, rng, count), real(target, rng, among)])
                    rows = rows[rng.permutation(len(rows))] if among else rows
                    day(f"{attack}, {count} queries{f' among {among:,}' if among else ALONE}", rows)
    known = {"inference": month(target, rng, DAYS)}
    alone = [one for one in days if one["user.id"][0].rsplit(" ", 1)[0].endswith(ALONE)]
    ratio = _of("evasion", pl.concat(days), known)
    other = _of("model_extraction", pl.concat(alone), known)
    ratio |= {who: max(score, ratio.get(who, 0.0)) for who, score in other.items()}
    return {case: np.array([ratio.get(who, 0.0) for who in names]) for case, names in cases.items()}


def _of(detector: str, events: pl.DataFrame, known: dict[str, pl.DataFrame]) -> dict[str, float]:
    scores = evaluate(detector, {"inference": events}, baseline=known).scores
    return dict(scores.select("subject.id", pl.col("score") / pl.col("threshold")).iter_rows())
