"""Combinations of values that are far more frequent in a batch of rows than in trusted rows or by chance.

A backdoor trigger is such a combination: some columns have the same, or nearly the same, values in a few
rows. An item is "column = value" or "column within a quantile bin". Sets of two and three items are
counted in the batch and in the trusted rows.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]
Hot = NDArray[np.float32]

MIN_COUNT = 5  # minimum number of the batch's rows with a combination
LABEL = -1  # the label's index among the columns
_COLUMNS = 40  # maximum number of columns: those with the most different values are used
_BINS = 16
_VALUES = 100  # maximum number of exact values: those with the largest excess are used
_LONGER = 60  # number of pairs that are extended by every third item
_COMMON = 0.3  # items (other than labels) in a larger share of the batch are ignored


class Item(NamedTuple):
    """`low <= column < high`, or `column == low` if `low` and `high` are equal."""

    column: int
    low: float
    high: float


class ItemSet(NamedTuple):
    """A combination, the batch's rows and the number of trusted rows (among `of`) that contain it, and its excess as z."""

    items: tuple[Item, ...]
    rows: Codes
    trusted: int
    of: int
    z: float

    @property
    def planted(self) -> bool:
        """Whether two or more columns have exact values that no trusted row has together."""
        exact = [item for item in self.items if item.column != LABEL]
        return not self.trusted and len(exact) > 1 and all(item.low == item.high for item in exact)


def excess(k: Floats, trusted: Floats, n: int, n_trusted: int, chance: Floats) -> Floats:
    """How far counts exceed both the counts in trusted rows and the counts by chance, as normal deviates.

    The result is the smaller of the signed roots of two likelihood-ratio statistics (Wilks 1938). One compares k
    among n rows with `trusted` among `n_trusted`. The other compares k with `chance`, the expected count if the
    items were independent in this batch, so that a shift of single columns causes no excess.
    """
    share = n / (n + n_trusted)
    even = (k + trusted) * share
    with np.errstate(divide="ignore", invalid="ignore"):
        rest = np.where(trusted > 0, trusted * np.log(trusted / ((k + trusted) * (1 - share))), 0.0)
        against_trusted = np.where(k > even, k * np.log(k / even) + rest, 0.0)
        against_chance = np.where(k > chance, k * np.log(k / chance) - (k - chance), 0.0)
    return np.asarray(np.sqrt(2 * np.maximum(np.minimum(against_trusted, against_chance), 0.0)))


class _Table(NamedTuple):
    """A matrix of items × rows (1 if the row contains the item), and the counts of pairs of items."""

    items: Sequence[Item]
    hot: Hot
    pairs: Hot

    @classmethod
    def of(cls, items: Sequence[Item], columns: Floats, labels: Codes) -> Self:
        hot = np.empty((len(items), len(labels)), dtype=np.float32)
        for place, (column, low, high) in enumerate(items):
            values = labels if column == LABEL else columns[column]
            np.equal(values, low, out=hot[place]) if low == high else np.logical_and(
                values >= low, values < high, out=hot[place]
            )
        return cls(items, hot, hot @ hot.T)


class ItemScan:
    """Finds the pairs and triples of items with the largest excess in a batch, compared with trusted rows.

    Args:
        rows: trusted rows × columns; NaN is a separate value.
        labels: the label codes of the trusted rows.
        binned: maximum number of trusted rows in which combinations of bins are counted; those of values are
            counted in all of them, because a count of none means the more, the more rows there are.
    """

    def __init__(self, rows: Floats, labels: Codes, binned: int = 5_000) -> None:
        self._turned, self._labels = np.ascontiguousarray(rows.T), labels
        distinct = np.array([len(np.unique(column)) for column in self._turned])
        most = np.argsort(-distinct, kind="stable")[:_COLUMNS]
        self._columns = [int(j) for j in sorted(most) if distinct[j] >= 4]
        self._sorted = {j: np.sort(self._turned[j]) for j in self._columns}
        self._of_label = [Item(LABEL, code, code) for code in range(int(labels.max(initial=0)) + 1)]
        part = self._turned[:, :binned]
        bins = [item for j in self._columns for item in _bins(j, part[j])]
        self._binned = _Table.of([*bins, *self._of_label], part, labels[:binned])

    def scan(self, rows: Floats, labels: Codes, skip: Collection[int] = ()) -> list[ItemSet | None]:
        """The pair of bins, triple of bins, pair of values and triple of values with the largest excess.

        Columns in `skip` are ignored. None if no combination is frequent enough.
        """
        turned, found = np.ascontiguousarray(rows.T), []
        values = [*self._values(turned), *self._of_label]
        for trusted in (self._binned, _Table.of(values, self._turned, self._labels)):
            found += _largest(_Table.of(trusted.items, turned, labels), trusted, skip)
        return found

    def _values(self, turned: Floats) -> list[Item]:
        items: list[Item] = []
        odd: list[Floats] = []
        for j in self._columns:
            values, counts = np.unique(turned[j], return_counts=True)
            often = (counts >= MIN_COUNT) & np.isfinite(values)
            values, k = values[often], counts[often].astype(np.float64)
            known = self._sorted[j]
            trusted = np.searchsorted(known, values, "right") - np.searchsorted(known, values, "left")
            odd.append(excess(k, trusted.astype(np.float64), turned.shape[1], len(known), np.zeros_like(k)))
            items += [Item(j, float(v), float(v)) for v in values]
        order = np.argsort(-np.concatenate(odd), kind="stable")[:_VALUES] if odd else ()
        return [items[i] for i in order]


def _bins(column: int, values: Floats) -> list[Item]:
    """Quantile bins of a column, and the same bins shifted by half a bin."""
    known = values[np.isfinite(values)]
    items: list[Item] = []
    for shift in (0.0, 0.5):
        inner = np.quantile(known, (np.arange(1, _BINS) + shift)[: _BINS - 1] / _BINS) if len(known) else ()
        edges = [-np.inf, *np.unique(inner), np.inf]
        items += [Item(column, float(a), float(b)) for a, b in zip(edges, edges[1:], strict=False)]
    return items


def _largest(batch: _Table, trusted: _Table, skip: Collection[int]) -> list[ItemSet | None]:
    n, n_trusted = batch.hot.shape[1], trusted.hot.shape[1]
    column = np.array([item.column for item in batch.items])
    single = batch.pairs.diagonal().astype(np.float64)
    usable = ((single <= _COMMON * n) | (column == LABEL)) & ~np.isin(column, list(skip))
    a, b = np.divmod(np.flatnonzero(batch.pairs >= MIN_COUNT), len(column))
    apart = (a < b) & usable[a] & usable[b] & (column[a] != column[b])
    a, b = a[apart], b[apart]
    if not len(a):
        return [None, None]
    k, c = batch.pairs[a, b].astype(np.float64), trusted.pairs[a, b].astype(np.float64)
    z = excess(k, c, n, n_trusted, single[a] * single[b] / n)
    order = np.argsort(-z, kind="stable")[:_LONGER]
    a, b, z = a[order], b[order], z[order]
    pair = _item_set(batch, trusted, (int(a[0]), int(b[0])), float(z[0]))
    k3 = ((batch.hot[a] * batch.hot[b]) @ batch.hot.T).astype(np.float64)
    c3 = ((trusted.hot[a] * trusted.hot[b]) @ trusted.hot.T).astype(np.float64)
    apart3 = (column != column[a][:, None]) & (column != column[b][:, None]) & usable & (k3 >= MIN_COUNT)
    if not apart3.any():
        return [pair, None]
    chance = (single[a] * single[b])[:, None] * single / n**2
    z3 = np.where(apart3, excess(k3, c3, n, n_trusted, chance), 0.0)
    first, third = (int(i) for i in np.unravel_index(int(z3.argmax()), z3.shape))
    places = (int(a[first]), int(b[first]), third)
    return [pair, _item_set(batch, trusted, places, float(z3[first, third]))]


def _item_set(batch: _Table, trusted: _Table, places: tuple[int, ...], z: float) -> ItemSet:
    both = (table.hot[list(places)].all(axis=0) for table in (batch, trusted))
    rows, known = (np.flatnonzero(contained) for contained in both)
    return ItemSet(tuple(batch.items[p] for p in places), rows, len(known), trusted.hot.shape[1], z)
