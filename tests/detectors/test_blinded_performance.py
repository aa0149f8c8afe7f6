"""performance: what the writer of labels or calls changes does not make it judge less."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import polars as pl
import pytest

from benchmarks.blinding import late_labels
from benchmarks.blinding.late_labels import DAYS, OF, VALUE, WEEK, Events, events
from tests.generators.drift import START
from tocsin.contract.findings import Finding
from tocsin.contract.windows import Baseline
from tocsin.testing import evaluate

MODEL, ID, TIME = "tocsin.model.name", "event.id", "@timestamp"
SCORE, ANSWER = "tocsin.output.score", "tocsin.output.label"
DAY = timedelta(days=1)
Form = Callable[[Events], Events]


@pytest.fixture(scope="module")
def baseline() -> Baseline:
    trusted = late_labels.trusted().frames
    fitted = evaluate("performance", {k: v.head(1) for k, v in trusted.items()}, baseline=trusted).baseline
    assert fitted is not None
    return fitted


def day(random: float = 0.9, seed: int = 3, number: int = 40, rows: int = 400) -> Events:
    return events(rows, seed, number, 1, random=random)


def findings(baseline: Baseline, told: Events) -> list[Finding]:
    return list(evaluate("performance", told.frames, baseline=baseline).findings)


def aspects(baseline: Baseline, told: Events) -> dict[str, str]:
    return {f.aspect: f.severity.value for f in findings(baseline, told)}


def labels(*changes: pl.Expr) -> Form:
    return lambda e: Events(e.calls, e.labels.with_columns(*changes))


def calls(*changes: pl.Expr) -> Form:
    return lambda e: Events(e.calls.with_columns(*changes), e.labels)


PLACE = pl.int_range(pl.len())
STILL_JUDGED: dict[str, Form] = {
    "a made-up model": labels(pl.lit("credit-b").alias(MODEL)),
    "a made-up model for each label": labels(pl.format("m{}", PLACE).alias(MODEL)),
    "another known model": labels(pl.lit("fraud").alias(MODEL)),
    "an empty model": labels(pl.lit("").alias(MODEL)),
    "calls of a made-up model": calls(pl.lit("credit-b").alias(MODEL)),
    "spaces around ids": labels((pl.lit(" ") + pl.col(OF) + " ").alias(OF)),
    "null scores": calls(pl.lit(None, pl.Float64).alias(SCORE)),
    "scores that are not a number": calls(pl.lit(float("nan")).alias(SCORE)),
    "infinite scores": calls(pl.lit(float("-inf")).alias(SCORE)),
    "the same label three times": lambda e: Events(e.calls, pl.concat([e.labels] * 3)),
}


@pytest.mark.parametrize("form", STILL_JUDGED.values(), ids=STILL_JUDGED)
def test_labels_in_another_form_are_judged(baseline: Baseline, form: Form) -> None:
    told = form(day())
    found = [f for f in findings(baseline, told) if not f.aspect]
    assert [(f.subject.id, f.severity.value) for f in found] == [("credit", "critical")]


def test_labels_too_few_each_day_are_judged_together(baseline: Baseline) -> None:
    told = day()
    at = pl.lit(START) + pl.duration(days=42 + PLACE // 40, hours=3)
    told = labels(at.alias(TIME))(told)
    found = [f for f in findings(baseline, told) if not f.aspect]
    assert found[0].window_start == START + 44 * DAY  # the third day, with 120 labels
    assert found[-1].evidence["labels"] == 140  # with the last hundred of the days before


@pytest.mark.parametrize("minutes", [30, 0])
@pytest.mark.parametrize("value", [pl.col(ANSWER), pl.lit("unknown"), pl.lit(" ")], ids=str)
def test_a_later_label_that_contradicts_is_reported(baseline: Baseline, value: pl.Expr, minutes: int) -> None:
    told = day()
    answers = told.calls.select(pl.col(ID).alias(OF), ANSWER)
    later = told.labels.join(answers, on=OF).with_columns(
        value.alias(VALUE),
        pl.col(TIME) + pl.duration(minutes=minutes),
        (pl.lit("later-") + pl.col(ID)).alias(ID),
    )
    second = Events(told.calls, pl.concat([told.labels, later.select(told.labels.columns)]))
    assert aspects(baseline, second)["revised labels"] in ("medium", "high")


def test_an_id_of_different_calls_is_reported(baseline: Baseline) -> None:
    told = day()
    decoys = told.calls.with_columns(pl.col(TIME) - pl.duration(minutes=9), (1 - pl.col(SCORE)).alias(SCORE))
    assert (
        aspects(baseline, Events(pl.concat([told.calls, decoys]), told.labels))["calls with one id"] == "high"
    )
    twice = Events(pl.concat([told.calls] * 2), told.labels)
    assert "calls with one id" not in aspects(baseline, twice)


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_calls_without_scores_and_answers_are_reported(baseline: Baseline, value: float | None) -> None:
    nothing = calls(pl.lit(value, pl.Float64).alias(SCORE), pl.lit(None, pl.String).alias(ANSWER))
    assert aspects(baseline, nothing(day()))["calls without scores"] == "high"


def test_labels_only_of_right_answers_are_reported(baseline: Baseline) -> None:
    told = day(rows=1200)
    right = told.labels.join(told.calls.select(pl.col(ID).alias(OF), ANSWER), on=OF)
    right = right.filter(pl.col(VALUE) == pl.col(ANSWER)).select(told.labels.columns)
    found = findings(baseline, Events(told.calls, right))
    assert [(f.aspect, f.severity.value) for f in found] == [("labels against scores", "medium")]
    assert found[0].reason.startswith("the labels of credit contradict its scores in a group: ")


def test_many_new_models_with_few_labels_each_are_reported(baseline: Baseline) -> None:
    names = pl.format("m{}", PLACE // 40).alias(MODEL)
    told = labels(names)(calls(names)(day()))
    (found,) = (f for f in findings(baseline, told) if f.aspect == "small models")
    assert found.reason == "not judged: 10 new models received 400 labels, fewer than 100 each"


@pytest.mark.parametrize("share", [0, 20, 5])
def test_missing_labels_are_reported(share: int) -> None:
    trusted, week = late_labels.trusted(), events(400 * WEEK, 5, DAYS, WEEK)
    kept = week.labels.filter(PLACE % share == 0) if share else week.labels.clear()
    told = evaluate("performance", Events(week.calls, kept).frames, baseline=trusted.frames).findings
    last = [f for f in told if f.window_start == START + (DAYS + WEEK - 1) * DAY]
    assert {f.subject.id for f in last if f.aspect == "missing labels"} >= {"credit"}


def test_a_late_batch_is_quiet() -> None:
    """All labels of two days arrive on the third."""
    trusted, week = late_labels.trusted(), late_labels.others() + events(300 * WEEK, 6, DAYS, WEEK)
    first, late = START + DAYS * DAY, START + (DAYS + 2) * DAY
    moved = pl.when(pl.col(TIME).is_between(first, late)).then(late).otherwise(pl.col(TIME)).alias(TIME)
    told = Events(week.calls, week.labels.with_columns(moved))
    assert evaluate("performance", told.frames, baseline=trusted.frames).findings == []


def test_quiet_weeks_are_quiet(baseline: Baseline) -> None:
    weeks = [events(400 * WEEK, 50 + k, 60 + WEEK * k, WEEK) for k in range(6)]
    told = weeks[0]
    for week in weeks[1:]:
        told = told + week
    assert len(findings(baseline, told)) <= 1
