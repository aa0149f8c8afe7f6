"""Copying a model through its inference API.

An attack is a function `(target, rng, count) -> rows`; `ATTACKS` names them. `calls` turns rows into
inference events, with the model's real answers. The people who use the API honestly are in `clients`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

Rows = NDArray[np.float64]
Rng = np.random.Generator

DAY = timedelta(days=1)
START = datetime(2026, 3, 2, tzinfo=UTC)


@dataclass(frozen=True)
class Target:
    """A trained binary classifier behind an API, real rows that it has not been trained on, and those that it has."""

    rows: Rows
    names: str
    model: Any
    name: str
    trained: Rows

    def scores(self, rows: Rows) -> NDArray[np.float64]:
        """The model's probability of class 1."""
        return np.asarray(self.model.predict_proba(rows)[:, 1], dtype=np.float64)

    @property
    def spread(self) -> Rows:
        """Standard deviation of each feature, 1 where it is constant."""
        spread = self.rows.std(axis=0)
        return np.where(spread > 0, spread, 1.0)


Behavior = Callable[[Target, Rng, int], Rows]


def train(frame: pl.DataFrame, label: str, seed: int, name: str = "credit") -> Target:
    """HistGradientBoosting on half of the rows; the other half is what clients and attackers hold."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    features = frame.drop(label)
    rows = features.to_numpy().astype(np.float64)
    labels = frame[label].to_numpy()
    order = np.random.default_rng(seed).permutation(len(rows))
    half = len(rows) // 2
    model = HistGradientBoostingClassifier(max_iter=60, random_state=seed)
    model.fit(rows[order[:half]], labels[order[:half]])
    return Target(rows[order[half:]], ",".join(features.columns), model, name, rows[order[:half]])


def real(target: Target, rng: Rng, count: int) -> Rows:
    """Random real rows: in-distribution, invisible to geometry."""
    return target.rows[rng.choice(len(target.rows), count, replace=count > len(target.rows))]


def uniform(target: Target, rng: Rng, count: int) -> Rows:
    """Each feature uniform between its least and greatest value."""
    return rng.uniform(target.rows.min(axis=0), target.rows.max(axis=0), (count, target.rows.shape[1]))


def marginals(target: Target, rng: Rng, count: int) -> Rows:
    """Each feature drawn on its own from the values that it takes."""
    picks = rng.integers(len(target.rows), size=(count, target.rows.shape[1]))
    return target.rows[picks, np.arange(target.rows.shape[1])]


def jacobian(target: Target, rng: Rng, count: int, step: float = 0.1, seeds: int = 10) -> Rows:
    """Jacobian-based augmentation (Papernot et al. 2017): a substitute's gradient sign moves every row."""
    from sklearn.linear_model import LogisticRegression

    queries = real(target, rng, seeds)
    while len(queries) < count:
        labels = target.scores(queries) >= 0.5
        direction = rng.choice([-1.0, 1.0], size=queries.shape)
        if labels.any() and not labels.all():
            scaled = (queries - target.rows.mean(axis=0)) / target.spread
            substitute = LogisticRegression(C=0.1, max_iter=1000).fit(scaled, labels)
            direction = np.sign(substitute.coef_) * np.where(labels, 1.0, -1.0)[:, None]
        queries = np.vstack([queries, queries + step * target.spread * direction])
    return queries[:count]


def jacobian_differences(target: Target, rng: Rng, count: int, step: float = 0.1, seeds: int = 5) -> Rows:
    """The same against a tree model: signs of finite differences where there are any, else at random."""
    queries = real(target, rng, seeds)
    while len(queries) < count:
        base, direction = target.scores(queries), np.zeros(queries.shape)
        for column in range(queries.shape[1]):
            moved = queries.copy()
            moved[:, column] += step * target.spread[column]
            direction[:, column] = np.sign(target.scores(moved) - base)
        flat = ~direction.any(axis=1)
        direction[flat] = rng.choice([-1.0, 1.0], size=(int(flat.sum()), queries.shape[1]))
        queries = np.vstack([queries, queries + step * target.spread * direction])
    return queries[:count]


def boundary(target: Target, rng: Rng, count: int, steps: int = 8) -> Rows:
    """Bisection of the line between two real rows of different class (Lowd and Meek's line search)."""
    scores = target.scores(target.rows)
    positive, negative = np.flatnonzero(scores >= 0.5), np.flatnonzero(scores < 0.5)
    queries: list[Rows] = []
    while len(queries) < count:
        low, high = target.rows[rng.choice(negative)], target.rows[rng.choice(positive)]
        queries += [low, high]
        for _ in range(steps):
            middle = (low + high) / 2
            queries.append(middle)
            if target.scores(middle[None])[0] >= 0.5:
                high = middle
            else:
                low = middle
    return np.array(queries[:count])


def k_center(target: Target, rng: Rng, count: int, pool: int = 5000) -> Rows:
    """Real rows, each as far as can be from those asked before (k-centre greedy)."""
    rows = real(target, rng, min(pool, len(target.rows)))
    scaled = rows / target.spread
    picks = [int(rng.integers(len(rows)))]
    distance = np.full(len(rows), np.inf)
    while len(picks) < count:
        distance = np.minimum(distance, ((scaled - scaled[picks[-1]]) ** 2).sum(axis=1))
        picks.append(int(distance.argmax()))
    return rows[picks]


def active(target: Target, rng: Rng, count: int, pool: int = 5000) -> Rows:
    """Uncertainty sampling on real rows: those of which the model itself is least sure."""
    rows = real(target, rng, min(pool, len(target.rows)))
    return rows[np.argsort(np.abs(target.scores(rows) - 0.5), kind="stable")[:count]]


def active_surrogate(target: Target, rng: Rng, count: int, pool: int = 5000, batch: int = 10) -> Rows:
    """Uncertainty sampling by a surrogate that learns from the answers, ten rows at a time."""
    from sklearn.ensemble import RandomForestClassifier

    rows = real(target, rng, min(pool, len(target.rows)))
    labels = target.scores(rows) >= 0.5
    picks = list(range(2 * batch))
    while len(picks) < count:
        if labels[picks].all() or not labels[picks].any():
            picks += list(range(len(picks), len(picks) + batch))
            continue
        forest = RandomForestClassifier(50, random_state=0).fit(rows[picks], labels[picks])
        doubt = np.abs(forest.predict_proba(rows)[:, 1] - 0.5)
        doubt[picks] = np.inf
        picks += np.argsort(doubt, kind="stable")[:batch].tolist()
    return rows[picks[:count]]


def interpolation(target: Target, rng: Rng, count: int) -> Rows:
    """Points between two real rows, each feature snapped to the nearest value that it takes."""
    weight = rng.uniform(size=(count, 1))
    return snap(target, weight * real(target, rng, count) + (1 - weight) * real(target, rng, count))


def snap(target: Target, rows: Rows) -> Rows:
    """Each value replaced by the nearest one that the feature takes in real rows."""
    snapped = np.empty_like(rows)
    for column in range(rows.shape[1]):
        values = np.unique(target.rows[:, column])
        right = np.clip(np.searchsorted(values, rows[:, column]), 1, max(len(values) - 1, 1))
        right = np.minimum(right, len(values) - 1)
        left = np.maximum(right - 1, 0)
        nearer = np.abs(values[left] - rows[:, column]) <= np.abs(values[right] - rows[:, column])
        snapped[:, column] = np.where(nearer, values[left], values[right])
    return snapped


ATTACKS: dict[str, Behavior] = {
    "uniform": uniform,
    "marginals": marginals,
    "JBDA": jacobian,
    "JBDA, finite differences": jacobian_differences,
    "boundary": boundary,
    "k-centre": k_center,
    "active": active,
    "active, surrogate": active_surrogate,
}


def mixed(attack: Rows, cover: Rows, share: float, rng: Rng) -> Rows:
    """`share` of the attack's rows hidden in honest ones, at random places."""
    count = len(cover)
    rows = cover.copy()
    places = np.sort(rng.choice(count, round(share * count), replace=False))
    rows[places] = attack[: len(places)]
    return rows


def calls(target: Target, principal: str, rows: Rows, times: Sequence[datetime]) -> pl.DataFrame:
    """Inference events of one principal, one a row, with the model's answers."""
    scores = target.scores(rows)
    return pl.DataFrame(
        {
            "@timestamp": pl.Series(times, dtype=pl.Datetime("us", "UTC")),
            "event.id": [f"{principal}-{times[0]:%m%d}-{i}" for i in range(len(rows))],
            "user.id": [principal] * len(rows),
            "tocsin.model.name": [target.name] * len(rows),
            "tocsin.features.names": [target.names] * len(rows),
            "tocsin.features.values": pl.Series(rows.tolist(), dtype=pl.List(pl.Float64)),
            "tocsin.output.label": np.where(scores >= 0.5, "1", "0"),
            "tocsin.output.score": scores,
            "tocsin.output.confidence": np.maximum(scores, 1 - scores),
        }
    )


def spread(rng: Rng, day: int, count: int) -> list[datetime]:
    """`count` rising times within a day, counted from `START`."""
    seconds = np.sort(rng.uniform(0, 86_400, count))
    return [START + day * DAY + timedelta(seconds=float(s)) for s in seconds]
