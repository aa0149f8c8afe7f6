"""Calls with their true labels, which arrive later, and the calls of a window that have no label yet."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tocsin.contract.query import Condition
from tocsin.contract.streams import ID, TIME
from tocsin.contract.windows import Window
from tocsin.datasets.labels import canonical_labels
from tocsin_detectors import _model_rows as model_rows
from tocsin_detectors._spelling import canonical, pooled

LABELS = "label"
#: Windows before, whose labels are judged with those of the window, if all of them were too few.
_BACK = 28
_TWO = 0.95  # share of the two commonest classes of a binary classifier
OF, VALUE = "tocsin.label.of", "tocsin.label.value"
SCORE, ANSWER = "tocsin.output.score", "tocsin.output.label"

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Labels:
    """The labels of a model that arrived, and what is wrong with some of them.

    `calls` has the columns `SCORE`, `ANSWER` and `VALUE`, in the order of the labels' arrival. `strays`: labels of no call.
    `revised`: labels that a later one of the same call contradicts. `shared`: labels of an id that different calls have.
    """

    model: str
    calls: pl.DataFrame
    strays: int
    revised: int = 0
    shared: int = 0

    @property
    def total(self) -> int:
        """Number of labels that were read."""
        return self.strays + self.revised + len(self.calls)

    def after(self, earlier: pl.DataFrame) -> Labels:
        """With the calls of labels that arrived earlier."""
        return replace(self, calls=pl.concat([earlier, self.calls]))


def arrived(window: Window, length: timedelta, limit: int, known: Collection[str] = ()) -> Iterator[Labels]:
    """The labels of each model in a window, with their calls of the window and of `length` before it.

    A label belongs to the model that answered its call, whatever model the label names, unless only the latter is in
    `known` (canonical names). Of several labels of one call, the last counts. At most `limit` labels of each named model
    are read, drawn with a fixed seed.
    """
    rows = _read(window)
    parts = rows.partition_by("pool", maintain_order=True)
    rows = pl.concat([rows.clear(), *(model_rows.thinned(part, limit) for part in parts)]).sort(TIME, ID)
    yield from _matched(window, rows, length, known)


def unjudged(
    window: Window, models: Collection[str], length: timedelta, least: int
) -> dict[str, pl.DataFrame]:
    """The calls of labels of some models that arrived in the windows directly before, too few of them to be judged.

    They reach back to the window that had at least `least` labels of the model, at most `_BACK` windows, and are at most
    `least` calls of each model, the last ones.

    Args:
        window: the window.
        models: the models' canonical names, which are the keys of the result.
        length: how long before these windows calls are read.
        least: with fewer labels, a window is not judged.
    """
    before = window.before(_BACK * window.length)
    rows = _read(before).filter(pl.col("pool").is_in(list(models)))
    age = (pl.lit(before.end) - pl.col(TIME)).dt.total_microseconds() // (
        window.length // timedelta(microseconds=1)
    )
    rows = rows.with_columns(age=age).with_columns(number=pl.len().over("pool", "age"))
    judged = pl.col("age").filter(pl.col("number") >= least).min().over("pool")
    rows = (
        rows.filter((pl.col("age") < judged).fill_null(value=True))
        .group_by("pool", maintain_order=True)
        .tail(least)
    )
    found = _matched(before, rows.drop("age", "number"), length, models)
    return {canonical(labels.model): labels.calls for labels in found}


def _read(window: Window) -> pl.DataFrame:
    """The last label of each call, and how many earlier ones it contradicts (`revised`)."""
    named = (Condition(model_rows.MODEL, "not_null"),)
    rows = window.rows(LABELS, [TIME, ID, model_rows.MODEL, OF, VALUE], named).drop_nulls([OF, VALUE])
    rows = rows.with_columns(
        pl.col(OF).str.strip_chars(),
        pool=pooled(rows[model_rows.MODEL]),
        **{VALUE: canonical_labels(rows[VALUE])},
    )
    value = pl.col(VALUE)
    rows = rows.with_columns(revised=(value != value.last()).sum().over(OF))
    return rows.unique(OF, keep="last", maintain_order=True)


def _matched(
    window: Window, rows: pl.DataFrame, length: timedelta, known: Collection[str]
) -> Iterator[Labels]:
    """Labels with their calls, by the model of the call; labels of no call, by the model that they name."""
    calls = _calls(window, length, rows[OF].unique().sort().to_list())
    found = rows.join(
        calls.rename({"pool": "answered", model_rows.MODEL: "by"}),
        left_on=OF,
        right_on=ID,
        how="left",
        maintain_order="left",
    )
    names = list(known)
    is_named = pl.col("pool").is_in(names) & ~pl.col("answered").is_in(names).fill_null(value=True)
    found = found.with_columns(pool=pl.when(is_named).then("pool").otherwise(pl.coalesce("answered", "pool")))
    for (pool,), part in sorted(found.partition_by("pool", as_dict=True, maintain_order=True).items()):
        calls = part.filter(pl.col("answered").is_not_null())
        spelled = pl.concat([part["by"].drop_nulls(), part[model_rows.MODEL].rename("by")])
        yield Labels(
            spelled.filter(pooled(spelled) == pool)[0],
            calls.select(SCORE, ANSWER, VALUE),
            len(part) - len(calls),
            int(part["revised"].sum()),
            int(calls["shared"].sum()),
        )


def labeled(
    window: Window, spans: Sequence[Window], model: str, length: timedelta, limit: int, columns: Sequence[str]
) -> pl.DataFrame:
    """The labels of a model that arrived in some earlier spans or in the window, with some columns of their calls.

    At most `limit` labels of each span. The calls are read once, from `length` before the first span on.
    """
    named = (Condition(model_rows.MODEL, "not_null"),)
    parts = [span.rows(LABELS, [TIME, ID, model_rows.MODEL, OF, VALUE], named) for span in spans]
    rows = pl.concat([model_rows.thinned(part, limit) for part in parts]).drop_nulls([OF, VALUE])
    rows = rows.unique(OF, keep="last", maintain_order=True)
    first = min(span.start for span in spans)
    calls = _calls(window, window.start - first + length, rows[OF].to_list(), columns)
    calls = calls.filter(pl.col("pool") == canonical(model))
    rows = rows.with_columns(canonical_labels(rows[VALUE]).alias(VALUE))
    found = rows.select(TIME, OF, VALUE).join(calls, left_on=OF, right_on=ID, how="inner")
    return found.filter(pl.col(SCORE).is_finite()).sort(TIME, OF)


def _calls(window: Window, length: timedelta, ids: list[str], more: Sequence[str] = ()) -> pl.DataFrame:
    """The answers of the calls with these ids, and more of their columns."""
    where = (Condition(ID, "in", ids), Condition(model_rows.MODEL, "not_null"))
    columns = [ID, model_rows.MODEL, SCORE, ANSWER, *more]
    before = window.before(length).scan(model_rows.STREAM, columns, where)
    rows = pl.concat([before, window.scan(model_rows.STREAM, columns, where)]).collect()
    answers = [SCORE, ANSWER, model_rows.MODEL]
    rows = rows.unique([ID, *answers], keep="any").sort(ID, *answers)  # the order of the rows is not defined
    rows = rows.with_columns(shared=pl.len().over(ID) > 1).unique(ID, keep="first", maintain_order=True)
    return rows.with_columns(pool=pooled(rows[model_rows.MODEL]), **{ANSWER: canonical_labels(rows[ANSWER])})


@dataclass(frozen=True, slots=True)
class Binary:
    """Answers of a binary classifier: scores, whether the answer was the positive class, and whether the truth is.

    A score is not finite if the call has none.
    """

    scores: Floats
    answered: Bools
    positive: Bools

    @classmethod
    def of(cls, calls: pl.DataFrame, positive: str) -> Binary:
        """Calls with an answer or a finite score. Without an answer, a score of 0.5 or more counts as positive."""
        score = pl.col(SCORE).fill_null(math.nan)
        calls = calls.with_columns(score).filter(score.is_finite() | pl.col(ANSWER).is_not_null())
        answered = (calls[ANSWER] == positive).fill_null(calls[SCORE] >= 0.5)
        truth = (
            calls[VALUE]
            if VALUE in calls.columns
            else pl.repeat(None, len(calls), dtype=pl.String, eager=True)
        )
        positives = (truth == positive).fill_null(value=False)
        return cls(calls[SCORE].to_numpy(), answered.to_numpy(), positives.to_numpy())

    @property
    def scored(self) -> Binary:
        """Those with a finite score."""
        there = np.isfinite(self.scores)
        return Binary(self.scores[there], self.answered[there], self.positive[there])


def positive_class(calls: pl.DataFrame) -> str | None:
    """The class whose rows have the higher scores, if nearly all rows have one of two classes."""
    classes = calls.filter(pl.col(SCORE).is_finite()).group_by(VALUE).agg(pl.len(), pl.col(SCORE).mean())
    two = classes.sort("len", VALUE, descending=[True, False]).head(2)
    if len(two) < 2 or int(two["len"].sum()) < _TWO * int(classes["len"].sum()):
        return None
    return str(two.sort(SCORE, VALUE)[VALUE][-1])
