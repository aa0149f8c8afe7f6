"""The geometry of queries to a model: where they lie among rows that are known, and among each other.

Distances are taken in two spaces: ranks (each value's place among the reference values, so that
neither scale nor outliers matter) and standard deviations, as a logarithm (where outliers do).
A missing value (NaN) is a value of its own, below all others.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tocsin.stats.neighbours import Matrix, Vector, fewest_changed, nearest, nearest_earlier

#: Added to a distance in standard deviations before its logarithm, so that 0 stays finite.
_OFFSET = 0.1
#: Share of honest rows that may hold any value never seen before, over all closed features together.
_NOVELTY = 0.05
#: Share of values that may break a rule before it is none: edits that were not recognized.
_STRAY = 0.005
#: A query is an edit of an earlier one if at most this many of its values differ.
_EDIT = 2
#: How many queries before a run are searched for the one that a query edits.
CONTEXT = 100


@dataclass(frozen=True)
class Domain:
    """The values that a feature takes: its range, whether whole numbers, and all of them if closed."""

    low: float
    high: float
    whole: bool
    closed: tuple[float, ...] | None

    def unseen(self, values: Vector) -> NDArray[np.bool_]:
        """Which of these values the feature has never taken, as far as that can be said."""
        new = (values < self.low) | (values > self.high)
        if self.whole:
            new |= values != np.round(values)
        if self.closed is not None:
            known = np.asarray(self.closed)
            new |= known[np.searchsorted(known, values).clip(max=len(known) - 1)] != values
        return np.asarray(new, dtype=np.bool_)


def domains(rows: Matrix) -> list[Domain]:
    """The domain of each feature.

    A feature is closed if hardly any value in it stands alone: the share of values seen once estimates
    the chance that the next one is new (Good 1953), and these chances may add up to 5 % of rows.
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
    """The rows with minus infinity for what is missing."""
    return np.where(np.isnan(rows), -np.inf, rows)


def edits(rows: Matrix, start: int = 0) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """For each row from `start` on, the earlier row that it is most like, and whether it is an edit of that.

    An edit changes at most two values, and at most half of them: what a person does who asks what-if.
    """
    origin, changed = fewest_changed(filled(rows), start)
    return origin, changed <= min(_EDIT, rows.shape[1] // 2)


class Space:
    """Two spaces of comparable distances, spanned by reference rows of shape (rows, features)."""

    def __init__(self, reference: Matrix) -> None:
        self._sorted = np.sort(filled(reference), axis=0)
        finite = np.where(np.isfinite(reference), reference, np.nan)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a feature that is always missing
            self._mean = np.nan_to_num(np.nanmean(finite, axis=0))
            spread = np.nan_to_num(np.nanstd(finite, axis=0))
        self._spread = np.where(spread > 0, spread, 1.0)

    def ranks(self, rows: Matrix) -> Matrix:
        """Each value's place among the reference values, 0 to 1; equal ones share their middle place."""
        places = np.empty(rows.shape)
        for j, column in enumerate(filled(rows).T):
            known = self._sorted[:, j]
            places[:, j] = np.searchsorted(known, column, "left") + np.searchsorted(known, column, "right")
        places /= 2 * len(self._sorted)
        return places

    def deviations(self, rows: Matrix) -> Matrix:
        """Standard deviations from the mean, at most 1,000 either way; 0 for what is missing."""
        found: Matrix = np.nan_to_num((rows - self._mean) / self._spread, nan=0.0).clip(-1e3, 1e3)
        return found


@dataclass(frozen=True)
class Placed:
    """Queries with their coordinates: arrays of one length, each of shape (queries, features) but `far`."""

    values: Matrix
    new: NDArray[np.bool_]
    ranks: Matrix
    deviations: Matrix
    far: Vector

    def __len__(self) -> int:
        return len(self.values)

    def part(self, part: slice) -> Placed:
        """A run of the queries."""
        return Placed(*(array[part] for array in vars(self).values()))


class Reference:
    """Rows that honest principals asked about, with the principal of each, and the features' domains."""

    def __init__(self, rows: Matrix, owners: Sequence[str], known: Sequence[Domain]) -> None:
        self._space = Space(rows)
        self._domains = known
        self._ranks = self._space.ranks(rows)
        self._codes = {owner: code for code, owner in enumerate(dict.fromkeys(owners))}
        self._owners = np.array([self._codes[owner] for owner in owners], dtype=np.int64)

    def place(self, rows: Matrix, owners: Sequence[str]) -> Placed:
        """Coordinates of queries, and the distance in ranks of each to the nearest reference row.

        A principal's own rows in the reference do not count, unless there are no others.
        """
        values, ranks = filled(rows), self._space.ranks(rows)
        codes = np.array([self._codes.get(owner, -1) for owner in owners], dtype=np.int64)
        others = self._owners if len(self._codes) > 1 else self._owners + len(self._codes)
        far = nearest(ranks, self._ranks, codes, others)
        new = np.column_stack([d.unseen(v) for d, v in zip(self._domains, values.T, strict=True)])
        return Placed(values, new, ranks, self._space.deviations(rows), far)


def marks(queries: Placed, start: int = 0) -> dict[str, Vector]:
    """What is to be noted of each of a principal's distinct queries from `start` on.

    The queries before `start` are only searched for those that later ones edit. A value is NaN where there
    is nothing to say.

    Returns:
        unseen: 1 if two or more values, beside those kept from the query that it edits, are outside their
            feature's domain. probe: 1 for an edit with such a value. step: 1 if it is nearer to an earlier
            query than half the distance to the reference, and no edit. edit: 1 for an edit.
        alone: distance in ranks to the nearest of reference and earlier queries; NaN for an edit.
        scatter: log distance in standard deviations to the nearest earlier query; NaN for an edit.
    """
    origin, edit = edits(queries.values, start)
    run = queries.part(slice(start, None))
    kept = queries.new[origin] & (run.values == queries.values[origin]) & edit[:, None]
    fresh = (run.new & ~kept).sum(axis=1)
    near, scatter = nearest_earlier(run.ranks), nearest_earlier(run.deviations)
    scatter[~np.isfinite(scatter)] = np.nan
    return {
        "unseen": (fresh >= 2).astype(np.float64),
        "step": ((near < run.far / 2) & ~edit).astype(np.float64),
        "probe": ((fresh >= 1) & edit).astype(np.float64),
        "alone": np.where(edit, np.nan, np.minimum(near, run.far)),
        "scatter": np.where(edit, np.nan, np.log(scatter + _OFFSET)),
        "edit": edit.astype(np.float64),
    }
