"""The geometry of queries to a model: their distances to known rows and to each other.

Distances are computed in two spaces. In ranks (each value's rank among the reference values), neither scale nor
outliers matter. In standard deviations, of which the logarithm is used, outliers do matter. A missing value
(NaN) counts as a separate value below all others.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tocsin.stats.dependence import Dependence
from tocsin.stats.neighbours import Matrix, Vector, fewest_changed, nearest, nearest_earlier

#: Added to a distance in standard deviations before its logarithm, so that the logarithm of 0 is finite.
_OFFSET = 0.1
#: Maximum share of honest rows expected to contain a new value, over all closed features together.
_NOVELTY = 0.05
#: Maximum share of fractional values in a feature of whole numbers: edits that were not recognized.
_STRAY = 0.005
#: A query is an edit of an earlier one if at most this many of its values differ.
_EDIT = 2
#: A row continues a line if at least this many earlier rows are on it.
_LINE = 5
#: How many queries before a run are searched for the one that a query edits.
CONTEXT = 100


@dataclass(frozen=True)
class Domain:
    """The values of a feature: its range, whether they are whole numbers, and all values if the feature is closed."""

    low: float
    high: float
    whole: bool
    closed: tuple[float, ...] | None

    def unseen(self, values: Vector) -> NDArray[np.bool_]:
        """Which of these values are outside the domain."""
        new = (values < self.low) | (values > self.high)
        if self.whole:
            new |= values != np.round(values)
        if self.closed is not None:
            known = np.asarray(self.closed)
            new |= known[np.searchsorted(known, values).clip(max=len(known) - 1)] != values
        return np.asarray(new, dtype=np.bool_)


def domains(rows: Matrix) -> list[Domain]:
    """The domain of each feature.

    A feature is closed if hardly any of its values occurs only once. The share of values that occur once
    estimates the probability that the next value is new (Good 1953). Over all closed features, these probabilities
    sum to at most 5 % of rows.
    """
    found = []
    for column in filled(rows).T:
        values, counts = np.unique(column, return_counts=True)
        new = np.count_nonzero(counts == 1) / len(column)
        closed = tuple(values.tolist()) if new * rows.shape[1] <= _NOVELTY else None
        whole = bool(counts[values != np.round(values)].sum() <= _STRAY * len(column))
        found.append(Domain(float(values[0]), float(values[-1]), whole, closed))
    return found


def filled(rows: Matrix) -> Matrix:
    """The rows with minus infinity in place of missing values."""
    return np.where(np.isnan(rows), -np.inf, rows)


def edits(rows: Matrix, start: int = 0) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """For each row from `start` on, the most similar earlier row, and whether the row is an edit of it.

    An edit changes at most two values and at most half of all values, as a user does for a what-if question.
    """
    origin, changed = fewest_changed(filled(rows), start)
    return origin, changed <= _most_changed(rows)


def walks(
    rows: Matrix, origin: NDArray[np.intp], edit: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which rows continue a line, and which a path.

    A row is on a line if at least five earlier rows differ from the same origin in the same feature only, as in a
    line search. It is on a path if it is the third change in succession, each of the newest row with the same origin and
    each of other features, as in a walk from one row to another.
    """
    count = len(rows)
    origin = np.where(edit, origin, np.arange(count))
    moved = rows[origin] != rows
    once = moved.sum(axis=1) == 1
    line = once & (_earlier(np.where(once, origin * rows.shape[1] + moved.argmax(axis=1), -1)) >= _LINE)
    root = origin
    while not np.array_equal(higher := root[root], root):
        root = higher
    newest = edit & (_previous(root) == origin)
    second = origin[origin]
    third = origin[second]
    steps = moved.sum(axis=1) + moved[origin].sum(axis=1) + moved[second].sum(axis=1)
    fresh = (rows != rows[third]).sum(axis=1) == steps
    return line, newest & newest[origin] & newest[second] & fresh


def _previous(keys: NDArray[np.intp]) -> NDArray[np.intp]:
    """The place of the last earlier element with the same key; −1 if there is none."""
    order = np.argsort(keys, kind="stable")
    found = np.full(len(keys), -1, dtype=np.intp)
    same = keys[order[1:]] == keys[order[:-1]]
    found[order[1:][same]] = order[:-1][same]
    return found


def _earlier(keys: NDArray[np.intp]) -> NDArray[np.intp]:
    """The number of earlier elements with the same key."""
    order = np.argsort(keys, kind="stable")
    first = np.flatnonzero(np.diff(keys[order], prepend=-2) != 0)
    found = np.empty(len(keys), dtype=np.intp)
    found[order] = np.arange(len(keys)) - np.repeat(first, np.diff(first, append=len(keys)))
    return found


@dataclass(frozen=True)
class _Ranks:
    """The values of a feature in rising order, the rank of each, and the rank of a value below each and above the last."""

    values: Vector
    at: Vector
    below: Vector

    @classmethod
    def of(cls, column: Vector) -> _Ranks:
        values, counts = np.unique(column, return_counts=True)
        below = np.concatenate([[0.0], np.cumsum(counts)]) / len(column)
        return cls(values, (below[:-1] + below[1:]) / 2, below)

    def of_values(self, column: Vector) -> Vector:
        place = np.searchsorted(self.values, column)
        known = np.minimum(place, len(self.values) - 1)
        return np.where(self.values[known] == column, self.at[known], self.below[place])


class Space:
    """Two spaces of comparable distances, spanned by reference rows of shape (rows, features)."""

    def __init__(self, reference: Matrix) -> None:
        self._known = [_Ranks.of(column) for column in filled(reference).T]
        finite = np.where(np.isfinite(reference), reference, np.nan)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # the feature is always missing
            self._mean = np.nan_to_num(np.nanmean(finite, axis=0))
            spread = np.nan_to_num(np.nanstd(finite, axis=0))
        self._spread = np.where(spread > 0, spread, 1.0)

    def ranks(self, rows: Matrix) -> Matrix:
        """Each value's rank among the reference values, 0 to 1. Equal values have their mean rank."""
        places = np.empty(rows.shape)
        for j, (known, column) in enumerate(zip(self._known, filled(rows).T, strict=True)):
            places[:, j] = known.of_values(column)
        return places

    def deviations(self, rows: Matrix) -> Matrix:
        """Standard deviations from the mean, between -1,000 and 1,000; 0 for missing values."""
        found: Matrix = np.nan_to_num((rows - self._mean) / self._spread, nan=0.0).clip(-1e3, 1e3)
        return found


@dataclass(frozen=True)
class Placed:
    """Queries with their coordinates: arrays of shape (queries, features), except `far` and `joint` of shape (queries,)."""

    values: Matrix
    new: NDArray[np.bool_]
    ranks: Matrix
    deviations: Matrix
    far: Vector
    joint: Vector

    def __len__(self) -> int:
        return len(self.values)

    def part(self, part: slice | NDArray[np.intp]) -> Placed:
        """A run of the queries, or the queries at these places."""
        return Placed(*(array[part] for array in vars(self).values()))

    def stacked(self, size: int) -> Placed:
        """Runs of `size` queries: arrays of shape (runs, size, …)."""
        return Placed(*(array.reshape(-1, size, *array.shape[1:]) for array in vars(self).values()))


class Reference:
    """Queries of honest principals, with the principal of each query, the features' domains and dependence."""

    def __init__(
        self,
        rows: Matrix,
        owners: Sequence[str],
        known: Sequence[Domain],
        dependence: Dependence | None = None,
        bits: int = 64,
    ) -> None:
        self._kind = np.float64 if bits == 64 else np.float32  # of distances
        self._dependence = dependence or Dependence((), ())
        self._space = Space(rows)
        self._domains = known
        self._ranks = self._space.ranks(rows)
        self._codes = {owner: code for code, owner in enumerate(dict.fromkeys(owners))}
        self._owners = np.array([self._codes[owner] for owner in owners], dtype=np.int64)

    def place(self, rows: Matrix, owners: Sequence[str]) -> Placed:
        """Coordinates of queries, and the distance in ranks of each to the nearest reference row.

        A principal's own rows in the reference are ignored, unless all rows are from one principal.
        """
        values, ranks = filled(rows), self._space.ranks(rows)
        codes = np.array([self._codes.get(owner, -1) for owner in owners], dtype=np.int64)
        others = self._owners if len(self._codes) > 1 else self._owners + len(self._codes)
        far = nearest(ranks.astype(self._kind), self._ranks.astype(self._kind), codes, others)
        new = np.column_stack([d.unseen(v) for d, v in zip(self._domains, values.T, strict=True)])
        joint = self._dependence.rare(values)
        return Placed(values, new, ranks, self._space.deviations(rows), far, joint)


def marks(queries: Placed, start: int = 0) -> dict[str, Vector]:
    """The marks of each of a principal's distinct queries from `start` on.

    The queries before `start` are only searched for the originals of edits. A mark is NaN if it is undefined.

    Returns:
        unseen: 1 if two or more values are outside their feature's domain; values that an edit leaves unchanged
            are ignored. probe: 1 for an edit with such a value. step: 1 if the query is no edit, and an earlier
            query is nearer than half the distance to the reference. edit: 1 for an edit.
        alone: distance in ranks to the nearest reference row or earlier query; NaN for an edit.
        scatter: log distance in standard deviations to the nearest earlier query; NaN for an edit.
        joint: 1 if the values hardly ever occur together; NaN for an edit.
        line, path: 1 for an edit that continues a line or a path (see `walks`). same: 1 if an earlier query is equal.
    """
    return compared(queries.part(slice(start, None)), queries.values)


def compared(run: Placed, values: Matrix) -> dict[str, Vector]:
    """The marks of each query of a run, or of each of many runs with equal numbers of queries (see `marks`).

    Args:
        run: arrays of shape (queries, …), or (runs, queries, …).
        values: the values of the queries and of those before them, of which the queries are the last.
    """
    before = values.shape[-2] - len_of(run)
    every, changed = fewest_changed(values)
    edited = changed <= _most_changed(values)
    line, path = _walks_of_runs(values, every, edited)
    origin, edit = every[..., before:], edited[..., before:]
    kept = run.values == np.take_along_axis(values, origin[..., None], -2)
    fresh = (run.new & ~(kept & edit[..., None])).sum(axis=-1)
    near, scatter = nearest_earlier(run.ranks), nearest_earlier(run.deviations)
    scatter[~np.isfinite(scatter)] = np.nan
    return {
        "unseen": (fresh >= 2).astype(np.float64),
        "step": ((near < run.far / 2) & ~edit).astype(np.float64),
        "probe": ((fresh >= 1) & edit).astype(np.float64),
        "alone": np.where(edit, np.nan, np.minimum(near, run.far)),
        "scatter": np.where(edit, np.nan, np.log(scatter + _OFFSET)),
        "joint": np.where(edit, np.nan, run.joint),
        "line": line[..., before:].astype(np.float64),
        "path": path[..., before:].astype(np.float64),
        "edit": edit.astype(np.float64),
        "same": (changed[..., before:] == 0).astype(np.float64),
    }


def len_of(run: Placed) -> int:
    """The number of queries in a run."""
    return int(run.values.shape[-2])


def _walks_of_runs(
    values: Matrix, origin: NDArray[np.intp], edit: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """`walks` of each of many runs: they do not touch, because an origin is always in its own run."""
    length, columns = values.shape[-2:]
    first = length * np.arange(origin.size // length)[:, None]
    flat = (origin.reshape(-1, length) + first).ravel()
    line, path = walks(values.reshape(-1, columns), flat, edit.ravel())
    return line.reshape(origin.shape), path.reshape(origin.shape)


def _most_changed(rows: Matrix) -> int:
    return int(min(_EDIT, rows.shape[-1] // 2))
