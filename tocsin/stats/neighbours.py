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
    if not len(others):
        return found
    left, right = _factors(rows, others)
    groups_of, members = np.unique(other_groups), np.isin(groups, other_groups)
    own = {group: np.flatnonzero(other_groups == group) for group in groups_of.tolist()}
    for start in range(0, len(rows), _BLOCK):
        block = slice(start, start + _BLOCK)
        between = left[block] @ right
        for place in np.flatnonzero(members[block]).tolist():
            between[place, own[int(groups[start + place])]] = np.inf
        found[block] = between.min(axis=1)
    distance: Vector = np.sqrt(np.maximum(found, 0.0))
    return distance


def _factors(rows: Matrix, others: Matrix) -> tuple[Matrix, Matrix]:
    """Two matrices whose product is the squared distance of each row to each of the others."""
    left = np.empty((*rows.shape[:-1], rows.shape[-1] + 2), dtype=rows.dtype)
    left[..., :-2], left[..., -2], left[..., -1] = rows, np.einsum("...j,...j->...", rows, rows), 1.0
    right = np.empty((*others.shape[:-1], others.shape[-1] + 2), dtype=others.dtype)
    right[..., :-2], right[..., -2] = -2.0 * others, 1.0
    right[..., -1] = np.einsum("...j,...j->...", others, others)
    return left, np.ascontiguousarray(right.swapaxes(-1, -2))


def nearest_earlier(rows: Matrix) -> Vector:
    """Distance of each row to the nearest of the rows before it in its run; infinite for the first row of a run.

    Args:
        rows: shape (rows, columns), or (runs, rows, columns).
    """
    found = np.full(rows.shape[:-1], np.inf)
    left, right = _factors(rows, rows)
    for start in range(0, rows.shape[-2], _BLOCK):
        stop = min(start + _BLOCK, rows.shape[-2])
        between = left[..., start:stop, :] @ right[..., :stop]
        between[..., start:][..., _not_before(stop - start)] = np.inf
        found[..., start:stop] = between.min(axis=-1)
    distance: Vector = np.sqrt(np.maximum(found, 0.0))
    return distance


@functools.lru_cache(maxsize=2 * _BLOCK)
def _not_before(count: int) -> NDArray[np.bool_]:
    """Which elements of a square are on or above its diagonal."""
    return np.triu(np.ones((count, count), dtype=np.bool_))


def fewest_changed(rows: Matrix, start: int = 0) -> tuple[NDArray[np.intp], NDArray[np.int32]]:
    """For each row from `start` on, the earlier row of its run with the fewest different values, and the number of them.

    Args:
        rows: shape (rows, columns), or (runs, rows, columns).
        start: the first row of a run for which the earlier row is searched.

    Returns:
        Row numbers and counts, of shape (rows − start) or (runs, rows − start). A row without earlier rows has the row
        number 0 and a count of one more than the number of columns. Equal infinities are equal.
    """
    width, length, codes = rows.shape[-1], rows.shape[-2], _codes(rows)
    place = np.zeros((*rows.shape[:-2], length - start), dtype=np.intp)
    fewest = np.full(place.shape, width + 1, dtype=np.int32)
    for first in range(start, length, _BLOCK):
        stop = min(first + _BLOCK, length)
        count = np.zeros((*rows.shape[:-2], stop - first, stop), dtype=np.uint8 if width < 255 else np.uint16)
        changed = np.empty(count.shape, dtype=np.bool_)
        for column in codes:
            np.not_equal(column[..., first:stop, None], column[..., None, :stop], out=changed)
            count += changed.view(np.uint8)
        count[..., first:][..., _not_before(stop - first)] = width + 1
        at = count.argmin(axis=-1)
        place[..., first - start : stop - start] = at
        fewest[..., first - start : stop - start] = np.take_along_axis(count, at[..., None], -1)[..., 0]
    return place, fewest


def _codes(rows: Matrix) -> NDArray[np.uint16] | NDArray[np.uint8] | NDArray[np.int32]:
    """Each column as small whole numbers, which are compared faster: equal values of a run have equal numbers."""
    columns = np.ascontiguousarray(np.moveaxis(rows, -1, 0))
    order = columns.argsort(axis=-1)
    ordered = np.take_along_axis(columns, order, -1)
    length = rows.shape[-2]
    kind = np.uint8 if length <= 256 else np.uint16 if length <= 65_536 else np.int32
    number = np.zeros(columns.shape, dtype=kind)
    np.cumsum(ordered[..., 1:] != ordered[..., :-1], axis=-1, out=number[..., 1:], dtype=kind)
    codes = np.empty_like(number)
    np.put_along_axis(codes, order, number, -1)
    return codes
