"""The tests of a model's features, and what a finding says of them."""

from __future__ import annotations

import math
from typing import NamedTuple

from tocsin.contract.findings import Json
from tocsin.stats.drift import Sample, facts
from tocsin.words import count, short
from tocsin_detectors._vectors import is_nominal, plain

SIGNIFICANT = 0.01
_EXPLAINED = 10  # significant tests by which the cause is found


class Test(NamedTuple):
    """One of the tests of a feature: the logarithm of its p-value. `kind` is values, counts or relation."""

    log_p: float
    feature: str
    kind: str


class Tested(NamedTuple):
    """The samples of a window's features, and log p of each test, adjusted, with the test; the smallest first."""

    samples: dict[str, Sample]
    ranked: list[tuple[float, Test]]

    @property
    def significant(self) -> list[tuple[str, str]]:
        """The feature and the kind of the significant tests, the first ones; at least one."""
        found = [(test.feature, test.kind) for log_p, test in self.ranked if log_p <= math.log(SIGNIFICANT)]
        return found[:_EXPLAINED]


def describe(
    name: str, now: Sample | None, before: Sample, ranked: list[tuple[float, Test]]
) -> dict[str, Json]:
    log_p, test = next(pair for pair in ranked if pair[1].feature == name)
    found: dict[str, Json] = {"feature": plain(name), "test": test.kind, "p": math.exp(log_p)}
    return found if now is None else {**found, **facts(before, now, nominal=is_nominal(name))}


def reason_of(model: str, worst: Test, moved: int, features: int) -> str:
    if not moved:
        return f"{short(model)} receives inputs as before: 0 of {count(features, 'feature')} changed"
    what = {
        "values": "is shifted",
        "counts": "has its values in other shares",
        "relation": "no longer fits the other features",
    }[worst.kind]
    others = f"; {moved} of {count(features, 'feature')} changed" if moved > 1 else ""
    return f"{short(model)} receives other inputs than before: {short(plain(worst.feature))} {what}{others}"
