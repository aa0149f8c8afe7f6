"""Tests for flipped labels in one group of rows: those with one value in a column of few values.

A partner, a writer or a branch is such a value. A few flips in its rows hardly move the sum over a whole batch, but
they do move the sum over the group (`tocsin.stats.residuals`). Many groups are tested at once. The largest deviate
is therefore compared with the largest deviates of trusted batches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from tocsin.stats.residuals import FlipNull, FlipTerms, unskewed

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]

OTHER = np.inf  # the value of the group of all other values of a column
_TRUSTED, _SHARE = 100, 0.01  # minimum number and share of trusted rows of a value
_COVERED = 0.5  # values with so many rows must cover this share of a column
_MOST = 300  # maximum number of groups
_ROWS, _MOST_ROWS = 20, 0.7  # minimum number of rows of a batch in a group, and maximum share
_PRIOR = 50.0  # weight of the mean and the variance of all rows, in rows of a group
_DRAWS, _DRAWN = 200, 500  # trusted batches that calibrate the largest deviate
_FLOOR = 0.02  # lower bound of a group's variance, as a share of that of all rows
_SCALE = 0.85  # the lower bound of the scale
_TAIL = 0.93  # the quantile of their largest deviates that is compared with the normal one


@dataclass(frozen=True, slots=True)
class Groups:
    """Values of the columns that have few frequent values, and for each such column the group of all other values.

    New names for a partner are therefore in a group too. `columns`, `values` and `tests` have one entry for each
    group. `tests` is the number of tests that the group's p-value is multiplied by (weighted Bonferroni; Genovese et
    al. 2006). The columns' weights fall as 1, 1/2, 1/3, …, from the column that the label depends on least: such a
    column says who delivered a row rather than what the row is like.
    """

    columns: tuple[int, ...]
    values: tuple[float, ...]
    tests: Floats

    @classmethod
    def of(cls, rows: Floats, labels: Codes) -> Self:
        """The groups of trusted rows: at most 300, those of the columns with the fewest values."""
        found: list[tuple[float, list[tuple[int, float]]]] = []
        least = max(_TRUSTED, _SHARE * len(rows))
        for column, known in enumerate(rows.T):
            values, counts = np.unique(known[np.isfinite(known)], return_counts=True)
            often = counts >= least
            if len(values) > 1 and often.any() and counts[often].sum() >= _COVERED * len(known):
                named = [(column, float(v)) for v in values[often]]
                found.append((_association(known, values[often], labels), [*named, (column, OTHER)]))
        while sum(len(groups) for _, groups in found) > _MOST:
            found.remove(max(found, key=lambda item: len(item[1])))
        found.sort()
        harmonic = sum(1 / rank for rank in range(1, len(found) + 1))
        tests = [len(groups) * rank * harmonic for rank, (_, groups) in enumerate(found, 1) for _ in groups]
        groups = [group for _, column in found for group in column]
        return cls(tuple(c for c, _ in groups), tuple(v for _, v in groups), np.asarray(tests))

    def hot(self, rows: Floats) -> Floats:
        """A matrix of groups × rows: 1 if the row is in the group."""
        hot = np.zeros((len(self.values), len(rows)))
        named: dict[int, Floats] = {}
        for place, (column, value) in enumerate(zip(self.columns, self.values, strict=True)):
            if value != OTHER:
                hot[place] = rows[:, column] == value
                named[column] = named.get(column, np.zeros(len(rows))) + hot[place]
        for place, (column, value) in enumerate(zip(self.columns, self.values, strict=True)):
            if value == OTHER:
                hot[place] = 1 - named.get(column, np.zeros(len(rows)))
        return hot


def _association(column: Floats, values: Floats, labels: Codes) -> float:
    """Cramér's V² (1946) of a column and the label, minus its expectation if they are independent."""
    classes = int(labels.max(initial=0)) + 1
    places = np.searchsorted(values, column)
    known = np.isin(column, values)
    table = np.bincount(places[known] * classes + labels[known], minlength=len(values) * classes)
    counts = table.reshape(len(values), classes).astype(np.float64)
    counts = counts[counts.sum(axis=1) > 0][:, counts.sum(axis=0) > 0]
    n, degrees = counts.sum(), (counts.shape[0] - 1) * (counts.shape[1] - 1)
    if not degrees:
        return 0.0
    expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / n
    return float((((counts - expected) ** 2 / expected).sum() - degrees) / n / (min(counts.shape) - 1))


class GroupNull(NamedTuple):
    """The distribution of the group tests on trusted rows.

    `rows` (groups): trusted rows, and `total`, `squares`, `variance` (groups × hypotheses): their sums of the
    statistic, of its squares and of the expected variance. `scale`: of the largest deviate of a quiet batch, as a
    multiple of a normal deviate.
    """

    rows: Floats
    total: Floats
    squares: Floats
    variance: Floats
    scale: float

    def largest(self, alpha: float) -> float:
        """The deviate that the largest of all exceeds with probability `alpha` in a quiet batch."""
        from scipy.special import ndtri

        return float(-self.scale * ndtri(alpha))

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        arrays = {k: v.tolist() for k, v in self._asdict().items() if isinstance(v, np.ndarray)}
        return {**arrays, "scale": self.scale}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read the result of `to_dict`."""
        arrays = (
            np.asarray(values[key], dtype=np.float64) for key in ("rows", "total", "squares", "variance")
        )
        rows, total, squares, variance = arrays
        return cls(rows, total, squares, variance, float(values["scale"]))


def group_null(terms: FlipTerms, groups: Groups, hot: Floats, flips: FlipNull) -> GroupNull:
    """The null distribution of the group tests, from out-of-fold terms of trusted rows.

    The largest deviate is drawn from batches of trusted rows, each compared with all other trusted rows.

    Args:
        terms: of the trusted rows.
        groups: the groups.
        hot: groups × trusted rows.
        flips: the null distribution of the tests on all rows.
    """
    from scipy.special import ndtri

    null = _sums(terms, hot)
    rng, size = np.random.default_rng(0), min(_DRAWN, len(terms.statistic) // 4)
    largest = []
    for _ in range(_DRAWS if len(hot) and size else 0):
        drawn = rng.choice(len(terms.statistic), size, replace=False)
        part, own_hot = FlipTerms(*(values[drawn] for values in terms)), hot[:, drawn]
        sums = _sums(part, own_hot)
        rest = GroupNull(
            null.rows - sums.rows,
            null.total - sums.total,
            null.squares - sums.squares,
            null.variance - sums.variance,
            1.0,
        )
        largest.append(float(group_deviates(part, groups, own_hot, flips, rest).max(initial=0.0)))
    if not largest:
        return null
    return null._replace(scale=max(_SCALE, float(np.quantile(largest, _TAIL) / ndtri(_TAIL))))


def _sums(terms: FlipTerms, hot: Floats) -> GroupNull:
    statistic, variance = terms.statistic, terms.variance
    return GroupNull(hot.sum(axis=1), hot @ statistic, hot @ statistic**2, hot @ variance, 1.0)


def group_deviates(terms: FlipTerms, groups: Groups, hot: Floats, flips: FlipNull, null: GroupNull) -> Floats:
    """The flip tests within each group, as normal deviates: groups × hypotheses; 0 for a group that is not tested.

    The deviates are adjusted for the number of tests. A group is tested if it has at least 20 rows and at most 0.7 of
    the batch. Its mean and its variance are those of its trusted rows, shrunk to those of all rows. The cost is
    linear in rows and groups.
    """
    rows = hot.sum(axis=1)
    tested = (rows >= _ROWS) & (rows <= _MOST_ROWS * hot.shape[1])
    deviates = np.zeros((len(hot), terms.statistic.shape[1]))
    if not tested.any():
        return deviates
    hot, n, known = hot[tested], rows[tested][:, None], null.rows[tested][:, None] + _PRIOR
    usual = terms.variance.mean(axis=0)
    # Where a flip hardly changes a probability, the sum says nothing, and its variance would be near 0.
    expected = np.maximum(hot @ terms.variance, _FLOOR * n * usual)
    bias = (null.total[tested] + _PRIOR * flips.bias) / known
    squares = null.squares[tested] + _PRIOR * (flips.inflation * usual + flips.bias**2)
    inflation = (squares - known * bias**2) / (null.variance[tested] + _PRIOR * usual)
    inflation = np.maximum(inflation, flips.inflation)
    spread = np.sqrt(inflation * expected * (1 + n / known) + n**2 * flips.between)
    sums = (hot @ terms.statistic - n * bias) / spread
    deviates[tested] = _adjusted(
        unskewed(sums, (hot @ terms.third) / expected**1.5), groups.tests[tested][:, None]
    )
    return deviates


def _adjusted(deviates: Floats, tests: Floats) -> Floats:
    """The normal deviates of p-values that are multiplied by the number of tests; 0 for p ≥ 0.5."""
    from scipy.special import log_ndtr, ndtri_exp

    logs = np.minimum(log_ndtr(-deviates) + np.log(tests), np.log(0.5))
    return np.asarray(-ndtri_exp(logs))
