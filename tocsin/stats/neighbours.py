"""Distances between rows: nearest neighbors by one matrix product, and the fewest places changed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]
Groups = NDArray[np.int64]

#: Rows compared at once, so that their distances to some thousand others stay in the processor's cache.
_BLOCK = 128


def distances(rows: Matrix, others: Matrix) -> Matrix:
    """Euclidean distance of every row to every other row: shape (rows, others).

    One matrix product, an order faster than a tree above ten dimensions. Its rounding leaves about
    1e-8 of the rows' norm where two rows are the same.
    """
    squares = np.einsum("ij,ij->i", rows, rows)[:, None] + np.einsum("ij,ij->i", others, others)
    product = rows @ others.T
    product *= -2.0
    product += squares
    np.maximum(product, 0.0, out=product)
    return np.sqrt(product, out=product)


def nearest(rows: Matrix, others: Matrix, groups: Groups, other_groups: Groups) -> Vector:
    """Distance of each row to its nearest among the others of another group; infinite where there are none."""
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
    """Distance of each row to the nearest of the rows above it; infinite for the first."""
    between = distances(rows, rows)
    between[np.triu_indices(len(rows))] = np.inf
    return np.asarray(between.min(axis=1), dtype=np.float64)


def fewest_changed(rows: Matrix, start: int = 0) -> tuple[NDArray[np.intp], NDArray[np.int32]]:
    """For each row from `start` on, which row above it differs in the fewest places, and in how many.

    Returns:
        Places and counts of length rows − start. A row with nothing above it has place 0 and one more
        change than it has places. Equal infinities are equal.
    """
    count = np.zeros((len(rows) - start, len(rows)), dtype=np.int32)
    for column in rows.T:
        count += column[start:, None] != column
    count[np.arange(start, len(rows))[:, None] <= np.arange(len(rows))] = rows.shape[1] + 1
    place = count.argmin(axis=1) if len(rows) else np.empty(0, dtype=np.intp)
    return place, count[np.arange(len(count)), place]
