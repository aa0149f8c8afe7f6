"""How far the newest queries of many principals differ from honest queries: `Honest.judge` for all of them at once.

The runs of one size are compared together, because a comparison of each principal's few queries alone costs more than
the queries do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tocsin.stats.extraction import Honest
from tocsin.stats.geometry import CONTEXT, Placed, compared

Floats = NDArray[np.float64]
Places = NDArray[np.intp]
#: About so many pairs of queries are compared in one call.
_PAIRS = 4_000_000


class Many(NamedTuple):
    """The queries of many principals: those of each are in the order of time, from `starts` to before `stops`.

    `confidence`: of the model in its answers, NaN if unknown. `owners`: the name of each principal.
    """

    placed: Placed
    confidence: Floats
    owners: Sequence[str]
    starts: Places
    stops: Places


def highest(honest: Honest, queries: Many, limit: int) -> Floats:
    """The highest z of each principal; 0 if its queries are too few.

    As in `Honest.judge`, the two largest sizes that fit are compared, and of three or more runs the second highest z
    counts. Runs have exactly their size, and are counted from the newest query back; at most `limit` of each size.

    Returns:
        Shape (principals,).
    """
    found, counts = np.zeros(len(queries.owners)), queries.stops - queries.starts
    sizes = sorted(honest.norms)
    fitting = np.searchsorted(sizes, counts, "right")  # number of sizes that fit
    for place, size in enumerate(sizes):
        chosen = np.flatnonzero((fitting > place) & (fitting <= place + 2))
        for some in _parts(chosen[np.argsort(counts[chosen], kind="stable")], counts, size, limit):
            found[some] = np.maximum(found[some], _of_size(honest, queries, some, size, limit))
    return found


def z_of_runs(
    honest: Honest, runs: Placed, values: Floats, confidence: Floats, owners: Sequence[str]
) -> tuple[Floats, Floats]:
    """The z of each statistic of each run, and which queries equal an earlier one.

    Args:
        honest: the norms; those of the runs' size are used.
        runs: arrays of shape (runs, queries, …).
        values: the values of the queries and of those before them, of which the queries are the last; NaN for no query.
        confidence: of the model in its answers, of shape (runs, queries); NaN if unknown.
        owners: the name of the principal of each run.

    Returns:
        Shapes (statistics, runs) and (runs, queries).
    """
    noted = compared(runs, values)
    unknown = np.isnan(confidence) | (noted["edit"] > 0)
    noted["boundary"] = np.where(unknown, np.nan, confidence <= honest.doubt)
    norms = honest.norms[confidence.shape[1]]
    return np.stack([norm.z_of_runs(noted[name], owners) for name, norm in norms.items()]), noted["same"]


def _parts(chosen: Places, counts: Places, size: int, limit: int) -> Iterator[Places]:
    """Principals whose runs are compared in one call. Each has at least one run."""
    runs = np.cumsum(np.minimum(counts[chosen] // size, limit))
    part = runs * (size + CONTEXT) ** 2 // _PAIRS
    for cut in np.split(chosen, np.flatnonzero(np.diff(part)) + 1):
        if len(cut):
            yield cut


def _of_size(honest: Honest, queries: Many, some: Places, size: int, limit: int) -> Floats:
    """The z of these principals, in runs of one size."""
    starts, stops = queries.starts[some], queries.stops[some]
    number = np.minimum((stops - starts) // size, limit)
    owner = np.repeat(np.arange(len(some)), number)
    back = np.arange(len(owner)) - np.repeat(np.cumsum(number) - number, number)
    end = stops[owner] - back * size
    before = int(min(CONTEXT, (end - size - starts[owner]).max()))
    rows = end[:, None] + np.arange(-size - before, 0)
    values = queries.placed.values[np.maximum(rows, 0)]
    values[rows < starts[owner][:, None]] = np.nan  # queries of another principal
    inside = rows[:, before:]
    names = [queries.owners[i] for i in some[owner].tolist()]
    z, _ = z_of_runs(honest, queries.placed.part(inside), values, queries.confidence[inside], names)
    own = [np.sort(z[:, owner == place], axis=1) for place in range(len(some))]
    return np.array([part[:, -2 if part.shape[1] > 2 else -1].max() for part in own])
