"""Distances between rows: nearest neighbors by a matrix product, and the smallest number of different values."""

from __future__ import annotations

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
    for start in range(0, len(rows) if len(others) else 0, _BLOCK):
        block = slice(start, start + _BLOCK)
        between = rows[block] @ halves
        between += squares
        between[groups[block, None] == other_groups] = np.inf
        found[block] = between.min(axis=1)
    found += np.einsum("ij,ij->i", rows, rows)
    distance: Vector = np.sqrt(np.maximum(found, 0.0))
    return distance


def nearest_earlier(rows: Matrix) -> Vector:
    """Distance of each row to the nearest of the rows before it; infinite for the first row."""
    between = distances(rows, rows)
    between[np.triu_indices(len(rows))] = np.inf
    return np.asarray(between.min(axis=1), dtype=np.float64)


def fewest_changed(rows: Matrix, start: int = 0) -> tuple[NDArray[np.intp], NDArray[np.int32]]:
    """For each row from `start` on, the earlier row with the fewest different values, and the number of them.

    Returns:
        Row numbers and counts, of length rows − start. A row without earlier rows has the row number 0 and a count
        of one more than the number of columns. Equal infinities are equal.
    """
    count = np.zeros((len(rows) - start, len(rows)), dtype=np.int32)
    for column in rows.T:
        count += column[start:, None] != column
    count[np.arange(start, len(rows))[:, None] <= np.arange(len(rows))] = rows.shape[1] + 1
    place = count.argmin(axis=1) if len(rows) else np.empty(0, dtype=np.intp)
    return place, count[np.arange(len(count)), place]
