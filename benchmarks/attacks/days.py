"""Days of principals never seen before, each with its case: honest ones of several kinds, and those of an attack."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.attacks.clients import customer, load_test, power_user, retried
from benchmarks.attacks.extraction import Behavior, Rng, Rows, Target, calls, real, spread
from benchmarks.card import Row, shared

Ratios = NDArray[np.float64]

#: Kinds of honest days: how a principal behaves, its calls, and how many such days a seed has.
_HONEST: dict[str, tuple[Callable[[Target, Rng], Behavior], int, int]] = {
    "customers": (customer, 100, 60),
    "partners": (lambda _t, _r: real, 1000, 20),
    "power users": (power_user, 50, 20),
    "retries": (lambda t, r: retried(customer(t, r), 0.5), 200, 20),
    "load tests": (lambda _t, _r: load_test, 1000, 5),
}
_NEW = "new "


class Days:
    """Days of new principals, each a case of its own name, all on the day `number` after the start."""

    def __init__(self, target: Target, rng: Rng, number: int) -> None:
        self._target, self._rng, self._number = target, rng, number
        self._cases: dict[str, list[str]] = {}
        self.frames: list[pl.DataFrame] = []
        for kind, (behave, count, days) in _HONEST.items():
            for _ in range(days):
                self.add(f"{_NEW}{kind}, {count} calls", behave(target, rng)(target, rng, count))

    def add(self, case: str, rows: Rows) -> None:
        """One more day of a case."""
        who = f"{case} {len(self.frames)}"
        self._cases.setdefault(case, []).append(who)
        self.frames.append(calls(self._target, who, rows, spread(self._rng, self._number, len(rows))))

    def by_case(self, ratios: Mapping[str, float]) -> dict[str, Ratios]:
        """The scores in thresholds of each case, from those of each principal."""
        return {
            case: np.array([ratios.get(who, 0.0) for who in names]) for case, names in self._cases.items()
        }


def card(
    detector: Callable[[str], str],
    tables: Sequence[str],
    seeds: Sequence[int],
    ratios: Callable[[str, int], dict[str, Ratios]],
) -> list[Row]:
    """The rows of a scorecard. Tables other than the first one are measured with seed 0 alone.

    Args:
        detector: what is measured, by case.
        tables: names of tables.
        seeds: seeds of the first table.
        ratios: the scores in thresholds of each case, of a table and a seed.
    """
    found = []
    for name in tables:
        of_table = seeds if name == tables[0] else [seed for seed in seeds if seed == 0]
        trials = [ratios(name, seed) for seed in of_table]
        for case in dict.fromkeys(case for trial in trials for case in trial):
            values, of = np.concatenate([trial[case] for trial in trials]), (detector(case), name, case)
            if case.startswith(_NEW):
                found.append(shared(of, "FPR", values, 0.02, quiet=True))
            else:
                found.append(shared(of, "TPR", values))
    return found
