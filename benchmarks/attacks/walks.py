"""Copying a model by walks: queries that change a real row field by field, or that were snapped to values of real rows."""

from __future__ import annotations

import numpy as np

from benchmarks.attacks.extraction import (
    Behavior,
    Rng,
    Rows,
    Target,
    boundary,
    jacobian,
    real,
    snap,
)


def counterfactual(target: Target, rng: Rng, count: int) -> Rows:
    """Fields of a real row take the values of a row of the other class one by one, in random order."""
    scores = target.scores(target.rows)
    positive, negative = np.flatnonzero(scores >= 0.5), np.flatnonzero(scores < 0.5)
    queries: list[Rows] = []
    while len(queries) < count:
        here, there = target.rows[rng.choice(negative)], target.rows[rng.choice(positive)]
        if rng.uniform() < 0.5:
            here, there = there, here
        row = here.copy()
        queries.append(row.copy())
        for column in rng.permutation(np.flatnonzero(here != there)).tolist():
            row[column] = there[column]
            queries.append(row.copy())
    return np.array(queries[:count])


def path_finding(target: Target, rng: Rng, count: int, least: float = 1e-3) -> Rows:
    """Line search along each feature of a real row for the values at which the answer changes (Tramèr et al. 2016)."""
    low, high = target.rows.min(axis=0), target.rows.max(axis=0)
    queries: list[Rows] = []
    while len(queries) < count:
        row = real(target, rng, 1)[0]
        queries.append(row)
        for column in rng.permutation(len(row)).tolist():
            if low[column] < high[column] and len(queries) < count:
                queries += _line(target, row, column, (low[column], high[column]), least)
    return np.array(queries[:count])


def _line(target: Target, row: Rows, column: int, ends: tuple[float, float], least: float) -> list[Rows]:
    """The queries of a line search: both ends, and the middle of each interval whose ends have other answers."""

    def moved(value: float) -> tuple[Rows, float]:
        found = row.copy()
        found[column] = value
        return found, float(target.scores(found[None])[0])

    asked = {value: moved(value) for value in ends}
    open_, width = [ends], ends[1] - ends[0]
    while open_ and len(asked) < 40:
        left, right = open_.pop()
        if right - left > least * width and abs(asked[left][1] - asked[right][1]) > 1e-9:
            middle = (left + right) / 2
            asked[middle] = moved(middle)
            open_ += [(left, middle), (middle, right)]
    return [query for query, _ in asked.values()]


def snapped(attack: Behavior) -> Behavior:
    """The same attack, with each value replaced by the nearest one that the feature takes in real rows."""
    return lambda target, rng, count: snap(target, attack(target, rng, count))


def elsewhere(target: Target, rng: Rng, count: int) -> Rows:
    """Real rows of another population: a neighborhood of rows moved by the same offset in ranks in half of the features."""
    rows = real(target, rng, count)
    ordered = np.sort(target.rows, axis=0)
    for column in rng.permutation(rows.shape[1])[: (rows.shape[1] + 1) // 2].tolist():
        known = ordered[:, column]
        left, right = (
            np.searchsorted(known, rows[:, column], "left"),
            np.searchsorted(known, rows[:, column], "right"),
        )
        rank = (rng.uniform(left, right) / len(known)) ** rng.choice([0.4, 2.5])
        rows[:, column] = known[np.minimum((rank * len(known)).astype(int), len(known) - 1)]
    return rows


WALKS: dict[str, Behavior] = {
    "counterfactual walk": counterfactual,
    "path finding": path_finding,
    "path finding, snapped": snapped(path_finding),
    "boundary, snapped": snapped(boundary),
    "JBDA, snapped": snapped(jacobian),
    "another population": elsewhere,
}
