"""Why the calls of a model changed: callers, deployments, the calendar, and changes that last."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.generators.drift import START, calls
from tests.generators.performance import answers, labels
from tocsin.contract.evaluation import Judgement, fit, judge
from tocsin.contract.plugin import Detector
from tocsin.contract.windows import Baseline, FrameSource, Window
from tocsin_detectors import feature_drift, performance, prediction_drift
from tocsin_detectors._shift_causes import spans

DAY, TODAY = timedelta(days=1), 120
FEATURES = feature_drift.FeatureDrift(feature_drift.Params())
ANSWERS = prediction_drift.PredictionDrift(prediction_drift.Params())
PERFORMANCE = performance.Performance(performance.Params())
CALLERS = 8
Change = Callable[[int], Mapping[str, Any]]  # by the number of days before today


def sent(frame: pl.DataFrame, only: int | None = None) -> pl.DataFrame:
    """The calls of eight callers, each with an address, or of one of them only."""
    who = np.arange(len(frame)) % CALLERS if only is None else np.full(len(frame), only)
    return frame.with_columns(
        pl.Series("user.id", [f"client-{w}" for w in who]),
        pl.Series("source.ip", [f"10.0.0.{w}" for w in who]),
    )


def day(back: int, rows: int = 320, **change: Any) -> pl.DataFrame:
    return sent(calls(rows, seed=1000 + back, day=TODAY - back, **change))


def by_one(back: int, change: str = "units") -> pl.DataFrame:
    """A day on which a further 60 calls of client-3 are changed."""
    odd = calls(60, seed=5000 + back, day=TODAY - back, change=change)
    return pl.concat([day(back), sent(odd, only=3)])


@functools.cache
def baseline(detector: Detector[Any]) -> Baseline:
    trusted = FrameSource.of({"inference": calls(2000, seed=20, days=28)})
    return fit(detector, Window(START, START + 28 * DAY, trusted), 0.01)


def today(
    of: Callable[[int], pl.DataFrame],
    pipeline: pl.DataFrame | None = None,
    detector: Detector[Any] = FEATURES,
) -> Judgement:
    """The judgement on today, with the days before that a verdict reads. `of` gives the calls of a day."""
    start = START + TODAY * DAY
    window = Window(start, start + DAY, FrameSource({}))
    backs = [round((start - span.start) / DAY) for span in spans(window)]
    frames = {"inference": pl.concat([of(back) for back in (*backs, 0)], how="diagonal")}
    if pipeline is not None:
        frames["pipeline"] = pipeline
    judged = judge(detector, Window(start, start + DAY, FrameSource.of(frames), baseline(detector)))
    return next(one for one in judged if not one.score.aspect)


class Counted:
    """A source that counts how often rows before today are read."""

    def __init__(self, frames: Mapping[str, pl.DataFrame]) -> None:
        self.of, self.reads = FrameSource.of(frames), 0

    def scan(self, stream: str, start: datetime, end: datetime, *more: Any, **where: Any) -> pl.LazyFrame:
        self.reads += end <= START + TODAY * DAY and stream == "inference"
        return self.of.scan(stream, start, end, *more, **where)

    def summarize(self, *arguments: Any, **where: Any) -> pl.DataFrame:
        return self.of.summarize(*arguments, **where)

    def snapshot(self, digest: str) -> pl.LazyFrame:
        return self.of.snapshot(digest)


@pytest.mark.parametrize("of", [feature_drift.FeatureDrift, prediction_drift.PredictionDrift])
def test_early_evaluations_of_a_window_read_earlier_windows_once(of: type[Detector[Any]]) -> None:
    """The final evaluation reads them again, so that late events count."""
    change = "units" if of is feature_drift.FeatureDrift else "stuck"
    frame = pl.concat([*(day(back) for back in range(1, 9)), day(0, change=change)])
    source, start, detector = Counted({"inference": frame}), START + TODAY * DAY, of(of.params_type()())
    fitted = baseline(FEATURES if of is feature_drift.FeatureDrift else ANSWERS)
    final = Window(start, start + DAY, source, fitted)
    early = replace(final, changed=frozenset({"credit"}))
    reads, said = [], []
    for window in (early, early, early, final, final):
        before = source.reads
        said += [j.score for j in judge(detector, window) if not j.score.aspect]
        reads.append(source.reads - before)
    assert said == [said[0]] * 5
    assert "verdict" in said[0].evidence
    assert reads[0] > 5
    assert reads == [reads[0], 0, 0, reads[0], reads[0]]


def deployed(back: float, who: str = "svc-ci", model: str | None = "credit") -> pl.DataFrame:
    """Deployments every three weeks by svc-ci, and one some days before the end of today."""
    times = [(TODAY - 60 + 21 * k, "svc-ci", f"{k}") for k in range(3)] + [(TODAY + 1 - back, who, "2")]
    return pl.DataFrame(
        [
            {
                "@timestamp": START + timedelta(days=at),
                "event.id": f"deploy-{at}",
                "event.action": "deploy",
                "event.outcome": "success",
                "user.id": user,
                "tocsin.pipeline.name": "serving",
                "tocsin.model.name": model,
                "tocsin.model.version": version if model else None,
            }
            for at, user, version in times
        ]
    )


def verdict(judgement: Judgement) -> tuple[str, str]:
    assert judgement.finding is not None
    evidence = judgement.finding.evidence
    return str(evidence["verdict"]), str(evidence["verdict_for"])


def test_a_change_in_the_calls_of_one_caller_is_likely_an_attack() -> None:
    found = today(lambda back: by_one(back) if back == 0 else day(back))
    said, why = verdict(found)
    assert said == "attack"
    assert "it concentrates in client-3, of 8 callers" in why
    assert found.score.reason.startswith("credit: likely attack: receives other inputs")


@pytest.mark.parametrize("model", ["credit", None])
def test_a_deployment_does_not_excuse_one_caller(model: str | None) -> None:
    odd = today(lambda back: by_one(back) if back == 0 else day(back), deployed(1.02, model=model))
    assert verdict(odd)[0] == "attack"


def test_accounts_that_were_not_there_before_are_likely_an_attack() -> None:
    def of(back: int) -> pl.DataFrame:
        made_up = pl.Series("user.id", [f"x{k}" for k in range(60)])
        odd = calls(60, seed=1, day=TODAY, change="units").with_columns(made_up)
        return day(back) if back else pl.concat([day(0), odd], how="diagonal")

    said, why = verdict(today(of))
    assert (said, "(new callers)" in why) == ("attack", True)


def test_a_change_of_all_callers_after_a_deployment_is_likely_a_change_of_the_pipeline() -> None:
    found = today(lambda back: day(back, change="units" if back == 0 else "none"), deployed(1.02))
    said, why = verdict(found)
    assert said == "pipeline change"
    assert "version 2 of credit was deployed" in why


def test_a_deployment_by_a_stranger_is_likely_an_attack() -> None:
    found = today(lambda back: day(back, change="units" if back == 0 else "none"), deployed(1.02, "mallory"))
    said, why = verdict(found)
    assert (said, "mallory, who did no earlier work on pipelines" in why) == ("attack", True)


def test_a_version_without_a_deployment_is_likely_an_attack() -> None:
    def of(back: int) -> pl.DataFrame:
        return day(back, change="stuck", version="9") if back == 0 else day(back)

    found = today(of, deployed(20), ANSWERS)
    said, why = verdict(found)
    assert (said, "version 9 of credit answers, and no deployment of it is recorded" in why) == (
        "attack",
        True,
    )


@pytest.mark.parametrize("cycle", [7, 30])
def test_a_change_at_the_same_place_of_week_or_month_is_likely_the_calendar(cycle: int) -> None:
    start = START + TODAY * DAY

    def of(back: int) -> pl.DataFrame:
        on = back % 7 == 0 if cycle == 7 else (start - back * DAY).day == start.day
        return day(back, change="indebted" if on else "none")

    assert verdict(today(of))[0] == "calendar"


def test_one_caller_does_not_make_a_calendar() -> None:
    assert verdict(today(lambda back: by_one(back) if back % 7 == 0 else day(back)))[0] == "attack"


def test_two_callers_who_cannot_be_compared_do_not_make_a_calendar() -> None:
    def of(back: int) -> pl.DataFrame:
        rows = day(back, change="indebted" if back % 7 == 0 else "none")
        names = pl.Series([f"192.0.2.{i % 2}" for i in range(len(rows))])
        return rows.with_columns(names.alias("user.id"), names.alias("source.ip"))

    said = today(of)
    assert verdict(said)[0] == "unexplained"
    assert "the same 4 times before, at this place of the week" in str(said.score.evidence["verdict_against"])


def test_a_sudden_change_of_all_callers_is_unexplained() -> None:
    said = today(lambda back: day(back, change="units" if back == 0 else "none"))
    assert verdict(said)[0] == "unexplained"
    assert "sudden: none of it in 8 windows before" in str(said.score.evidence["verdict_for"])


def test_a_change_that_grows_is_likely_drift() -> None:
    found = today(lambda back: day(back, change="indebted", share=0.8 * max(1 - back / 60, 0)))
    assert verdict(found)[0] == "drift"


@pytest.mark.parametrize("detector", [FEATURES, ANSWERS])
def test_a_change_that_lasts_becomes_quiet_and_an_attack_inside_it_does_not(detector: Detector[Any]) -> None:
    def of(back: int) -> pl.DataFrame:
        return day(back, change="indebted" if back <= 15 else "none")

    lasting = today(of, detector=detector)
    assert lasting.finding is None
    assert "against the calls since" in lasting.score.reason
    assert float(str(lasting.score.evidence["baseline.score"])) > lasting.threshold
    odd = day(0, change="stuck" if detector is ANSWERS else "units")
    inside = today(lambda back: of(back) if back else odd, detector=detector)
    assert inside.finding is not None


@pytest.mark.parametrize("lasted", [6, 12])
def test_a_change_of_less_than_two_weeks_is_found(lasted: int) -> None:
    assert today(lambda back: day(back, change="indebted" if back <= lasted else "none")).finding is not None


def test_the_first_windows_of_a_change_say_that_it_lasts() -> None:
    found = today(lambda back: day(back, change="indebted" if back <= 3 else "none"))
    assert found.finding is not None
    assert ", for 4 windows, like rows in another order or group: receives" in found.finding.reason


def test_a_change_of_one_caller_never_becomes_quiet() -> None:
    found = today(lambda back: by_one(back) if back <= 40 else day(back))
    assert verdict(found)[0] == "attack"


def test_a_slow_walk_since_a_change_is_found() -> None:
    """Each window is near the one before it, and far from the first ones."""

    def of(back: int) -> pl.DataFrame:
        frame = day(back, change="indebted" if back <= 35 else "none")
        debt = 1 + 0.02 * max(35 - back, 0)
        moved = pl.col("tocsin.features.values").list
        return frame.with_columns(
            pl.concat_list(moved.slice(0, 1), pl.concat_list(moved.get(1) * debt), moved.slice(2)).alias(
                "tocsin.features.values"
            )
        )

    assert today(of).finding is not None


def test_losses_in_the_calls_of_one_caller_are_likely_an_attack() -> None:
    known = {"inference": answers(4000, 20, days=28), "label": labels(4000, 20, days=28)}
    trusted = fit(PERFORMANCE, Window(START, START + 28 * DAY, FrameSource.of(known)), 0.01)
    start = START + TODAY * DAY
    backs = [0, *range(1, 9)]
    good = [sent(answers(400, 50 + b, TODAY - b)) for b in backs]
    odd = sent(answers(80, 99, TODAY), only=2)
    truth = [labels(400, 50 + b, TODAY - b) for b in backs]
    wrong = labels(80, 99, TODAY).with_columns(
        pl.col("tocsin.label.value").replace_strict({"0": "1", "1": "0"})
    )
    frames = {"inference": pl.concat([*good, odd]), "label": pl.concat([*truth, wrong])}
    [found] = judge(PERFORMANCE, Window(start, start + DAY, FrameSource.of(frames), trusted))
    said, why = verdict(found)
    assert (said, "client-2" in why) == ("attack", True)
    assert found.score.reason.startswith("credit: likely attack: performs worse")


@pytest.mark.parametrize(("season", "weekdays"), [("6,7", {6, 7}), ("1,2,3,4,5", {1, 2, 3, 4, 5})])
def test_only_windows_of_the_same_season_are_read(season: str, weekdays: set[int]) -> None:
    start = datetime(2026, 3, 28, tzinfo=UTC)  # a Saturday
    window = Window(start, start + DAY, FrameSource({}))
    starts = [span.start for span in spans(window, season)]
    assert {one.isoweekday() for one in starts} == weekdays
    assert len(starts) >= 8
    assert starts == sorted(set(starts))
