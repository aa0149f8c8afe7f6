"""Calls with their true labels, which arrive later, and the calls of a window that have no label yet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
_TWO = 0.95  # share of the two commonest classes of a binary classifier
OF, VALUE = "tocsin.label.of", "tocsin.label.value"
SCORE, ANSWER = "tocsin.output.score", "tocsin.output.label"

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Labels:
    """The labels of a model that arrived: the calls that they are of, and how many are of no call.

    `calls` has the columns `SCORE`, `ANSWER` and `VALUE`, in the order of the labels' arrival.
    """

    model: str
    calls: pl.DataFrame
    strays: int


def arrived(window: Window, length: timedelta, limit: int) -> Iterator[Labels]:
    """The labels of each model in a window, with their calls of the window and of `length` before it.

    Of several labels of one call, the last counts. At most `limit` labels of a model are read, drawn with a fixed seed.
    """
    named = (Condition(model_rows.MODEL, "not_null"),)
    rows = window.rows(LABELS, [TIME, ID, model_rows.MODEL, OF, VALUE], named)
    rows = rows.drop_nulls([OF, VALUE]).unique(OF, keep="last", maintain_order=True)
    rows = rows.with_columns(pool=pooled(rows[model_rows.MODEL]), **{VALUE: canonical_labels(rows[VALUE])})
    for (pool,), part in sorted(rows.partition_by("pool", as_dict=True, maintain_order=True).items()):
        labels = model_rows.thinned(part, limit)
        calls = _calls(window, length, labels[OF].to_list()).filter(pl.col("pool") == pool)
        found = labels.join(calls, left_on=OF, right_on=ID, how="inner", maintain_order="left")
        yield Labels(part[model_rows.MODEL][0], found.select(SCORE, ANSWER, VALUE), len(labels) - len(found))


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
    rows = rows.unique(ID, keep="first", maintain_order=True)
    return rows.with_columns(
        pool=pooled(rows[model_rows.MODEL]), **{ANSWER: canonical_labels(rows[ANSWER])}
    ).drop(model_rows.MODEL)


@dataclass(frozen=True, slots=True)
class Binary:
    """Answers of a binary classifier: scores, whether the answer was the positive class, and whether the truth is."""

    scores: Floats
    answered: Bools
    positive: Bools

    @classmethod
    def of(cls, calls: pl.DataFrame, positive: str) -> Binary:
        """Calls with a finite score. Without an answered label, a score of 0.5 or more counts as positive."""
        calls = calls.filter(pl.col(SCORE).is_finite())
        scores = calls[SCORE].to_numpy()
        answered = (calls[ANSWER] == positive).fill_null(calls[SCORE] >= 0.5)
        truth = (
            calls[VALUE]
            if VALUE in calls.columns
            else pl.repeat(None, len(calls), dtype=pl.String, eager=True)
        )
        return cls(scores, answered.to_numpy(), (truth == positive).fill_null(value=False).to_numpy())


def positive_class(calls: pl.DataFrame) -> str | None:
    """The class whose rows have the higher scores, if nearly all rows have one of two classes."""
    classes = calls.filter(pl.col(SCORE).is_finite()).group_by(VALUE).agg(pl.len(), pl.col(SCORE).mean())
    two = classes.sort("len", VALUE, descending=[True, False]).head(2)
    if len(two) < 2 or int(two["len"].sum()) < _TWO * int(classes["len"].sum()):
        return None
    return str(two.sort(SCORE, VALUE)[VALUE][-1])
