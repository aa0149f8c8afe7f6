"""A plug-in as an ML team writes it. Nothing runs here: `mypy --strict` accepts what is right, and must refuse what is
marked (`make check`; an ignore that is no longer needed is an error).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import assert_type

import polars as pl

from tocsin import Baseline, Detector, Requires, Score, Stability, Subject, Window, param
from tocsin.testing import Evaluation, evaluate


@dataclass(frozen=True, slots=True)
class Params:
    """Settings with their bounds."""

    least: int = param(50, ge=1, doc="calls below which a model is not judged")
    share: float = param(0.2, ge=0, le=1, doc="share of failures that is too many")


class Failures(Detector[Params]):
    """Right."""

    id = "failures"
    requires = Requires("inference", window="1h", baseline="7d")
    stability = Stability.EXPERIMENTAL
    atlas = ("AML.T0029",)

    def fit(self, window: Window) -> Baseline:
        return Baseline(values={"calls": window.rows("inference").height})

    def score(self, window: Window) -> Iterator[Score]:
        assert_type(self.params, Params)
        assert_type(self.params.least, int)
        assert_type(window.length, timedelta)
        assert_type(window.rows("inference"), pl.DataFrame)
        assert_type(window.scan("inference"), pl.LazyFrame)
        yield Score(Subject("model", "credit"), 1.0, reason="", evidence={"calls": 3, "rows": [1, "a", None]})


class Wrong(Detector[Params]):
    """Each mistake is found before anything runs."""

    id = 7  # type: ignore[assignment]
    requires = "inference"  # type: ignore[assignment]

    def score(self, window: Window) -> Iterator[Score]:
        assert self.params.lest  # type: ignore[attr-defined]
        window.rows(3)  # type: ignore[arg-type]
        window.start = window.end  # type: ignore[misc]
        yield Score("credit", 1.0)  # type: ignore[arg-type, call-arg]
        yield Score(Subject("model", "credit"), "high", reason="")  # type: ignore[arg-type]
        yield 1.0  # type: ignore[misc]


class Returns(Detector[Params]):
    """It must give scores, not one number."""

    def score(self, window: Window) -> float:  # type: ignore[override]
        return 1.0


def in_a_notebook(frame: pl.DataFrame) -> None:
    assert_type(evaluate("failures", {"inference": frame}, {"least": 10}), Evaluation)
    evaluate(Failures, {"inference": frame}, {"least": 10})
    evaluate(Failures(Params()), {"inference": frame})
    evaluate("failures", frame)  # type: ignore[arg-type]
    evaluate(Params, {"inference": frame})  # type: ignore[arg-type]
    evaluate(7, {"inference": frame})  # type: ignore[arg-type]
