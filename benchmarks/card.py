"""One line of a scorecard, and where the data is."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

SHARED = Path(__file__).parent.parent.parent / "shared" / "data"


@dataclass(frozen=True, slots=True)
class Row:
    """A measured figure beside its bar. `bar` None: measured for information.

    `scores` are those of the trials, in thresholds, where the figure is the share of them that is `least` or more.
    `quiet`: the trials have no attack. `low` and `high` are the ends of the interval that contains the true figure with
    95 % confidence; None if it is not known.
    """

    detector: str
    data: str
    case: str
    metric: str
    value: float
    trials: int
    bar: float | None = None
    sense: Literal[">=", "<="] = ">="
    scores: tuple[float, ...] = ()
    least: float = 1.0
    quiet: bool = False
    low: float | None = None
    high: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the bar is met; None where there is none."""
        if self.bar is None:
            return None
        return self.value >= self.bar if self.sense == ">=" else self.value <= self.bar


Scores = Sequence[float] | NDArray[np.float64]


def shared(
    of: tuple[str, str, str],
    metric: str,
    scores: Scores,
    bar: float | None = None,
    *,
    least: float = 1.0,
    quiet: bool = False,
) -> Row:
    """The share of trials that score `least` or more. `of`: detector, data, case. The bar of quiet trials is a maximum."""
    found = tuple(float(score) for score in scores)
    value = float(np.mean(np.asarray(found) >= least)) if found else 0.0
    sense: Literal[">=", "<="] = "<=" if quiet else ">="
    return Row(*of, metric, value, len(found), bar, sense, found, least, quiet)


def of_windows(scores: pl.DataFrame) -> list[float]:
    """The highest score of each window in thresholds, oldest first: of the frame that `evaluate` returns."""
    ratio = (pl.col("score") / pl.col("threshold")).max()
    return scores.group_by("window.start").agg(ratio).sort("window.start")["score"].to_list()


def credit() -> pl.DataFrame:
    """UCI's 30,000 credit-card clients (CC BY 4.0): 32 features and the label, without the id.

    Raises:
        FileNotFoundError: the data is not beside the project.
    """
    path = SHARED / "credit_default_uci" / "UCI_Credit_Card.csv.gz"
    return pl.read_csv(gzip.decompress(path.read_bytes())).drop("ID")
