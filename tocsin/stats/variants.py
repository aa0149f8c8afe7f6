"""Finds the variants of one input among the queries of a principal: rows that agree in a part of their features.

Locality-sensitive hashing (Indyk and Motwani 1998), as the similarity digests of Blacklight (Li et al. 2022). Each hash has
a random set of features. Values are compared by their interval of ranks among known rows, and the intervals of each hash
begin at a random place. So rows that differ in a few features share some hash, and so do rows that differ slightly in all
features. The cost grows linearly with the number of rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Hashes = NDArray[np.uint64]
Places = NDArray[np.intp]

#: Number of hashes. A change of a third of the features is missed by all of them in fewer than one in a thousand cases.
HASHES = 24
#: Number of intervals of ranks, of the hashes in turn. A value that is more frequent than one of 16 has its own.
_INTERVALS = (16, 4)
#: A hash takes features until at most this share of pairs of known rows agree, but at most half of the features.
_PAIRS = 1e-4
#: Known rows from which the features of the hashes are chosen.
_CHOICE_ROWS = 2_000
#: A quantile: a principal's own habits are those of all but a tenth of its rows.
_TYPICAL = 0.9
_ODD = np.uint64(0x9E3779B97F4A7C15)


class _Group(NamedTuple):
    rows: Places
    expected: float


@dataclass(frozen=True)
class Family:
    """The largest set of variants of a principal.

    Attributes:
        rows: the places of the variants among the rows.
        expected: the number of the principal's rows that agree so by chance.
        typical: the size of the largest set that each of the principal's other rows is in, of which nine in ten have no
            larger one.
    """

    rows: Places
    expected: float
    typical: float

    @property
    def size(self) -> float:
        """The number of variants beyond chance: 1 for a single row."""
        return len(self.rows) / (1 + self.expected)


def _without_gaps(rows: Matrix, starts: Places) -> Matrix:
    """The rows with the last earlier value of the same principal in place of NaN, where there is one."""
    gaps = np.isnan(rows)
    if not gaps.any():
        return rows
    place = np.where(gaps, -1, np.arange(len(rows))[:, None])
    last = np.maximum.accumulate(place, axis=0)
    first = np.repeat(starts, np.diff(np.append(starts, len(rows))))[:, None]
    return np.where(last >= first, np.take_along_axis(rows, np.maximum(last, 0), axis=0), rows)


@dataclass(frozen=True)
class _Frequent:
    """How often the values of one hash occur among known rows.

    Attributes:
        hashes: those that occur more than once, in order.
        shares: the share of rows with each of them.
        usual: the share of pairs of rows with one hash, which is the share that a row drawn at random has in the mean.
    """

    hashes: Hashes
    shares: Matrix
    usual: float

    @classmethod
    def of(cls, rows: Hashes) -> _Frequent:
        """Count the hashes of known rows."""
        hashes, counts = np.unique(rows, return_counts=True)
        usual = float((counts * (counts - 1)).sum()) / max(len(rows) * (len(rows) - 1), 1)
        return cls(hashes[counts > 1], counts[counts > 1] / max(len(rows), 1), usual)

    def share(self, hashes: Hashes) -> Matrix:
        """The share of rows that have each of these hashes, at least the usual one: a known row may lack it by chance."""
        if not len(self.hashes):
            return np.full(len(hashes), self.usual)
        place = np.minimum(np.searchsorted(self.hashes, hashes), len(self.hashes) - 1)
        return np.maximum(np.where(self.hashes[place] == hashes, self.shares[place], 0.0), self.usual)


class Variants:
    """Hashes of rows, with the frequency of each hash among known rows of shape (rows, features).

    Rows may contain NaN. It is a value of its own for half of the hashes. For the other half it is the value in the
    principal's row before, so that variants with different gaps agree.
    """

    def __init__(self, known: Matrix, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self._known = [np.sort(column) for column in _filled(known).T]
        self._phase = rng.uniform(size=(HASHES, known.shape[1]))
        self._factor = rng.integers(1, 2**62, size=(HASHES, known.shape[1]), dtype=np.uint64) * 2 + 1
        some = self._places(known[rng.permutation(len(known))[:_CHOICE_ROWS]])
        self._features = [self._chosen(some, number, rng) for number in range(HASHES)]
        places = self._places(known)
        self._frequent = [_Frequent.of(self._hash(places, number)) for number in range(HASHES)]

    def families(self, rows: Matrix, starts: Places) -> list[Family]:
        """The largest family of each principal.

        Args:
            rows: different rows, those of a principal together.
            starts: the place of the first row of each principal.
        """
        places, without_gaps = self._places(rows), _without_gaps(rows, starts)
        views = places, places if without_gaps is rows else self._places(without_gaps)
        stops = np.append(starts[1:], len(rows))
        owner = np.repeat(np.arange(len(starts)), stops - starts)
        best = [
            _Group(np.arange(start, min(start + 1, stop)), 0.0)
            for start, stop in zip(starts, stops, strict=True)
        ]
        sizes, of_row = np.zeros(len(starts)), np.ones(len(rows))
        for number in range(HASHES):
            hashes = self._hash(views[number // 2 % 2], number)
            order = np.lexsort((hashes, owner))
            begin = np.flatnonzero(_changes(hashes[order], owner[order]))
            lengths, of = np.diff(np.append(begin, len(rows))), owner[order[begin]]
            expected = self._frequent[number].share(hashes[order[begin]]) * (stops - starts)[of]
            size = lengths / (1 + expected)
            of_row[order] = np.maximum(of_row[order], np.repeat(size, lengths))
            for group in _highest(size, of, sizes):
                sizes[of[group]] = size[group]
                members = order[begin[group] : begin[group] + lengths[group]]
                best[of[group]] = _Group(np.sort(members), float(expected[group]))
        return [
            Family(*group, _typical(np.delete(of_row[start:stop], group.rows - start)))
            for group, start, stop in zip(best, starts, stops, strict=True)
        ]

    def _places(self, rows: Matrix) -> Matrix:
        """The rank of each value, 0 to 1; a negative number for a value that is frequent."""
        found = np.empty(rows.shape)
        for j, (known, column) in enumerate(zip(self._known, _filled(rows).T, strict=True)):
            low, high = np.searchsorted(known, column, "left"), np.searchsorted(known, column, "right")
            rank = (low + high) / (2 * len(known))
            found[:, j] = np.where((high - low) * max(_INTERVALS) > len(known), -1.0 - low, rank)
        return found

    def _hash(self, places: Matrix, number: int) -> Hashes:
        found = np.zeros(len(places), dtype=np.uint64)
        for j in self._features[number]:
            found += self._part(places[:, j], number, j)
        return found

    def _part(self, column: Matrix, number: int, j: int) -> Hashes:
        """The part of one feature in a hash."""
        ranks = column * _INTERVALS[number % len(_INTERVALS)]
        interval = np.where(column < 0, column, np.floor(ranks + self._phase[number, j]))
        mixed = interval.astype(np.int64).astype(np.uint64) * _ODD
        return np.asarray((mixed ^ (mixed >> np.uint64(29))) * self._factor[number, j], dtype=np.uint64)

    def _chosen(self, some: Matrix, number: int, rng: np.random.Generator) -> list[int]:
        """The features of a hash: random ones, until few known rows agree in all of them."""
        chosen: list[int] = []
        hashes = np.zeros(len(some), dtype=np.uint64)
        for j in rng.permutation(some.shape[1]).tolist():
            hashes = hashes + self._part(some[:, j], number, j)
            chosen.append(j)
            if _Frequent.of(hashes).usual <= _PAIRS or 2 * len(chosen) >= some.shape[1]:
                break
        return chosen


def _filled(rows: Matrix) -> Matrix:
    return np.where(np.isnan(rows), -np.inf, rows)


def _changes(*columns: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Where a row differs from the one before it."""
    found = np.zeros(len(columns[0]), dtype=np.bool_)
    found[:1] = True
    for column in columns:
        found[1:] |= column[1:] != column[:-1]
    return found


def _typical(values: Matrix) -> float:
    return float(np.quantile(values, _TYPICAL)) if len(values) else 1.0


def _highest(size: Matrix, of: Places, best: Matrix) -> Iterator[int]:
    """Of each principal the place of its largest group, if it is larger than the best so far."""
    order = np.lexsort((-size, of))
    for place in order[_changes(of[order])].tolist():
        if size[place] > best[of[place]]:
            yield place
