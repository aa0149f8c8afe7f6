"""A cheap look at all queries of many principals: which short blocks of them deserve an expensive comparison.

The signs of a query are linear in its values or compare it with the two queries before it, so that their cost is some
ten operations a value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tocsin.stats.dependence import Dependence
from tocsin.stats.geometry import Domain

Floats = NDArray[np.float32]
Places = NDArray[np.intp]

#: Queries in a block.
BLOCK = 50
#: A query walks if at most this many of its values differ from one of the two queries before it.
_EDIT, _LAGS = 2, (1, 2)


@dataclass(frozen=True)
class Signs:
    """What honest queries are like, for the signs: `mean` and `spread` of each feature, and `doubt`, a confidence."""

    domains: Sequence[Domain]
    dependence: Dependence
    mean: Floats
    spread: Floats
    doubt: float

    def of(self, columns: Floats, confidence: Floats, place: Places) -> Floats:
        """Three signs of each query, of shape (3, queries).

        The first counts: a value out of its feature's range, values that hardly ever occur together, and a confidence
        of at most `doubt`. The second is the mean squared deviation. The third is 1 for a query that walks.

        Args:
            columns: values of shape (features, queries), minus infinity for a missing one.
            confidence: of the model, NaN if unknown.
            place: the number of queries of the same principal before each query.
        """
        outside = np.zeros(columns.shape[1], dtype=np.bool_)
        far = np.zeros(columns.shape[1], dtype=np.float32)
        for column, domain, mean, spread in zip(columns, self.domains, self.mean, self.spread, strict=True):
            outside |= (column < domain.low) | (column > domain.high)
            if domain.whole:
                outside |= np.rint(column) != column
            far += np.square(np.clip((column - mean) / spread, -1e3, 1e3))
        rare = np.nan_to_num(self.dependence.rare(columns.T))
        return np.stack(
            [outside + rare + (confidence <= self.doubt), far / len(columns), _walking(columns, place)]
        )


def _walking(columns: Floats, place: Places) -> Floats:
    found = np.zeros(columns.shape[1], dtype=np.float32)
    least = min(_EDIT, len(columns) // 2)
    for lag in _LAGS:
        changed = np.zeros(max(columns.shape[1] - lag, 0), dtype=np.uint16)
        for column in columns:
            changed += column[lag:] != column[:-lag]
        found[lag:] = np.maximum(found[lag:], (changed <= least) & (place[lag:] >= lag))
    return found


def chosen(signs: Floats, starts: Places, stops: Places) -> list[Places]:
    """For each principal, the first places of the blocks to compare: the newest, and the one highest in each sign.

    Blocks are counted from the newest query back. Of equal blocks, the newer one is taken.

    Args:
        signs: shape (signs, queries).
        starts: the place of each principal's first query.
        stops: the place after each principal's last query.
    """
    total = np.concatenate([np.zeros((len(signs), 1)), np.cumsum(signs, axis=1, dtype=np.float64)], axis=1)
    found = []
    for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
        first = np.arange(stop - BLOCK, start - 1, -BLOCK)
        sums = total[:, first + BLOCK] - total[:, first]
        found.append(
            np.unique(np.concatenate([first[:1], first[sums.argmax(axis=1)]])) if len(first) else first
        )
    return found
