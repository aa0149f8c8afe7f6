"""The performance of a model in its baseline, and the tests that it has fallen."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from tocsin.contract.findings import Json
from tocsin.stats.log_tails import log_mean_tail
from tocsin.stats.performance import (
    Calibration,
    Estimate,
    auc,
    expected_accuracy,
    log_loss,
    out_of_fold,
)
from tocsin_detectors._labeled_calls import Binary, Bools, Floats

_CHUNKS = 20
_LEAST_OF_A_CLASS = 10  # with fewer rows of a class, an AUC says nothing
#: Groups of calls by calibrated probability; how far labels of a group may be from it, and by how many standard errors.
_GROUPS, _LEAST_OF_A_GROUP = (0.1, 0.5, 0.9), 20
_APART, _CLEAR = 0.1, math.log(1e-5)
SCHEMA = {
    "model": pl.String(),
    "positive": pl.String(),
    "at": pl.List(pl.Float64()),
    "p": pl.List(pl.Float64()),
    "figures": pl.List(pl.Float64()),
    "errors": pl.List(pl.Float64()),
    "inflation": pl.List(pl.Float64()),
    "skewness": pl.Float64(),
    "rows": pl.Int64(),
    "strays": pl.Float64(),
    "revised": pl.Float64(),
    "unscored": pl.Float64(),
}


class Test(NamedTuple):
    """A figure now and before, each with its standard error, and log p that it is no worse than before."""

    name: str
    now: Estimate
    before: Estimate
    log_p: float

    @property
    def words(self) -> str:
        """The change, in words."""
        error = 2 * self.now.error
        return f"{self.name} {self.now.value:.3f} ± {error:.3f}, before {self.before.value:.3f}"

    @property
    def facts(self) -> Json:
        """The change as JSON."""
        return {
            "now": self.now.value,
            "error": self.now.error,
            "before": self.before.value,
            "p": math.exp(self.log_p),
        }


class _Fit(NamedTuple):
    log_p: float
    words: str


def _fit(seen: Bools, p: Floats, what: str) -> _Fit:
    """How far a share is from the mean of the probabilities, if both are clearly apart."""
    rows, number = len(p), int(seen.sum())
    if rows < _LEAST_OF_A_GROUP:
        return _Fit(0.0, "")
    share, expected = number / rows, float(p.mean())
    if abs(share - expected) <= _APART and share >= expected / 2:
        return _Fit(0.0, "")
    from scipy.stats import binom  # slow to import, and needed for few windows

    tail = (
        binom.logcdf(number, rows, expected) if share < expected else binom.logsf(number - 1, rows, expected)
    )
    return _Fit(float(tail), f"{share:.0%} of {rows:,} labels {what}, by their scores {expected:.0%}")


#: The figures that are tested: those of labels, then those that need none. 1: larger is better; -1: smaller is better.
REALIZED = {"log loss": -1, "error rate": -1, "AUC": 1}
ESTIMATED = {"estimated accuracy": 1, "estimated AUC": 1}
_NAMES = (*REALIZED, *ESTIMATED)


@dataclass(frozen=True)
class Known:
    """A model in a baseline.

    `before`: its figures in the order of `REALIZED` and `ESTIMATED`. `inflation`: of each figure, how much more chunks of
    the baseline scatter than independent calls would. `strays`: the share of its labels that are of no call.
    """

    positive: str
    calibration: Calibration
    before: tuple[Estimate, ...]
    inflation: tuple[float, ...]
    skewness: float
    rows: int
    strays: float
    revised: float = 0.0
    unscored: float = 0.0

    @classmethod
    def of(cls, calls: Binary, positive: str, strays: float, revised: float, unscored: float) -> Known:
        """Learn from labeled calls of both classes, in the order of arrival."""
        calibration = Calibration.of(calls.scores, calls.positive)
        p = out_of_fold(calls.scores, calls.positive)
        loss = log_loss(p, calls.positive)
        centered = (loss - loss.mean()) / max(float(loss.std()), 1e-9)
        rows = len(p)
        wrong = float((calls.answered != calls.positive).mean())
        before = (
            Estimate(float(loss.mean()), float(loss.std()) / math.sqrt(rows)),
            Estimate(wrong, math.sqrt(max(wrong * (1 - wrong), 0.5 / rows) / rows)),
            auc(calls.scores, calls.positive),
            expected_accuracy(p, calls.answered, rows),
            auc(calls.scores, p),
        )
        skewness, plain = float((centered**3).mean()), (1.0,) * len(before)
        known = cls(positive, calibration, before, plain, skewness, rows, strays, revised, unscored)
        scatter: dict[str, list[float]] = {name: [] for name in _NAMES}
        for part in np.array_split(np.arange(rows), _CHUNKS):
            chunk = Binary(calls.scores[part], calls.answered[part], calls.positive[part])
            for name, _, _, z in (*known._realized(chunk), *known._estimated(chunk)):
                scatter[name].append(z)
        spread = [float(np.std(z)) if len(z) > 1 else 1.0 for z in scatter.values()]
        return replace(known, inflation=tuple(max(1.0, value) for value in spread))

    def row(self, model: str) -> dict[str, object]:
        """One row of `SCHEMA`."""
        return {
            "model": model,
            "positive": self.positive,
            "at": self.calibration.at,
            "p": self.calibration.p,
            "figures": [figure.value for figure in self.before],
            "errors": [figure.error for figure in self.before],
            "inflation": list(self.inflation),
            "skewness": self.skewness,
            "rows": self.rows,
            "strays": self.strays,
            "revised": self.revised,
            "unscored": self.unscored,
        }

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> Known:
        """Read one row of `SCHEMA`."""
        before = tuple(Estimate(v, e) for v, e in zip(row["figures"], row["errors"], strict=True))
        calibration = Calibration(np.asarray(row["at"]), np.asarray(row["p"]))
        inflation = tuple(row["inflation"])
        odd = [
            row.get(name) or 0.0 for name in ("strays", "revised", "unscored")
        ]  # earlier versions lack some
        return cls(row["positive"], calibration, before, inflation, row["skewness"], row["rows"], *odd)

    def realized(self, labeled: Binary) -> Iterator[Test]:
        """Tests of labeled calls, at least one."""
        yield from map(self._test, self._realized(labeled))

    def estimated(self, calls: Binary) -> Iterator[Test]:
        """Tests of calls without labels, at least one."""
        yield from map(self._test, self._estimated(calls))

    def contradicted(self, labeled: Binary) -> str | None:
        """The group of calls whose labels contradict its scores the most; None if all groups fit.

        Calls that are added dilute the figures of all calls, and labels that are left out flatter them, but neither can
        do so in each group. Tested are the shares of positive labels (exact binomial tails) and, of all calls, whether far
        fewer answers are wrong than their scores say.
        """
        scored = labeled.scored
        p = self.calibration.of_scores(scored.scores)
        wrong = np.where(scored.answered, 1 - p, p)
        place = np.digitize(p, _GROUPS)
        found = [
            _fit(scored.positive[place == group], p[place == group], f"are {self.positive!r}")
            for group in range(len(_GROUPS) + 1)
        ]
        every = _fit(scored.answered != scored.positive, wrong, "contradict the answer")
        worst = min([*found, every], default=None, key=lambda fit: fit.log_p)
        return worst.words if worst and worst.log_p < _CLEAR else None

    def _test(self, figure: tuple[str, Estimate, Estimate, float]) -> Test:
        name, now, before, z = figure
        skewness = self.skewness if name == "log loss" else 0.0
        place = _NAMES.index(name)
        lean = skewness * now.error / max(math.hypot(now.error, before.error), 1e-12)
        rows = max((before.error / max(now.error, 1e-12)) ** 2 * self.rows, 1.0)
        return Test(name, now, before, log_mean_tail(z / self.inflation[place], lean / math.sqrt(rows)))

    def _realized(self, labeled: Binary) -> Iterator[tuple[str, Estimate, Estimate, float]]:
        # the error under the null hypothesis, that of the baseline: a window without a wrong answer has none of its own
        per_row = [figure.error * math.sqrt(self.rows) for figure in self.before[:2]]
        scored = labeled.scored
        rows = len(scored.scores)
        if rows:
            loss = log_loss(self.calibration.of_scores(scored.scores), scored.positive)
            yield self._compared("log loss", Estimate(float(loss.mean()), per_row[0] / math.sqrt(rows)))
        wrong = float((labeled.answered != labeled.positive).mean())
        error = per_row[1] / math.sqrt(len(labeled.answered))
        yield self._compared("error rate", Estimate(wrong, error))
        ones = int(scored.positive.sum())
        if min(ones, rows - ones) >= _LEAST_OF_A_CLASS:
            yield self._compared("AUC", auc(scored.scores, scored.positive))

    def _estimated(self, calls: Binary) -> Iterator[tuple[str, Estimate, Estimate, float]]:
        p = self.calibration.of_scores(calls.scores)
        yield self._compared("estimated accuracy", expected_accuracy(p, calls.answered, self.rows))
        if min(p.sum(), (1 - p).sum()) >= _LEAST_OF_A_CLASS:
            yield self._compared("estimated AUC", auc(calls.scores, p))

    def _compared(self, name: str, now: Estimate) -> tuple[str, Estimate, Estimate, float]:
        """With the number of standard errors by which the figure is worse than before."""
        before = self.before[_NAMES.index(name)]
        better = REALIZED.get(name) or ESTIMATED[name]
        z = better * (before.value - now.value) / max(math.hypot(before.error, now.error), 1e-12)
        return name, now, before, z
