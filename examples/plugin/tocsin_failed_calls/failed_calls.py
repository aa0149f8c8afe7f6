"""More calls of a model failed than the threshold allows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from tocsin import Detector, Requires, Score, Stability, Subject, Window, param


@dataclass(frozen=True, slots=True)
class Params:
    """Settings. They are set in tocsin.yaml under `detectors: {failed_calls: {params: …}}`."""

    min_calls: int = param(50, ge=1, doc="a model with fewer calls in the window gets no score")


class FailedCalls(Detector[Params]):
    """More calls of a model failed than the threshold allows.

    What it sees
        The share of a model's calls whose `event.outcome` is `failure`, window by window.
    Method
        A fixed threshold on that share: a rule. For a detector that learns what is normal, start from
        `tocsin plugins new detector NAME --baseline`.
    Blind spots
        Calls that the model server never logged.
    False alarms
        A deployment that was rolled back at once.
    Respond
        Read `error.code` of the failed calls, then check what was deployed in that window.
    """

    id = "failed_calls"
    requires = Requires("inference", window="1h")
    stability = Stability.EXPERIMENTAL
    threshold = 0.2

    def score(self, window: Window) -> Iterator[Score]:
        rows = window.rows("inference", ["tocsin.model.name", "event.outcome"])
        failed = (pl.col("event.outcome") == "failure").sum().alias("failed")
        models = rows.group_by("tocsin.model.name").agg(pl.len().alias("calls"), failed)
        for model, calls, failures in models.sort("tocsin.model.name").iter_rows():
            if model is not None and calls >= self.params.min_calls:
                share = failures / calls
                yield Score(
                    Subject("model", model),
                    share,
                    reason=f"{share:.0%} of {calls} calls failed in {window.words}",
                    evidence={"calls": calls, "failed": failures},
                )
