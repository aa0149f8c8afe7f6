"""Whether a change of a mean is the work of a few groups of rows, or is alike in all groups."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from tocsin.stats.log_tails import log_chi_squared_tail

_UNEVEN = math.log(1e-3)  # log p of equal changes, below which groups differ
_REST, _MOST = (
    0.15,
    0.35,
)  # of the change in the groups that stand out: what the other groups have, and may have
_ALIKE = 0.5  # the spread of the groups' changes, and the change without the foremost groups, in units of the whole
_FOREMOST = 0.4  # share of the rows in the foremost groups


class Group(NamedTuple):
    """The mean of some rows now and as usual, each with its standard error."""

    name: str
    rows: int
    mean: float
    error: float
    usual: float
    usual_error: float = 0.0

    @property
    def change(self) -> float:
        """By how much the mean has risen."""
        return self.mean - self.usual

    @property
    def uncertainty(self) -> float:
        """The standard error of the change; positive."""
        return max(math.hypot(self.error, self.usual_error), 1e-9)


class Attribution(NamedTuple):
    """`few`: the groups without which nothing rose; empty if there are none. `alike`: all groups rose alike."""

    few: tuple[Group, ...] = ()
    alike: bool = False


def attribute(groups: Sequence[Group]) -> Attribution:
    """Find the fewest groups that explain a rise, at most a quarter of them, if the groups differ (Cochran's Q 1954).

    The other groups must have risen by no more than twice their standard error, or by little compared with these
    groups. The groups are alike if their true changes scatter little (DerSimonian & Laird 1986), and if the rows outside
    the foremost groups rose too. Linear in the groups, but for sorting.
    """
    if len(groups) < 3:
        return Attribution()
    ordered = sorted(groups, key=lambda g: (-g.rows * g.change, g.name))
    whole, _ = _pooled(ordered)
    weights = [g.uncertainty**-2 for g in ordered]
    mean = sum(w * g.change for w, g in zip(weights, ordered, strict=True)) / sum(weights)
    q = sum(w * (g.change - mean) ** 2 for w, g in zip(weights, ordered, strict=True))
    if log_chi_squared_tail(q, len(groups) - 1) < _UNEVEN:
        for number in range(1, max(len(groups) // 4, 1) + 1):
            inside, _ = _pooled(ordered[:number])
            rest, error = _pooled(ordered[number:])
            if rest - 2 * error <= _REST * inside and rest + error <= _MOST * inside:
                return Attribution(tuple(ordered[:number]))
    scale = sum(weights) - sum(w * w for w in weights) / sum(weights)
    spread = math.sqrt(max(q - len(groups) + 1, 0.0) / scale)
    rest, error = _pooled(_without_foremost(ordered))
    return Attribution(alike=whole > 0 and spread <= _ALIKE * whole and rest > max(_ALIKE * whole, 3 * error))


def _pooled(groups: Sequence[Group]) -> tuple[float, float]:
    """The change over the rows of some groups, and its standard error."""
    rows = sum(g.rows for g in groups)
    if not rows:
        return 0.0, 0.0
    change = sum(g.rows * g.change for g in groups) / rows
    return change, math.sqrt(sum((g.rows * g.uncertainty) ** 2 for g in groups)) / rows


def _without_foremost(ordered: Sequence[Group]) -> Sequence[Group]:
    limit, taken = _FOREMOST * sum(g.rows for g in ordered), 0
    for place, group in enumerate(ordered):
        taken += group.rows
        if taken > limit:
            return ordered[max(place, 1) :]
    return ()
