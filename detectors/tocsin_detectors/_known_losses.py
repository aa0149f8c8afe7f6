"""How wrong each answer of a model is, by its label or by its score: what a finding of `performance` is explained by."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import polars as pl

from tocsin.contract.streams import TIME
from tocsin.contract.windows import Window
from tocsin.datasets.labels import canonical_labels
from tocsin.stats.performance import log_loss
from tocsin_detectors._callers import VALUE
from tocsin_detectors._kept import KeptFrames
from tocsin_detectors._known_performance import Known
from tocsin_detectors._labeled_calls import ANSWER, SCORE, Binary, labeled
from tocsin_detectors._shift_causes import CALLS, EARLIER_ROWS, Shift, spans
from tocsin_detectors._shift_values import calls_of


@dataclass(frozen=True, slots=True)
class Losses:
    """The losses of a model's answers, compared with those of its baseline."""

    known: Known
    model: str
    history: timedelta
    limit: int

    def realized(self, window: Window) -> Shift:
        """The log loss of each call whose label arrived in a window, in the order of the labels."""
        now = labeled(window, [window], self.model, self.history, self.limit, CALLS)
        past = labeled(window, spans(window), self.model, self.history, EARLIER_ROWS, CALLS)
        rows = pl.concat([past, now])
        calls = Binary.of(rows, self.known.positive).scored
        loss = log_loss(self.known.calibration.of_scores(calls.scores), calls.positive)
        rows = rows.select(TIME, *CALLS, pl.Series(VALUE, loss))

        def read(one: Window, _: int) -> pl.DataFrame:
            return rows.filter(pl.col(TIME) >= one.start, pl.col(TIME) < one.end)

        return Shift(
            "losses", self.model, self.known.before[0].value, read, lambda losses: losses, KeptFrames()
        )

    def estimated(self) -> Shift:
        """The probability that each answer is wrong, by its calibrated score."""

        def read(one: Window, most: int) -> pl.DataFrame:
            return calls_of(one, self.model, (SCORE, ANSWER), most)

        def values(rows: pl.DataFrame) -> pl.DataFrame:
            rows = rows.with_columns(canonical_labels(rows[ANSWER])).filter(pl.col(SCORE).is_finite())
            calls = Binary.of(rows, self.known.positive).scored
            p = self.known.calibration.of_scores(calls.scores)
            wrong = np.where(calls.answered, 1 - p, p)
            return rows.select(TIME, *CALLS, pl.Series(VALUE, wrong))

        return Shift("estimates", self.model, 1 - self.known.before[3].value, read, values, KeptFrames())
