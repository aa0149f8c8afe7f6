"""Attempts to blind `performance`: a model that answers at random, and labels that do not tell."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import polars as pl

from benchmarks.blinding.attempts import (
    BESIDE,
    CONFIDENCE,
    ID,
    LABEL,
    MODEL,
    NAMES,
    SCORE,
    TIME,
    USER,
    VALUES,
    inference,
    principals,
)
from tests.generators import performance

OF, VALUE = "tocsin.label.of", "tocsin.label.value"
#: The trusted days, and the week of the attack; calls and labels a day of the trusted time, of the attack, and beside it.
DAYS, WEEK = 28, 7
USUAL, ATTACK, OTHERS = 400, 300, 100
FLOOD = 5_000


class Events(NamedTuple):
    """Calls (stream `inference`) and their labels (stream `label`)."""

    calls: pl.DataFrame
    labels: pl.DataFrame

    @property
    def frames(self) -> dict[str, pl.DataFrame]:
        """The events by stream."""
        return {"inference": self.calls, "label": self.labels}

    def __add__(self, other: Events) -> Events:  # type: ignore[override]
        return Events(pl.concat([self.calls, other.calls]), pl.concat([self.labels, other.labels]))


Change = Callable[[Events], Events]


class LabelAttempt(NamedTuple):
    """One attempt: its name, and what the calls and labels of the attack become."""

    name: str
    change: Change


def events(
    rows: int, seed: int, day: int, days: int, random: float = 0.0, model: str = "credit", user: str = "a"
) -> Events:
    """Calls over some days with their labels, of which a share is drawn without regard to the call."""
    calls = performance.answers(rows, seed, day, days, model=model)
    score = calls[SCORE].to_numpy()
    noise = np.random.default_rng(seed).normal(size=(rows, 7))
    calls = calls.with_columns(
        pl.lit(user).alias(USER),
        pl.lit(",".join(f"f{k}" for k in range(8))).alias(NAMES),
        pl.Series(VALUES, np.column_stack([score, noise]).tolist()),
        pl.Series(CONFIDENCE, np.maximum(score, 1 - score)),
    )
    return Events(calls, performance.labels(rows, seed, day, days, random=random, model=model))


def trusted() -> Events:
    """Four weeks of two models."""
    return events(USUAL * DAYS, 20, 0, DAYS) + events(USUAL * DAYS, 21, 0, DAYS, model="fraud")


def others() -> Events:
    """Calls of the week of the attack that have nothing to do with it."""
    return events(OTHERS * WEEK, 22, DAYS, WEEK) + events(USUAL * WEEK, 23, DAYS, WEEK, model="fraud")


def attack() -> Events:
    """A week's calls of one user whose labels say that the answers are wrong."""
    return events(ATTACK * WEEK, 24, DAYS, WEEK, random=0.9, user="thief")


def attempts() -> Iterator[LabelAttempt]:
    """The attempts on labels and their calls, and those on calls alone that all detectors of calls have."""
    for kind, table in (("labels", _LABELS), ("times", _TIMES), ("calls", _CALLS), ("beside it", _BESIDE)):
        for name, change in table.items():
            yield LabelAttempt(f"{kind}: {name}", change)
    for attempt in (*inference(others().calls[VALUES]), *principals()):
        yield LabelAttempt(f"inference: {attempt.name}", _of_calls(attempt.change))


def _of_calls(change: Callable[[pl.DataFrame], pl.DataFrame]) -> Change:
    return lambda e: Events(change(e.calls), e.labels)


def _labels(*changes: pl.Expr) -> Change:
    return lambda e: Events(e.calls, e.labels.with_columns(*changes))


def _calls(*changes: pl.Expr) -> Change:
    return lambda e: Events(e.calls.with_columns(*changes), e.labels)


def _both(*changes: pl.Expr) -> Change:
    return lambda e: Events(e.calls.with_columns(*changes), e.labels.with_columns(*changes))


def _kept(keep: Callable[[pl.DataFrame], pl.Expr]) -> Change:
    """Some of the labels arrive; `keep` chooses among the labels with the model's answers (`LABEL`)."""

    def change(e: Events) -> Events:
        told = e.labels.join(
            e.calls.select(pl.col(ID).alias(OF), LABEL), on=OF, how="left", maintain_order="left"
        )
        return Events(e.calls, told.filter(keep(told)).select(e.labels.columns))

    return change


_AGREES = pl.col(VALUE) == pl.col(LABEL)
_PLACE = pl.int_range(pl.len())


def _again(value: pl.Expr, minutes: int) -> Change:
    """A second label of each call; `value` may use the model's answer (`LABEL`)."""

    def change(e: Events) -> Events:
        told = e.labels.join(
            e.calls.select(pl.col(ID).alias(OF), LABEL), on=OF, how="left", maintain_order="left"
        )
        told = told.with_columns(
            value.alias(VALUE),
            pl.col(TIME) + pl.duration(minutes=minutes),
            (pl.lit("second-") + pl.col(ID)).alias(ID),
        )
        return Events(e.calls, pl.concat([e.labels, told.select(e.labels.columns)]))

    return change


def _of_others(e: Events) -> Events:
    """The labels claim to be of calls that others label, too."""
    named = others().calls.filter(pl.col(MODEL) == "credit")[ID]
    return Events(
        e.calls, e.labels.with_columns(pl.Series(OF, [named[i % len(named)] for i in range(len(e.labels))]))
    )


def _many(values: str) -> pl.Expr:
    return pl.format(values, _PLACE)


_LABELS: dict[str, Change] = {
    "other spellings": _labels(pl.col(VALUE).replace({"1": " True", "0": "0.0"})),
    "decimals": _labels(pl.col(VALUE) + ".00"),
    "full-width digits": _labels(pl.col(VALUE).replace({"1": "\uff11", "0": "\uff10"})),
    "a zero-width space": _labels(pl.col(VALUE) + "\u200b"),
    "other words": _labels(pl.col(VALUE).replace({"1": "yes", "0": "no"})),
    "other words for the positive class": _labels(pl.col(VALUE).replace({"1": "bad"})),
    "thousands of classes": _labels(_many("l{}").alias(VALUE)),
    "one class": _labels(pl.lit("0").alias(VALUE)),
    "a space": _labels(pl.lit(" ").alias(VALUE)),
    "not a number": _labels(pl.lit("nan").alias(VALUE)),
    "the model's name in another spelling": _labels(pl.lit(" CREDIT\u200b").alias(MODEL)),
    "a made-up model": _labels(pl.lit("credit-b").alias(MODEL)),
    "many made-up models": _labels(pl.format("m{}", _PLACE // 40).alias(MODEL)),
    "another model": _labels(pl.lit("fraud").alias(MODEL)),
    "no model's name": _labels(pl.lit("").alias(MODEL)),
    "ids with a space": _labels(pl.col(OF) + " "),
    "ids of no call": _labels(_many("x{}").alias(OF)),
    "one id for all": _labels(pl.col(OF).first()),
    "of calls that others label": _of_others,
    "ids that repeat": _labels(pl.lit("same").alias(ID)),
    "in another order": lambda e: Events(e.calls, e.labels.reverse()),
    "three times": lambda e: Events(e.calls, pl.concat([e.labels] * 3)),
    "a later one, as answered": _again(pl.col(LABEL), 30),
    "an earlier one, as answered": _again(pl.col(LABEL), -30),
    "a second one at the same time, as answered": _again(pl.col(LABEL), 0),
    "a later one of a made-up class": _again(pl.lit("unknown"), 30),
    "a later one, empty": _again(pl.lit(" "), 30),
    "none": _kept(lambda _: pl.lit(value=False)),
    "only every second": _kept(lambda _: _PLACE % 2 == 0),
    "only every twentieth": _kept(lambda _: _PLACE % 20 == 0),
    "only those as answered": _kept(lambda _: _AGREES),
    "every second one that contradicts": _kept(lambda _: _AGREES | (_PLACE % 2 == 0)),
}
_TIMES: dict[str, Change] = {
    "a month later": _labels(pl.col(TIME) + pl.duration(days=30)),
    "a hundred days later": _labels(pl.col(TIME) + pl.duration(days=100)),
    "in ten years": _labels(pl.col(TIME) + pl.duration(days=3650)),
    "1970": _labels(pl.col(TIME) - pl.duration(days=365 * 56)),
    "before the calls": _labels(pl.col(TIME) - pl.duration(days=10)),
    "a day before the calls": _labels(pl.col(TIME) - pl.duration(days=1)),
    "all labels at one moment": _labels(pl.col(TIME).max()),
    "forty labels a day": _labels(pl.col(TIME).min() + pl.duration(days=_PLACE // 40)),
    "all calls at one moment": _calls(pl.col(TIME).min()),
}
_CALLS: dict[str, Change] = {
    "without scores": _calls(pl.lit(None, pl.Float64).alias(SCORE)),
    "scores that are not a number": _calls(pl.lit(float("nan")).alias(SCORE)),
    "every second without a score": _calls(pl.when(_PLACE % 2 == 0).then(pl.col(SCORE)).alias(SCORE)),
    "infinite scores": _calls(pl.lit(float("inf")).alias(SCORE)),
    "scores of one half": _calls(pl.lit(0.5).alias(SCORE)),
    "scores in percent": _calls(pl.col(SCORE) * 100),
    "scores of the other class": _calls((1 - pl.col(SCORE)).alias(SCORE)),
    "without answers": _calls(pl.lit(None, pl.String).alias(LABEL)),
    "without scores and answers": _calls(
        pl.lit(None, pl.String).alias(LABEL), pl.lit(None, pl.Float64).alias(SCORE)
    ),
    "answers in other words": _calls(pl.col(LABEL).replace({"1": "bad", "0": "good"})),
    "thousands of answers": _calls(_many("l{}").alias(LABEL)),
    "the model's name in another spelling": _calls(pl.lit("Credit ").alias(MODEL)),
    "a made-up model": _calls(pl.lit("credit-b").alias(MODEL)),
    "another model": _calls(pl.lit("fraud").alias(MODEL)),
    "a made-up model, labels too": _both(pl.lit("credit-b").alias(MODEL)),
    "many made-up models, labels too": _both(pl.format("m{}", _PLACE // 40).alias(MODEL)),
    "other ids": _calls((pl.lit("x") + pl.col(ID)).alias(ID)),
    "one id for all": _calls(pl.lit("same").alias(ID)),
    "before them, others with their ids": lambda e: _decoys(e, -10),
    "after them, others with their ids": lambda e: _decoys(e, 10),
    "three times": lambda e: Events(pl.concat([e.calls] * 3), e.labels),
}


def _decoys(e: Events, minutes: int) -> Events:
    """Calls with the same ids and with answers as the labels say."""
    told = e.calls.join(
        e.labels.select(pl.col(OF).alias(ID), VALUE), on=ID, how="left", maintain_order="left"
    )
    decoys = told.with_columns(
        pl.col(TIME) + pl.duration(minutes=minutes),
        pl.when(pl.col(VALUE) == "1").then(0.95).otherwise(0.05).alias(SCORE),
        pl.col(VALUE).alias(LABEL),
    )
    return Events(pl.concat([e.calls, decoys.select(e.calls.columns)]), e.labels)


def _beside(e: Events, more: Events) -> Events:
    """With further events, whose ids are new."""
    new = (pl.lit(BESIDE) + pl.col(ID)).alias(ID)
    labels = more.labels.with_columns(new, (pl.lit(BESIDE) + pl.col(OF)).alias(OF))
    return e + Events(more.calls.with_columns(new), labels)


def _labels_beside(e: Events, *changes: pl.Expr) -> Events:
    rows = pl.concat([e.labels] * (FLOOD // len(e.labels) + 1)).with_columns(*changes)
    return Events(e.calls, pl.concat([e.labels, rows.with_columns(_many(f"{BESIDE}{{}}").alias(ID))]))


_BESIDE: dict[str, Change] = {
    "calls with right labels": lambda e: _beside(e, events(FLOOD, 30, DAYS, WEEK)),
    "calls that are easy to judge": lambda e: _beside(e, _easy()),
    "labels of no call": lambda e: _labels_beside(e, _many("x{}").alias(OF)),
    "labels of made-up models": lambda e: _labels_beside(e, _many("x{}").alias(OF), _many("m{}").alias(MODEL)),
    "calls without labels": lambda e: Events(_beside(e, events(6 * FLOOD, 31, DAYS, WEEK)).calls, e.labels),
    "calls of made-up models": lambda e: Events(
        e.calls.vstack(events(FLOOD, 32, DAYS, WEEK).calls.with_columns(_many("m{}").alias(MODEL))), e.labels
    ),
    "calls with huge scores": lambda e: _beside(e, _huge()),
}  # fmt: skip


def _easy() -> Events:
    """Calls whose sure answers are right."""
    known = events(FLOOD, 33, DAYS, WEEK)
    return Events(_decoys(known, 0).calls.tail(FLOOD), known.labels)


def _huge() -> Events:
    return _calls(pl.when(_PLACE % 2 == 0).then(1e308).otherwise(-1e308).alias(SCORE))(
        events(FLOOD, 34, DAYS, WEEK)
    )
