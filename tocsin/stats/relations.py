"""How surprising each value of a row is, given the other values of the row.

A row has a surprising value if each of its values is usual but their combination is not. Values may be numbers or codes
of categories. A column is divided into bins. Ridge regression (Hoerl & Kennard 1970) predicts the shares of a column's
bins from the bins of all other columns: one inverse of a matrix gives all regressions. The surprise is minus the
logarithm of the predicted share of a value's own bin, in nats (Shannon 1948; conditional distribution tests: Kulinski,
Bagchi & Inouye, Feature Shift Detection, NeurIPS 2020).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from tocsin.stats.histogram import quantiles
from tocsin.stats.log_tails import log_mean_tail

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]

#: Bins of all columns together: bounds the time of a fit (its cube) and of a row (its square).
TOTAL_BINS = 480
_BINS = (3, 10)  # fewest and most bins of a column of numbers; a column of categories has up to twice as many
_LEAST_SHARE = 0.002  # the smallest predicted share: one impossible value is a surprise of 6.2
_RIDGE = 0.01  # added to the variance of each bin, in units of it
_FOLDS = 5


@dataclass(frozen=True, slots=True)
class Coding:
    """The bins of a column. `marks` are their upper ends or, if `exact`, their values.

    The last but one bin has all further values, the last one those that are missing (NaN and infinity).
    """

    marks: Floats
    exact: bool

    @classmethod
    def of(cls, column: Floats, bins: int, *, nominal: bool) -> Self:
        """Bins for a column: its values if they are few, the commonest if they are codes, else its quantiles."""
        values, number = np.unique(column[np.isfinite(column)], return_counts=True)
        if nominal or len(values) <= bins:
            most = 2 * bins if nominal else bins
            return cls(np.sort(values[np.argsort(-number, kind="stable")[:most]]), exact=True)
        levels = tuple((np.arange(1, bins) / bins).tolist())
        return cls(quantiles(np.repeat(values, number), levels), exact=False)

    @property
    def size(self) -> int:
        """The number of bins."""
        return len(self.marks) + 2

    def codes(self, column: Floats) -> Codes:
        """The bin of each value."""
        places = np.searchsorted(self.marks, column)
        if self.exact and len(self.marks):
            nearest = np.minimum(places, len(self.marks) - 1)
            places = np.where(self.marks[nearest] == column, nearest, len(self.marks))
        return np.where(np.isfinite(column), places, len(self.marks) + 1)


@dataclass(frozen=True, slots=True)
class Relations:
    """The regressions of a baseline, and the surprise of its rows in them.

    Attributes:
        codings: the bins of each column.
        weights: bins × bins; the contribution of each bin of a row to the predicted share of each bin.
        shares: bins; the share of the rows in each bin.
        moments: columns × 3; mean, standard deviation and skewness of the surprise of rows that were not fitted on, and
            of one row with the largest surprise.
        rows: number of these rows.
    """

    codings: tuple[Coding, ...]
    weights: Floats
    shares: Floats
    moments: Floats
    rows: int

    @classmethod
    def of(cls, matrix: Floats, nominal: Sequence[bool]) -> Self:
        """Fit to a matrix, rows × columns, with at least two rows. `nominal`: which columns have codes of categories.

        The surprise of each fifth of the rows is that in regressions on the others, so that it is as large as the
        surprise of new rows. One row of the largest surprise is added to them (Laplace's rule of succession): it stands
        for values that are too rare for the baseline. A column that is constant there would otherwise have no variance,
        and a single new row any deviate.
        """
        bins = int(np.clip(TOTAL_BINS // max(len(nominal), 1) - 2, *_BINS))
        codings = tuple(
            Coding.of(column, bins, nominal=named) for column, named in zip(matrix.T, nominal, strict=True)
        )
        places, starts = _places(matrix, codings)
        fold = np.random.default_rng(0).permutation(len(matrix)) % _FOLDS
        width = int(starts[-1])
        hot = _hot(places, width)
        sums = [hot[fold == k].sum(axis=0) for k in range(_FOLDS)]
        squares = [hot[fold == k].T @ hot[fold == k] for k in range(_FOLDS)]
        every, total = np.sum(sums, axis=0), np.sum(squares, axis=0)
        surprise = np.empty(places.shape)
        for k in range(_FOLDS):
            others = int((fold != k).sum())
            weights = _regressions(every - sums[k], total - squares[k], others, starts)
            shares = (every - sums[k]) / others
            surprise[fold == k] = _surprise(hot[fold == k], places[fold == k], weights, shares, starts)
        surprise = np.vstack((surprise, np.full((1, len(codings)), -math.log(_LEAST_SHARE))))
        moments = np.column_stack((surprise.mean(axis=0), surprise.std(axis=0), _skewness(surprise)))
        weights = _regressions(every, total, len(matrix), starts)
        return cls(codings, weights, every / len(matrix), moments, len(matrix))

    def surprise(self, matrix: Floats) -> Floats:
        """The surprise of each value: rows × columns, in nats."""
        places, starts = _places(matrix, self.codings)
        return _surprise(_hot(places, int(starts[-1])), places, self.weights, self.shares, starts)

    def log_p(self, surprise: Floats) -> list[float]:
        """For each column, log p of the hypothesis that the mean surprise has not risen, one-sided."""
        n, m = len(surprise), self.rows
        error = math.sqrt(1 / n + 1 / m)
        lean = max(1 / n**2 - 1 / m**2, 0.0) / error**3  # skewness of a difference of two means
        found = []
        for mean, (usual, spread, skewness) in zip(surprise.mean(axis=0), self.moments, strict=True):
            z = (float(mean) - usual) / (spread * error)
            found.append(log_mean_tail(z, skewness * lean))
        return found


def _places(matrix: Floats, codings: Sequence[Coding]) -> tuple[Codes, Codes]:
    """The bin of each value among the bins of all columns, and where the bins of each column start and the last end."""
    starts = np.concatenate(([0], np.cumsum([coding.size for coding in codings]))).astype(np.intp)
    codes = [coding.codes(column) for coding, column in zip(codings, matrix.T, strict=True)]
    return np.column_stack(codes) + starts[:-1], starts


def _hot(places: Codes, width: int) -> Floats:
    hot = np.zeros((len(places), width))
    hot[np.arange(len(places))[:, None], places] = 1.0
    return hot


def _regressions(sums: Floats, squares: Floats, rows: int, starts: Codes) -> Floats:
    """The weights. The inverse of the correlation matrix of all bins contains each column's regression."""
    means = sums / rows
    covariance = squares / rows - np.outer(means, means)
    spread = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    spread[spread < 1e-9] = 1.0
    precision = np.linalg.inv(covariance / np.outer(spread, spread) + _RIDGE * np.eye(len(spread)))
    weights = np.zeros_like(precision)
    for start, end in zip(starts[:-1], starts[1:], strict=True):
        block = slice(int(start), int(end))
        weights[:, block] = -np.linalg.solve(precision[block, block], precision[block, :]).T
        weights[block, block] = 0.0
    weights *= spread / spread[:, None]
    return weights


def _surprise(hot: Floats, places: Codes, weights: Floats, shares: Floats, starts: Codes) -> Floats:
    predicted = np.maximum(hot @ weights + (shares - shares @ weights), _LEAST_SHARE)
    sums = np.add.reduceat(predicted, starts[:-1], axis=1)
    found: Floats = np.log(sums / np.take_along_axis(predicted, places, axis=1))
    return found


def _skewness(values: Floats) -> Floats:
    centered = values - values.mean(axis=0)
    spread = np.maximum(centered.std(axis=0), 1e-9)
    skewness: Floats = (centered**3).mean(axis=0) / spread**3
    return skewness
