"""The conformance checks of early declarations find detectors that do not keep them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from tests.pipeline.test_early import Growing
from tocsin.contract.early import Early
from tocsin.contract.findings import Score
from tocsin.contract.plugin import NoParams
from tocsin.contract.streams import ID, TIME
from tocsin.contract.windows import FrameSource, Window
from tocsin.testing.early_checks import grows, judges_changed
from tocsin.testing.reruns import CheckError

START = datetime(2026, 3, 2, tzinfo=UTC)
BY = Early(by="user.id", grows=True)


class Falls(Growing):
    """A score that falls when bea comes."""

    def score(self, window: Window) -> Iterator[Score]:
        scores = list(super().score(window))
        yield from (Score(s.subject, s.value / len(scores) ** 2, s.reason) for s in scores)


class Everything(Growing):
    """Judges values that did not change."""

    def score(self, window: Window) -> Iterator[Score]:
        yield from super().score(Window(window.start, window.end, window.source))


class Other(Growing):
    """Another score in an early evaluation."""

    def score(self, window: Window) -> Iterator[Score]:
        for score in super().score(window):
            yield Score(score.subject, score.value + (window.changed is not None), score.reason)


class Misses(Growing):
    """Judges nothing early."""

    def score(self, window: Window) -> Iterator[Score]:
        if window.changed is None:
            yield from super().score(window)


def window() -> Window:
    """20 accesses by ana, then 20 by bea."""
    rows = {
        TIME: [START + timedelta(seconds=i) for i in range(40)],
        ID: [f"{i}" for i in range(40)],
        "user.id": ["ana"] * 20 + ["bea"] * 20,
    }
    return Window(START, START + timedelta(hours=1), FrameSource.of({"access": pl.DataFrame(rows)}))


def test_a_detector_that_keeps_its_declaration() -> None:
    detector = Growing(NoParams())
    grows(detector, window())
    judges_changed(detector, BY, window())


def test_a_score_that_falls() -> None:
    with pytest.raises(
        CheckError, match=r"the score of ana is 1 times the threshold on the first 10 events and 0\.5"
    ):
        grows(Falls(NoParams()), window())


@pytest.mark.parametrize(
    ("detector", "message"),
    [
        (Everything, "no value of user.id is in Window.changed, but ana and bea was judged"),
        (Other, "the score of ana is 2.1 times the threshold if only 'ana' is judged, and 2.0 if all"),
        (Misses, "with all values in Window.changed, ana and bea is not judged"),
    ],
)
def test_a_detector_that_does_not_judge_the_changed_values(detector: type[Growing], message: str) -> None:
    with pytest.raises(CheckError, match=message):
        judges_changed(detector(NoParams()), BY, window())
