"""Distances between rows: nearest neighbors by a matrix product, and the smallest number of different values."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]
Groups = NDArray[np.int64]

#: Number of rows that are compared at once: their distances to some thousand rows fit in the processor's cache.
_BLOCK = 128


def distances(rows: Matrix, others: Matrix) -> Matrix:
    """Euclidean distance of every row to every other row: shape (rows, others).

    A matrix product is ten times faster than a tree above ten dimensions. Because of rounding, the distance of
    two equal rows is about 1e-8 of their norm.
    """
    squares = np.einsum("ij,ij->i", rows, rows)[:, None] + np.einsum("ij,ij->i", others, others)
    product = rows @ others.T
    product *= -2.0
    product += squares
    np.maximum(product, 0.0, out=product)
    return np.sqrt(product, out=product)


def nearest(rows: Matrix, others: Matrix, groups: Groups, other_groups: Groups) -> Vector:
    """Distance of each row to the nearest of the others from another group; infinite if there are none."""
    found = np.full(len(rows), np.inf)
    halves, squares = -2.0 * others.T, np.einsum("ij,ij->i", others, others)
    known = np.unique(other_groups)
    for start in range(0, len(rows) if len(others) else 0, _BLOCK):
        block = slice(start, start + _BLOCK)
        between = rows[block] @ halves
        between += squares
        own = np.flatnonzero(np.isin(groups[block], known))
        if len(own):
            part = between[own]
            part[groups[block][own, None] == other_groups] = np.inf
            between[own] = part
        found[block] = between.min(axis=1)
    found += np.einsum("ij,ij->i", rows, rows)
    distance: Vector = np.sqrt(np.maximum(found, 0.0))
    return distance


def nearest_earlier(rows: Matrix) -> Vector:
    """Distance of each row to the nearest of the rows before it; infinite for the first row."""
    found = np.full(len(rows), np.inf)
    halves, squares = -2.0 * rows.T, np.einsum("ij,ij->i", rows, rows)
    for start in range(0, len(rows), _BLOCK):
        stop = min(start + _BLOCK, len(rows))
        between = rows[start:stop] @ halves[:, :stop]
        between += squares[:stop]
        between[:, start:][_not_before(stop - start)] = np.inf
        found[start:stop] = between.min(axis=1)
    found += squares
    distance: Vector = np.sqrt(np.maximum(found, 0.0))
    return distance


@functools.lru_cache(maxsize=2 * _BLOCK)
def _not_before(count: int) -> NDArray[np.bool_]:
    """Which elements of a square are on or above its diagonal."""
    return np.triu(np.ones((count, count), dtype=np.bool_))


def fewest_changed(rows: Matrix, start: int = 0) -> tuple[NDArray[np.intp], NDArray[np.int32]]:
    """For each row from `start` on, the earlier row with the fewest different values, and the number of them.

    Returns:
        Row numbers and counts, of length rows − start. A row without earlier rows has the row number 0 and a count
        of one more than the number of columns. Equal infinities are equal.
    """
    width, codes = rows.shape[1], _codes(rows)
    place = np.zeros(len(rows) - start, dtype=np.intp)
    fewest = np.full(len(rows) - start, width + 1, dtype=np.int32)
    for first in range(start, len(rows), _BLOCK):
        stop = min(first + _BLOCK, len(rows))
        count = np.zeros((stop - first, stop), dtype=np.uint8 if width < 255 else np.int32)
        for column in codes:
            count += column[first:stop, None] != column[:stop]
        count[:, first:][_not_before(stop - first)] = width + 1
        at = count.argmin(axis=1)
        place[first - start : stop - start] = at
        fewest[first - start : stop - start] = count[np.arange(stop - first), at]
    return place, fewest


def _codes(rows: Matrix) -> list[NDArray[np.int32]]:
    """Each column as small whole numbers, which are compared faster: equal values have equal numbers."""
    small = np.int16 if len(rows) < np.iinfo(np.int16).max else np.int32
    return [np.unique(column, return_inverse=True)[1].astype(small) for column in rows.T]
