"""Weekly seasons: a weekend that differs has a baseline of its own, and other weeks have none."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from tests.generators import drift
from tocsin.contract.windows import Baseline
from tocsin.testing.evaluate import evaluate
from tocsin_detectors._outputs import numbers_of
from tocsin_detectors._seasons import WHOLE, feature_values, parts

DAY = timedelta(days=1)
DETECTORS = ("feature_drift", "prediction_drift")
COLUMN = {"feature_drift": "features", "prediction_drift": "numbers"}


def day(number: int, change: str = "none", share: float = 1.0, rows: int = 400) -> pl.DataFrame:
    """Calls of a day after a Monday. At the weekend, half of the applicants are others: indebted ones."""
    if number % 7 >= 5:
        quiet = drift.calls(rows // 2, seed=number, day=number)
        others = drift.calls(rows // 2, seed=number + 1000, day=number, change="indebted")
        calls = pl.concat([quiet, others])
        return calls if change == "none" else drift.calls(rows, number, number, change=change, share=share)
    return drift.calls(rows, seed=number, day=number, change=change, share=share)


def month(first: int = 0, days: int = 28) -> pl.DataFrame:
    return pl.concat([day(number) for number in range(first, first + days)])


@pytest.fixture(scope="module", params=DETECTORS)
def known(request: pytest.FixtureRequest) -> tuple[str, Baseline]:
    found = evaluate(request.param, {"inference": day(28)}, {}, {"inference": month()})
    assert found.baseline is not None
    return request.param, found.baseline


def ratio(known: tuple[str, Baseline], events: pl.DataFrame) -> float:
    detector, baseline = known
    scores = evaluate(detector, {"inference": events}, {}, baseline).scores
    return float(scores.select(pl.col("score") / pl.col("threshold")).to_series().max())  # type: ignore[arg-type]


def test_a_weekend_that_differs_has_a_season(known: tuple[str, Baseline]) -> None:
    detector, baseline = known
    seasons = baseline.frames[COLUMN[detector]]["season"].unique().sort().to_list()
    assert seasons == ["1,2,3,4,5", "6,7"]


@pytest.mark.parametrize("number", range(28, 35))
def test_quiet_days_of_a_week_are_quiet(known: tuple[str, Baseline], number: int) -> None:
    assert ratio(known, day(number)) < 1


def test_the_calls_of_a_weekend_on_a_weekday_are_drift(known: tuple[str, Baseline]) -> None:
    assert ratio(known, day(30, "indebted", 0.5, rows=1000)) > 1.5


def test_the_calls_of_a_weekday_on_a_weekend_are_drift(known: tuple[str, Baseline]) -> None:
    usual = drift.calls(1000, seed=5, day=33)
    assert ratio(known, usual) > 1.5


@pytest.mark.parametrize("detector", DETECTORS)
def test_weeks_without_a_season_have_one_baseline(detector: str) -> None:
    history = pl.concat([drift.calls(400, seed=number, day=number) for number in range(28)])
    found = evaluate(detector, {"inference": drift.calls(400, seed=99, day=30)}, {}, {"inference": history})
    assert found.baseline is not None
    assert found.baseline.frames[COLUMN[detector]]["season"].unique().to_list() == [WHOLE]


@pytest.mark.parametrize("seed", range(10))
def test_days_that_differ_at_random_or_follow_a_trend_are_no_season(seed: int) -> None:
    rng = np.random.default_rng(seed)
    levels = rng.normal(0, 0.5, 28) + np.linspace(0, 2, 28) * (seed % 2)
    values = np.concatenate([level + rng.normal(size=200) for level in levels])
    times = [drift.START + (k // 200) * DAY for k in range(len(values))]
    calls = pl.DataFrame({"@timestamp": times})
    assert [season for season, _ in parts(calls, values[:, None], DAY, 100)] == [WHOLE]


def test_a_few_days_and_long_windows_have_no_season() -> None:
    for calls, length in ((month(days=10), DAY), (month(), 7 * DAY)):
        assert [season for season, _ in parts(calls, numbers_of(calls), length, 100)] == [WHOLE]


def test_an_older_baseline_has_no_seasons(known: tuple[str, Baseline]) -> None:
    detector, baseline = known
    frames = {
        name: frame.filter(pl.col("season").str.starts_with("1")).drop("season")
        if "season" in frame.columns
        else frame
        for name, frame in baseline.frames.items()
    }
    old = Baseline(frames, baseline.values, baseline.threshold, baseline.scores)
    assert ratio((detector, old), day(30)) < 1


def test_calls_of_other_shapes_are_compared_by_the_commonest() -> None:
    odd = pl.Series("tocsin.features.values", [[1.0], [], None], dtype=pl.List(pl.Float64))
    calls = pl.concat([day(0, rows=5), day(0, rows=3).with_columns(odd)])
    found = feature_values(calls)
    assert found.shape == (8, 6)
    assert np.isnan(found).all(axis=1).tolist() == [False] * 5 + [True] * 3
