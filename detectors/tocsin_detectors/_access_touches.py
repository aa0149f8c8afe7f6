"""How surprising each resource of a window is for the principal that touched it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from tocsin.contract.findings import Json
from tocsin.stats.surprise import Floats, Ints, counted, surprise
from tocsin_detectors._access_habits import first_touch_rates
from tocsin_detectors._access_log import Log

#: Upper bound for the nats of one access, so that a single new pair is not a finding.
MOST = 5.0


@dataclass(frozen=True, slots=True)
class Touch:
    """A resource that a principal touched, its first action, and its nats."""

    resource: str
    action: str | None
    nats: float
    fresh: bool

    def to_json(self) -> dict[str, Json]:
        """The touch as evidence."""
        return {
            "resource": self.resource,
            "action": self.action,
            "nats": round(self.nats, 3),
            "new": self.fresh,
        }


@dataclass(frozen=True, eq=False)
class Touched:
    """Each pair of principal and resource of a window, by principal, the most surprising first."""

    log: Log
    principal: Ints
    resource: Ints
    action: Ints
    nats: Floats
    fresh: npt.NDArray[np.bool_]  # the principal never touched the resource before

    @classmethod
    def of(cls, past: Log, today: Log, learned: Mapping[str, Any], now: float, half_life: float) -> Touched:
        """The pairs of a window; `past` and `today` have the same codes."""
        known, size = past.touches(), len(past.names["resource"])
        pairs, first = np.unique(today.codes["principal"] * size + today.codes["resource"], return_index=True)
        actions, who, what = today.codes["action"][first], pairs // size, pairs % size
        news = first_touch_rates(today, learned, actions)
        nats = surprise(known, who, what, news, now, half_life)
        nats = MOST * (1 - np.exp(-nats / MOST))
        order = np.lexsort((-nats, who))
        fresh = ~np.isin(pairs, known.pair)
        return cls(today, who[order], what[order], actions[order], nats[order], fresh[order])

    def rows(self, code: int) -> slice:
        """The rows of a principal."""
        return slice(*np.searchsorted(self.principal, [code, code + 1]).tolist())

    def top(self, code: int, number: int) -> list[Touch]:
        """The most surprising touches of a principal."""
        begin, end = self.rows(code).start, self.rows(code).stop
        resources, actions = (self.log.names[field].values for field in ("resource", "action"))
        return [
            Touch(
                resources[self.resource[at]],
                actions[self.action[at]] if self.action[at] >= 0 else None,
                float(self.nats[at]),
                bool(self.fresh[at]),
            )
            for at in range(begin, min(begin + number, end))
        ]

    def by_resource(self, code: int) -> dict[int, float]:
        """The nats of each resource of a principal."""
        rows = self.rows(code)
        return dict(zip(self.resource[rows].tolist(), self.nats[rows].tolist(), strict=True))

    def totals(self) -> Floats:
        """The nats of each principal."""
        return counted(self.principal, len(self.log.pools), self.nats)

    def frame(self) -> pl.DataFrame:
        """Principal, resource and fresh."""
        names = {
            field: pl.Series(field, self.log.names[field].values, dtype=pl.String)
            for field in ("principal", "resource")
        }
        return pl.DataFrame(
            {
                "principal": names["principal"].gather(self.principal),
                "resource": names["resource"].gather(self.resource),
                "fresh": self.fresh,
            }
        )
