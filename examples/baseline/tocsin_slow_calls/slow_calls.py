"""A model answers more slowly than in its baseline."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from tocsin import Baseline, Detector, Family, Requires, Score, Stability, Subject, Window, param

_STREAM, _MODEL, _DURATION = "inference", "tocsin.model.name", "event.duration"
_MILLISECOND = 1_000_000  # event.duration is in nanoseconds
_LEAST_SPREAD = 0.01  # a model whose hours are all alike still varies by this much


@dataclass(frozen=True, slots=True)
class Params:
    """Settings. They are set in tocsin.yaml under `detectors: {slow_calls: {params: …}}`."""

    min_calls: int = param(50, ge=1, doc="an hour of a model with fewer calls is not used")
    min_hours: int = param(12, ge=2, doc="a model with fewer usable hours in the baseline is not learned")


class SlowCalls(Detector[Params]):
    """A model answers more slowly than in its baseline.

    What it sees
        The median of `event.duration` of each model, hour by hour.
    Method
        `fit` stores two numbers for each model: the median of its hourly medians, and their spread (median
        absolute deviation), both of the logarithm, so that "twice as slow" means the same for a fast model and
        for a slow one. The score is the distance from the usual median in units of the spread. The threshold
        is calibrated on the part of the baseline that `fit` did not read.
    Blind spots
        Calls without a duration; a few slow calls among many fast ones; a model that gets slower over weeks;
        a model that gets faster.
    False alarms
        A deployment on slower hardware; a batch job with larger requests.
    Respond
        Compare the hour with the deployments, then list the principals with the most calls: expensive queries
        in large numbers are an attack on availability and on cost.
    """

    id = "slow_calls"
    requires = Requires(_STREAM, window="1h", baseline="14d")
    atlas = ("AML.T0029",)  # Denial of AI Service
    family = Family.USAGE
    stability = Stability.EXPERIMENTAL
    floor = 3.0

    def fit(self, window: Window) -> Baseline | None:
        hours = [self._medians(hour) for hour in window.tumble(self.requires.window)]
        found = pl.concat(hours)
        usual = pl.col("log_median").median().alias("usual")
        spread = (pl.col("log_median") - pl.col("log_median").median()).abs().median().alias("spread")
        models = found.group_by(_MODEL).agg(usual, spread, pl.len().alias("hours"))
        models = models.filter(pl.col("hours") >= self.params.min_hours).sort(_MODEL)
        return None if models.is_empty() else Baseline(frames={"models": models})

    def score(self, window: Window) -> Iterator[Score]:
        assert window.baseline is not None  # a detector that requires a baseline is never called without one
        models = self._medians(window).join(window.baseline.frames["models"], on=_MODEL).sort(_MODEL)
        for row in models.iter_rows(named=True):
            now, usual = (10 ** row[name] / _MILLISECOND for name in ("log_median", "usual"))
            distance = (row["log_median"] - row["usual"]) / max(row["spread"], _LEAST_SPREAD)
            yield Score(
                Subject("model", row[_MODEL]),
                max(0.0, distance),
                reason=f"{row[_MODEL]} took {now:.0f} ms for the median call in {window.words}; "
                f"{usual:.0f} ms is usual",
                evidence={"calls": row["calls"], "median_ms": round(now, 3), "usual_ms": round(usual, 3)},
            )

    def _medians(self, window: Window) -> pl.DataFrame:
        """The logarithm of each model's median duration, for models with enough calls."""
        rows = window.rows(_STREAM, [_MODEL, _DURATION]).drop_nulls()
        median = pl.col(_DURATION).clip(1).cast(pl.Float64).median().log10().alias("log_median")
        models = rows.group_by(_MODEL).agg(median, pl.len().alias("calls"))
        return models.filter(pl.col("calls") >= self.params.min_calls)
