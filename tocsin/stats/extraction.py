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

#: The statistics, with the meaning that findings report as evidence.
STATISTICS = {
    "unseen": "share of queries with two or more values outside the known values or ranges of their features",
    "step": "share of queries that differ slightly, but in many features, from an earlier query",
    "probe": "share of queries that edit an earlier query with a value outside the known values or range",
    "alone": "mean excess of the distance to the nearest known query, in ranks, over the 90 % quantile of honest queries",
    "scatter": "mean excess of the log distance to the nearest earlier query over the 90 % quantile of honest queries",
    "joint": "share of queries whose values occur together as rarely as in the rarest 2 % of honest queries",
    "line": "share of queries that try one more value of one feature of an earlier query, after five others",
    "path": "share of queries that change an earlier query further, feature by feature, for the third time or more",
    "boundary": "share of queries with a model confidence as low as for the lowest 2 % of honest queries",
}
#: A query is near the decision boundary if the model's confidence is as low as for this share of honest queries.
DOUBT = 0.02
#: The share of honest queries below the limit of a distance.
_BELOW = 0.9
_DISTANCES = ("alone", "scatter")
#: Lower bound of a statistic's normal excess, in queries of a run: one query, or for a distance a
#: fifth of the range of ranks.
_LEAST_QUERIES = {"alone": 0.2, "scatter": 0.2}
#: Lower bound of a statistic's normal excess as a share, for runs of any size: some honest clients have similar
#: customers, or many customers near the decision boundary.
_LEAST_SHARE = {"step": 0.02, "probe": 0.2, "joint": 0.03, "line": 0.03, "path": 0.03, "boundary": 2 * DOUBT}
#: Numbers of queries in a run, in rising order.
SIZES = (20, 50, 100, 200, 500)
#: Maximum number of honest runs of one size that are used for each principal.
RUNS = 8
#: Minimum number of honest runs for a norm, and of principals that sent them.
_LEAST_RUNS, _LEAST_PRINCIPALS = 8, 3


@dataclass(frozen=True)
class Queries:
    """Distinct queries of one principal to one model, in order; an unknown confidence is NaN."""

    owner: str
    placed: Placed
    confidence: Floats

    def marks(self, run: slice, doubt: float) -> Marks:
        """The marks of each query of a run: its geometry, and `boundary` for a confidence of at most `doubt`."""
        before = max(0, run.start - CONTEXT)
        noted = marks(self.placed.part(slice(before, run.stop)), run.start - before)
        confidence = self.confidence[run]
        unknown = np.isnan(confidence) | (noted["edit"] > 0)
        return {**noted, "boundary": np.where(unknown, np.nan, confidence <= doubt)}


@dataclass(frozen=True)
class Norm:
    """The normal values of one statistic over runs of one size.

    `limit`: the value that a query's mark must exceed to raise the statistic. `tail`: the tail of the statistic
    over honest runs. `own`: the mean of each principal whose own runs are in that tail on average. For such a
    principal, values up to this mean are normal.
    """

    limit: float
    tail: Tail
    own: Mapping[str, float]

    def of(self, marks: Floats) -> float:
        """The statistic of a run whose queries have these marks; NaN if fewer than a third have any."""
        return _mean_excess(marks, self.limit)

    def start(self, owner: str) -> float:
        """The upper limit of normal values of the statistic for a principal."""
        return max(self.tail.start, self.own.get(owner, self.tail.start))

    def z(self, marks: Floats, owner: str) -> float:
        """How far the statistic of a run by `owner` exceeds normal values, in units of the normal excess; 0 for NaN.

        If only a share of the queries has marks, the result is multiplied by the square root of that share,
        because the error of the mean is larger by its inverse.
        """
        z = (self.of(marks) - self.start(owner)) / self.tail.excess
        return max(float(np.nan_to_num(z * np.sqrt(np.mean(~np.isnan(marks))))), 0.0)

    def z_of_runs(self, marks: Floats, owners: Sequence[str]) -> Floats:
        """`z` of many runs: `marks` of shape (runs, queries), with the owner of each run."""
        known = ~np.isnan(marks)
        number = known.sum(axis=1)
        excess = np.where(known, np.maximum(marks - self.limit, 0.0), 0.0).sum(axis=1)
        start = np.array([self.start(owner) for owner in owners])
        z = (excess / np.maximum(number, 1) - start) / self.tail.excess * np.sqrt(number / marks.shape[1])
        return np.where(3 * number >= marks.shape[1], np.maximum(z, 0.0), 0.0)


@dataclass(frozen=True)
class Verdict:
    """The statistic that exceeds normal values most, with its z, its run, and the marks of this run."""

    statistic: str
    z: float
    run: slice
    size: int
    marks: Marks


@dataclass(frozen=True)
class Honest:
    """The normal queries of a model: the confidence that few honest queries fall below, and the norms by size."""

    doubt: float
    norms: Mapping[int, Mapping[str, Norm]]

    def judge(self, queries: Queries, limit: int) -> Verdict | None:
        """Compare a principal's queries, in at most `limit` runs of each size; None if they are too few.

        The two largest sizes that fit are compared. Of three or more runs, the second highest z is used, so that
        a long stream does not have a higher rate of false alarms than a short one.
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
    """Learn the norms of each statistic over runs of each size. Norms with too few runs are omitted.

    Args:
        honest: the queries of honest principals, one entry per principal.
        doubt: the confidence that a share `DOUBT` of honest queries falls below.
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
    """NaN if fewer than a third of the queries have marks, because the mean of so few queries is not reliable."""
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
    """At most `limit` places, drawn at random from each owner in turn, so that no owner outweighs the others."""
    order = np.random.default_rng(seed).permutation(len(owners))
    turn = np.empty(len(owners), dtype=np.intp)
    taken: dict[str, int] = {}
    for place in order.tolist():
        turn[place] = taken[owners[place]] = taken.get(owners[place], -1) + 1
    return np.sort(order[np.argsort(turn[order], kind="stable")[:limit]])
