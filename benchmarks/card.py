"""One line of a scorecard, and where the data is."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl

SHARED = Path(__file__).parent.parent.parent / "shared" / "data"


@dataclass(frozen=True, slots=True)
class Row:
    """A measured figure beside its bar. `bar` None: measured for information."""

    detector: str
    data: str
    case: str
    metric: str
    value: float
    trials: int
    bar: float | None = None
    sense: Literal[">=", "<="] = ">="

    @property
    def met(self) -> bool | None:
        """Whether the bar is met; None where there is none."""
        if self.bar is None:
            return None
        return self.value >= self.bar if self.sense == ">=" else self.value <= self.bar


def credit() -> pl.DataFrame:
    """UCI's 30,000 credit-card clients (CC BY 4.0): 32 features and the label, without the id.

    Raises:
        FileNotFoundError: the data is not beside the project.
    """
    path = SHARED / "credit_default_uci" / "UCI_Credit_Card.csv.gz"
    return pl.read_csv(gzip.decompress(path.read_bytes())).drop("ID")
