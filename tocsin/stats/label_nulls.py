"""What the tests of a batch against trusted rows give for quiet batches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from tocsin.stats.itemsets import ItemScan
from tocsin.stats.residuals import FlipNull
from tocsin.stats.subgroups import GroupNull

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]

_SCANNED = 20_000  # maximum number of trusted rows in which combinations are counted
_BATCHES, _BATCH = 30, 500  # quiet batches that calibrate the deviate of combinations
_UNLIKELY = 5.2  # minimum of this z: one in ten million, because many thousands are compared


class Nulls(NamedTuple):
    """Null distributions of the tests on trusted rows: plain numbers that are stored with the rows."""

    flips: FlipNull
    groups: GroupNull
    #: Of each kind of combination: z of the oddest in a quiet batch, and a z that quiet batches hardly reach.
    usual: tuple[tuple[float, float], ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        flips = self.flips
        return {
            "bias": flips.bias.tolist(),
            "inflation": flips.inflation.tolist(),
            "between": flips.between.tolist(),
            "rows": flips.rows,
            "priors": flips.priors.tolist(),
            "correlation": flips.correlation.tolist(),
            "groups": self.groups.to_dict(),
            "usual": [list(pair) for pair in self.usual],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read the result of `to_dict`."""
        arrays = ("bias", "inflation", "between", "priors", "correlation")
        flips = FlipNull(**{key: np.asarray(values[key]) for key in arrays}, rows=values["rows"])
        groups = GroupNull.from_dict(values["groups"])
        return cls(flips, groups, tuple((mean, least) for mean, least in values["usual"]))


def scanned(rows: Floats, codes: Codes) -> tuple[Floats, Codes]:
    """The trusted rows in which combinations are counted, in random order."""
    order = np.random.default_rng(0).permutation(len(rows))[:_SCANNED]
    return rows[order], codes[order]


def usual_combinations(rows: Floats, codes: Codes) -> tuple[tuple[float, float], ...]:
    """For each kind of combination: mean z of the most unusual in quiet batches, and mean + 5 standard deviations.

    The largest of many deviates has a Gumbel tail: it exceeds five standard deviations once in a thousand, and
    ten once in a million.
    """
    rows, codes = scanned(rows, codes)
    cut = len(rows) // 4
    scan = ItemScan(rows[cut:], codes[cut:])
    random = np.random.default_rng(0)
    size = min(_BATCH, max(cut // 2, 1))
    found = []
    for _ in range(_BATCHES):
        batch = random.choice(cut, size, replace=False)
        found.append([s.z if s else 0.0 for s in scan.scan(rows[batch], codes[batch])])
    z = np.asarray(found)
    mean, least = z.mean(axis=0), np.maximum(z.mean(axis=0) + 5 * z.std(axis=0), _UNLIKELY)
    return tuple(zip(mean.tolist(), least.tolist(), strict=True))
