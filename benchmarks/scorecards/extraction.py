"""model_extraction and query_budget on real rows, with a real model and real attacks.

A month of honest calls by 30 principals is the baseline. Each window is one day of a principal never seen
before: 100 queries of an attack, pure or hidden among a customer's; or honest ones, those that a detector
likes to get wrong among them (a batch, retries, a power user's what-ifs, a load test). The budget is
measured on the four days after the month, in which thieves ask 2,000 random real rows each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.attacks import tables
from benchmarks.attacks.clients import customer, load_test, month, power_user, retried
from benchmarks.attacks.extraction import (
    ATTACKS,
    DAY,
    START,
    Behavior,
    Rng,
    Target,
    calls,
    interpolation,
    mixed,
    real,
    spread,
    train,
)
from benchmarks.attacks.sybils import TEAMS, TIES, population, team
from benchmarks.attacks.walks import WALKS
from benchmarks.card import Row, shared
from tocsin.contract.streams import TIME
from tocsin.testing.evaluate import evaluate

Ratios = NDArray[np.float64]

QUERIES = 100
WINDOWS = 10  # of each attack and seed
#: Queries after which an attack may be found first, and the windows of each attack and seed that are measured so.
PREFIXES = (20, 40, 70, 100)
DELAY_WINDOWS = 4
#: Shares of an attack's queries among honest ones, and the bar of the mean over `BARRED`.
DILUTED = {0.5: 0.9, 0.3: 0.4, 0.2: None}
#: The attacks that the bars name. The others are measured for information.
BARRED = ("uniform", "marginals", "JBDA", "boundary", "k-centre", "active")
#: What only the budget can see.
LIKE_HONEST: dict[str, Behavior] = {"snapped interpolation": interpolation, "random real rows": real}
#: Kinds of honest days: how a principal behaves, its calls, and how many such days a seed has.
HONEST: dict[str, tuple[Callable[[Target, Rng], Behavior], int, int]] = {
    "customers": (customer, QUERIES, 60),
    "power users": (power_user, 150, 30),
    "nightly batches": (lambda _t, _r: real, 1000, 10),
    "retries": (lambda t, r: retried(customer(t, r), 0.5), 200, 20),
    "load tests": (lambda _t, _r: load_test, 1000, 5),
}
BASELINE_DAYS, LATER_DAYS = 28, 4
THIEVES, THEFT = 5, 2000


class Trial:
    """A trained model, a month of honest calls and four days after it, and what the detector learned."""

    def __init__(self, table: pl.DataFrame, label: str, seed: int) -> None:
        self.rng = np.random.default_rng(1000 + seed)
        self.target = train(table, label, seed)
        honest = month(self.target, self.rng, BASELINE_DAYS + LATER_DAYS)
        self.month = honest.filter(pl.col(TIME) < START + BASELINE_DAYS * DAY)
        self.later = honest.filter(pl.col(TIME) >= START + BASELINE_DAYS * DAY)
        known = evaluate("model_extraction", {"inference": self.later}, baseline={"inference": self.month})
        self.baseline = known.baseline

    def attacked(self, attack: Behavior) -> dict[float, Ratios]:
        """Scores in thresholds of `WINDOWS` windows of an attack, by its share of the queries."""
        days: dict[float, list[pl.DataFrame]] = {share: [] for share in (1.0, *DILUTED)}
        for number in range(WINDOWS):
            rows = attack(self.target, self.rng, QUERIES)
            cover = customer(self.target, self.rng)(self.target, self.rng, QUERIES)
            for share, of_share in days.items():
                asked = rows if share == 1.0 else mixed(rows, cover, share, self.rng)
                of_share.append(self._day(f"thief-{number}", asked))
        return {share: self._judge(of_share) for share, of_share in days.items()}

    def delays(self, attack: Behavior) -> list[float]:
        """Of some windows of an attack, the number of its first queries at which it is found; infinity if never."""
        found = {f"thief-{number}": float("inf") for number in range(DELAY_WINDOWS)}
        rows = {thief: attack(self.target, self.rng, PREFIXES[-1]) for thief in found}
        for count in reversed(PREFIXES):
            days = pl.concat([self._day(thief, asked[:count]) for thief, asked in rows.items()])
            scores = evaluate("model_extraction", {"inference": days}, baseline=self.baseline).scores
            alarms = scores.filter(
                pl.col("score") >= pl.col("threshold"), pl.col("subject.id").is_in(list(rows))
            )
            found |= dict.fromkeys(alarms["subject.id"], float(count))
        return list(found.values())

    def honest(self, kind: str) -> Ratios:
        """Scores in thresholds of honest days of a kind."""
        behave, count, number = HONEST[kind]
        rows = [behave(self.target, self.rng)(self.target, self.rng, count) for _ in range(number)]
        return self._judge([self._day(f"{kind}-{i}", asked) for i, asked in enumerate(rows)])

    def budget(self) -> tuple[Ratios, Ratios]:
        """`query_budget` after the month: each thief's highest score, and all scores of the others."""
        each = THEFT // LATER_DAYS
        stolen = [
            calls(
                self.target,
                f"thief-{number}",
                real(self.target, self.rng, each),
                spread(self.rng, BASELINE_DAYS + day, each),
            )
            for number in range(THIEVES)
            for day in range(LATER_DAYS)
        ]
        events = {"inference": pl.concat([self.later, *stolen])}
        scores = evaluate("query_budget", events, baseline={"inference": self.month}).scores
        ratio = pl.col("score") / pl.col("threshold")
        of_thief = pl.col("subject.id").str.starts_with("thief-")
        thieves = scores.filter(of_thief).group_by("subject.id").agg(ratio.max().alias("ratio"))
        return thieves["ratio"].to_numpy(), scores.filter(~of_thief).select(ratio).to_series().to_numpy()

    def _day(self, principal: str, rows: NDArray[np.float64]) -> pl.DataFrame:
        return calls(self.target, principal, rows, spread(self.rng, BASELINE_DAYS, len(rows)))

    def _judge(self, days: Sequence[pl.DataFrame]) -> Ratios:
        scores = evaluate("model_extraction", {"inference": pl.concat(days)}, baseline=self.baseline).scores
        return (scores["score"] / scores["threshold"]).to_numpy()


def measure(seeds: Sequence[int]) -> list[Row]:
    """The rows of the scorecard. The other tables are measured with the first seed alone."""
    trials = [Trial(tables.cards(), "label", seed) for seed in seeds]
    rows = [
        *_attacks("credit_default_uci", trials, bars=True),
        *_honest("credit_default_uci", trials, bars=True),
        *_budget("credit_default_uci", trials),
        *_delays("credit_default_uci", trials),
    ]
    if 0 not in seeds:
        return rows
    return [
        *rows,
        *(row for name in ("german", "census", "housing", "loans") for row in _other(name)),
        *(row for name in ("credit", "census", "loans") for row in _collusion(name)),
    ]


def _other(name: str) -> list[Row]:
    """The rows of another table: some have mostly numeric features, others mostly nominal ones."""
    trials = [Trial(tables.TABLES[name](), "label", 0)]
    return [*_attacks(name, trials, bars=False), *_honest(name, trials, bars=False)]


def _attacks(data: str, trials: Sequence[Trial], *, bars: bool) -> list[Row]:
    rows: list[Row] = []
    diluted: dict[float, list[float]] = {share: [] for share in DILUTED}
    for name, attack in {**ATTACKS, **WALKS, **LIKE_HONEST}.items():
        found = [trial.attacked(attack) for trial in trials]
        pure = np.concatenate([ratios[1.0] for ratios in found])
        bar = 0.95 if bars and name in BARRED else None
        case = f"{name}, {QUERIES} queries"
        rows.append(shared(("model_extraction", data, case), "TPR", pure, bar))
        rows.append(shared(("model_extraction", data, case), "TPR at high", pure, least=2))
        for share, ratios in diluted.items():
            if name in BARRED:
                ratios.extend(np.concatenate([one[share] for one in found]).tolist())
    for share, ratios in diluted.items():
        case = f"the six, {share:.0%} of {QUERIES} queries"
        bar = DILUTED[share] if bars else None
        rows.append(shared(("model_extraction", data, case), "mean TPR", ratios, bar))
    return rows


def _honest(data: str, trials: Sequence[Trial], *, bars: bool) -> list[Row]:
    rows, everyone = [], []
    for kind, (_, count, _) in HONEST.items():
        ratios = np.concatenate([trial.honest(kind) for trial in trials])
        everyone.append(ratios)
        case = f"new {kind}, {count} calls"
        bar = 0.02 if bars else None
        rows.append(shared(("model_extraction", data, case), "FPR", ratios, bar, quiet=True))
    of, ratios = ("model_extraction", data, "all of these"), np.concatenate(everyone)
    return [*rows, shared(of, "FPR at 1.5 thresholds", ratios, least=1.5, quiet=True)]


def _budget(data: str, trials: Sequence[Trial]) -> list[Row]:
    found = [trial.budget() for trial in trials]
    thieves, honest = (np.concatenate(part) for part in zip(*found, strict=True))
    case = f"{THEFT:,} random real rows in {LATER_DAYS} days"
    known = "known principals, batch and power user too"
    return [
        shared(("query_budget", data, case), "TPR at high", thieves, 0.95, least=2),
        shared(("query_budget", data, case), "TPR", thieves),
        shared(("query_budget", data, known), "FPR", honest, 0.01, quiet=True),
    ]


def _delays(data: str, trials: Sequence[Trial]) -> list[Row]:
    """The median number of queries until an attack is found: every day ends after so many of its queries."""
    rows = []
    for name in BARRED:
        found = [count for trial in trials for count in trial.delays(ATTACKS[name])]
        median = min(float(np.median(found)), 10.0 * PREFIXES[-1])
        case = f"{name}, queries until found"
        rows.append(Row("model_extraction", data, case, "median", median, len(found)))
    return rows


def _collusion(data: str) -> list[Row]:
    """Accounts of one thief, which ask random real rows for two days, among clients with new ones each week."""
    rng = np.random.default_rng(0)
    target = train(tables.TABLES[data](), "label", 0)
    honest = population(target, rng, BASELINE_DAYS + 14, newcomers=4.0)
    quiet = _colluding(honest, 14)
    case = "a third behind one address, four agents, four new clients a week"
    rows = [shared(("collusion", data, f"{case}: windows"), "FPR", quiet, 0.01, quiet=True)]
    for tie in TIES:
        for size in TEAMS:
            thieves = team(target, rng, BASELINE_DAYS + 1, size, tie)
            found = _colluding(pl.concat([honest, thieves]), LATER_DAYS).max()
            name = f"{size[0]} accounts with {size[1]} queries, tied by {tie}"
            bar = 0.5 if tie == "nothing" else 0.8
            rows.append(shared(("collusion", data, name), "TPR", [found], bar))
    return rows


def _colluding(events: pl.DataFrame, days: int) -> Ratios:
    """The highest score of each day after the month, in thresholds."""
    end, start = START + (BASELINE_DAYS + days) * DAY, START + BASELINE_DAYS * DAY
    month, later = (
        events.filter(pl.col(TIME) < start),
        events.filter(pl.col(TIME).is_between(start, end, "left")),
    )
    scores = evaluate("collusion", {"inference": later}, baseline={"inference": month}).scores
    return scores.group_by("window.start").agg(pl.col("score").max())["score"].to_numpy()
