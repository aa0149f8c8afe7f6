"""How far the queries of one principal differ from honest queries.

Every statistic of a run of queries is the mean excess of its queries over a limit. Attack queries raise it.
Runs of one length are therefore comparable, and added honest queries lower the statistic but do not hide
an attack.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tocsin.stats.geometry import CONTEXT, Placed, marks
from tocsin.stats.tails import Tail

Floats = NDArray[np.float64]
Marks = Mapping[str, Floats]

#: The statistics, in the words in which a person reads them.
STATISTICS = {
    "unseen": "share of queries with two or more values never seen before",
    "step": "share of queries a small step in many features away from an earlier one",
    "probe": "share of queries that put a value never seen before into an earlier one",
    "alone": "mean distance from everything known, in ranks, beyond 90 % of honest queries",
    "scatter": "mean log distance from the earlier queries beyond 90 % of honest ones",
    "boundary": "share of queries of which the model is as unsure as of 2 % of honest ones",
}
#: The share of honest queries of which the model is least sure.
DOUBT = 0.02
#: The share of honest queries that stay below the limit of a distance.
_BELOW = 0.9
_DISTANCES = ("alone", "scatter")
#: The least normal excess that is believed, in queries of a run: one, or a fifth of the range of ranks.
_LEAST_QUERIES = {"alone": 0.2, "scatter": 0.2}
#: The same as a share, whatever the run: clients whose customers are much alike, or live near the boundary.
_LEAST_SHARE = {"step": 0.02, "probe": 0.2, "boundary": 2 * DOUBT}
#: Queries in a run, rising.
SIZES = (20, 50, 100, 200, 500)
#: Honest runs of one size that are looked at for each principal.
RUNS = 8
#: A population of honest runs: at least so many, by so many principals.
_LEAST_RUNS, _LEAST_PRINCIPALS = 8, 3


@dataclass(frozen=True)
class Queries:
    """Distinct queries of one principal to one model, in order; confidence is NaN where it is unknown."""

    owner: str
    placed: Placed
    confidence: Floats

    def marks(self, run: slice, doubt: float) -> Marks:
        """What is to be noted of each query of a run: its geometry and, as `boundary`, the model's doubt."""
        before = max(0, run.start - CONTEXT)
        noted = marks(self.placed.part(slice(before, run.stop)), run.start - before)
        confidence = self.confidence[run]
        unknown = np.isnan(confidence) | (noted["edit"] > 0)
        return {**noted, "boundary": np.where(unknown, np.nan, confidence <= doubt)}


@dataclass(frozen=True)
class Norm:
    """What is normal for one statistic over runs of one size.

    `limit`: what a query must exceed to count. `tail`: of the statistic over honest runs. `own`: the mean
    of each principal whose own runs lie in that tail; nobody is held to less than that.
    """

    limit: float
    tail: Tail
    own: Mapping[str, float]

    def of(self, marks: Floats) -> float:
        """The statistic of a run whose queries have these marks; NaN where fewer than a third have any."""
        return _mean_excess(marks, self.limit)

    def start(self, owner: str) -> float:
        """Up to where the statistic is normal for a principal."""
        return max(self.tail.start, self.own.get(owner, self.tail.start))

    def z(self, marks: Floats, owner: str) -> float:
        """How far a run by `owner` lies beyond normal, in units of the normal excess; 0 for NaN.

        Where some queries have no mark the mean is less sure by the square root, and so is the excess.
        """
        z = (self.of(marks) - self.start(owner)) / self.tail.excess
        return max(float(np.nan_to_num(z * np.sqrt(np.mean(~np.isnan(marks))))), 0.0)


@dataclass(frozen=True)
class Verdict:
    """The statistic that lies farthest beyond normal: in which run, how far, and that run's marks."""

    statistic: str
    z: float
    run: slice
    size: int
    marks: Marks


@dataclass(frozen=True)
class Honest:
    """What is normal for a model: the confidence that few honest queries stay below, and the norms by size."""

    doubt: float
    norms: Mapping[int, Mapping[str, Norm]]

    def judge(self, queries: Queries, limit: int) -> Verdict | None:
        """Compare a principal's queries, in at most `limit` runs of each size; None if they are too few.

        The two largest sizes that fit are looked at. Of three runs or more the second highest counts, so
        that a long stream has no more chances than a short one.
        """
        best = None
        for size in [s for s in self.norms if s <= len(queries.placed)][-2:]:
            runs = parts(len(queries.placed), size, limit)
            noted = [queries.marks(run, self.doubt) for run in runs]
            for statistic, norm in self.norms[size].items():
                z = np.array([norm.z(m[statistic], queries.owner) for m in noted])
                at = int(np.argsort(z, kind="stable")[-2 if len(z) > 2 else -1])
                if best is None or z[at] > best.z:
                    best = Verdict(statistic, float(z[at]), runs[at], size, noted[at])
        return best


def learn(honest: Sequence[Queries], doubt: float) -> Honest:
    """The norms of each statistic over runs of each size, without those for which there are too few.

    Args:
        honest: the queries of each principal, one entry a principal.
        doubt: the confidence that a share `DOUBT` of honest queries stays below.
    """
    found = {}
    for size in SIZES:
        runs = {
            queries.owner: [queries.marks(run, doubt) for run in parts(len(queries.placed), size, RUNS)]
            for queries in honest
            if len(queries.placed) >= size
        }
        norms = {name: norm for name in STATISTICS if (norm := _norm(name, runs, size)) is not None}
        if norms:
            found[size] = norms
    return Honest(doubt, found)


def _norm(name: str, runs: Mapping[str, Sequence[Marks]], size: int) -> Norm | None:
    every = np.concatenate([marks[name] for of_one in runs.values() for marks in of_one] or [np.empty(0)])
    every = every[~np.isnan(every)]
    limit = float(np.quantile(every, _BELOW)) if name in _DISTANCES and len(every) else 0.0
    means = {
        owner: np.array([_mean_excess(m[name], limit) for m in of_one]) for owner, of_one in runs.items()
    }
    means = {owner: known for owner, mean in means.items() if len(known := mean[~np.isnan(mean)])}
    if len(means) < _LEAST_PRINCIPALS or sum(map(len, means.values())) < _LEAST_RUNS:
        return None
    sampling = float(np.maximum(every - limit, 0.0).std()) / np.sqrt(size)
    noise = max(sampling, _LEAST_QUERIES.get(name, 1.0) / size, _LEAST_SHARE.get(name, 0.0))
    tail = Tail.of(np.concatenate(list(means.values())), noise)
    own = {owner: value for owner, mean in means.items() if (value := float(mean.mean())) > tail.start}
    return Norm(limit, tail, own)


def _mean_excess(marks: Floats, limit: float) -> float:
    """NaN where fewer than a third of the queries have a mark: what is left would be one person's few."""
    known = marks[~np.isnan(marks)]
    if not len(known) or 3 * len(known) < len(marks):
        return np.nan
    return float(np.maximum(known - limit, 0.0).mean())


def parts(count: int, size: int, limit: int) -> list[slice]:
    """Cut `count` queries into equal runs of at least `size`; at most `limit` of them, evenly spread."""
    number = count // size
    if not number:
        return []
    cuts = np.linspace(0, count, number + 1).round().astype(int).tolist()
    chosen = np.unique(np.linspace(0, number - 1, min(number, limit)).round().astype(int)).tolist()
    return [slice(cuts[i], cuts[i + 1]) for i in chosen]


def drawn_in_turn(owners: Sequence[str], limit: int, seed: int = 0) -> NDArray[np.intp]:
    """At most `limit` places, drawn at random from each owner in turn, so that none outweighs the others."""
    order = np.random.default_rng(seed).permutation(len(owners))
    turn = np.empty(len(owners), dtype=np.intp)
    taken: dict[str, int] = {}
    for place in order.tolist():
        turn[place] = taken[owners[place]] = taken.get(owners[place], -1) + 1
    return np.sort(order[np.argsort(turn[order], kind="stable")[:limit]])
