"""Evading a model: queries that look for a variant of one input which gets another answer.

An attack is a function `(target, rng, count) -> rows`, as one that copies a model is. It begins with a real row of class 1.
"""

from __future__ import annotations

import numpy as np

from benchmarks.attacks.extraction import Behavior, Rng, Rows, Target, snap


def hop_skip_jump(target: Target, rng: Rng, count: int) -> Rows:
    """HopSkipJump (Chen et al. 2020): bisection to the boundary, a gradient estimated from answers, a step along it."""
    source, other = _start(target, rng)
    queries: list[Rows] = [source]

    def gets_through(row: Rows) -> bool:
        queries.append(row)
        return bool(target.scores(row[None])[0] < 0.5)

    while len(queries) < count:
        near, far = source, other
        for _ in range(8):
            middle = (near + far) / 2
            near, far = (near, middle) if gets_through(middle) else (middle, far)
        gradient = np.zeros(len(source))
        for _ in range(20):
            direction = rng.normal(size=len(source))
            through = gets_through(far + 0.05 * target.spread * direction)
            gradient += direction if through else -direction
        other = far + 0.2 * target.spread * gradient / max(float(np.linalg.norm(gradient)), 1e-9)
    return np.array(queries[:count])


def hill_climb(target: Target, rng: Rng, count: int) -> Rows:
    """One field at a time takes the value of another real row; the change stays if the score falls."""
    best, _ = _start(target, rng)
    lowest = float(target.scores(best[None])[0])
    queries = [best]
    while len(queries) < count:
        row = best.copy()
        column = int(rng.integers(len(row)))
        row[column] = target.rows[rng.integers(len(target.rows)), column]
        queries.append(row)
        score = float(target.scores(row[None])[0])
        if score < lowest:
            best, lowest = row, score
    return np.array(queries)


def jittered(target: Target, rng: Rng, count: int) -> Rows:
    """All features of one row move slightly and at random (a boundary attack's proposals, Brendel et al. 2018)."""
    source, _ = _start(target, rng)
    return source + 0.1 * target.spread * rng.normal(size=(count, len(source)))


def snapped(target: Target, rng: Rng, count: int) -> Rows:
    """HopSkipJump with each value replaced by the nearest one that the feature takes in real rows."""
    rows = np.unique(snap(target, hop_skip_jump(target, rng, 3 * count)), axis=0)
    return np.asarray(rows[rng.permutation(len(rows))[:count]])


def _start(target: Target, rng: Rng) -> tuple[Rows, Rows]:
    """A real row of class 1, and one of class 0."""
    scores = target.scores(target.rows)
    positive, negative = np.flatnonzero(scores >= 0.5), np.flatnonzero(scores < 0.5)
    return target.rows[rng.choice(positive)], target.rows[rng.choice(negative)]


EVASIONS: dict[str, Behavior] = {
    "HopSkipJump": hop_skip_jump,
    "HopSkipJump, snapped": snapped,
    "hill climbing": hill_climb,
    "jittered": jittered,
}
