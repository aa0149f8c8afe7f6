"""A principal asks a model about rows of its training data, as an attack does that infers who is in them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from weakref import WeakKeyDictionary

import polars as pl

from tocsin import (
    Baseline,
    BaselineError,
    Detector,
    Early,
    Family,
    Requires,
    Score,
    Stability,
    Subject,
    Tail,
    Window,
    param,
)
from tocsin.clock import format_time
from tocsin.contract.findings import Json
from tocsin.contract.streams import ID, TIME
from tocsin.words import count, short
from tocsin_detectors._calls_by_principal import highest, parts
from tocsin_detectors._dataset_numbers import datasets
from tocsin_detectors._honest_queries import (
    CONFIDENCE,
    MODEL,
    STREAM,
    USER,
    as_events,
    distinct,
    sampled,
)
from tocsin_detectors._query_shapes import aligned_to, commonest_shape
from tocsin_detectors._reached import is_reached
from tocsin_detectors._spelling import canonical
from tocsin_detectors._training_rows import Asked, TrainingRows
from tocsin_detectors._unjudged_queries import earliest

#: A baseline with more calls is fitted on a sample of its principals.
_BASELINE_CALLS = 200_000
#: Snapshots that were written so long before the baseline are training data, too.
_BEFORE = timedelta(days=90)
_EXAMPLES = 10  # calls in the evidence


@dataclass(frozen=True, slots=True)
class Params:
    """Settings of `membership`."""

    min_queries: int = param(20, ge=2, doc="a principal with fewer queries to a model is not judged")


class Membership(Detector[Params]):
    """A principal asks a model about rows of its training data, as an attack does that infers who is in them.

    What it sees
        Of each principal's different queries to a model in the window, those that equal or nearly equal a row of a dataset
        snapshot that was written before the query. A model is often surer of rows that it was trained on, so its
        answers tell who is in the training data (Shokri et al. 2017). The evidence says how many queries are such rows,
        how many are usual, and how sure the model was of both kinds.
    Method
        The detector counts three kinds of queries, by locality-sensitive hashing (Datar et al. 2004): those that equal a
        training row, those that differ a little in all features, and those that differ in a feature or two. How much
        they may differ depends on the data: honest queries must rarely be taken for training rows.
        Columns of a dataset are features of the model if they have the same name, contain numbers, and if half of the
        known queries lie between their extremes. A dataset has rows of the model if it has at least half of the model's
        features. The score is the signed root of the likelihood ratio of the number of such queries, against the share
        that is usual: for the principal on nine of ten of its days, for three in four principals, and at least three
        in a thousand. The score is divided by the spread of three in four principals. Repeated queries count once, and
        all spellings of a principal's name are one principal. The cost is linear in calls and in rows of datasets.
    Blind spots
        Rows that are changed in many features by more than a few hundredths of their spread, and any change where
        training rows are close together; training data that no dataset collector reads; columns of text; features that
        are computed or scaled after the dataset was written. An attack that is spread over many principals or days. A
        principal who often asks about training rows, such as a nightly batch of all customers. If a third of all honest
        queries equal a training row, because features have few values, an attack needs some fifty rows. Of a dataset
        with more than 250,000 different rows, a random sample is compared, and so it is of a principal with more than
        500,000 calls. Of each dataset, 60 snapshots of the baseline's four weeks and the 90 days before are read.
    False alarms
        A new client or job that scores existing customers again, with the values of their applications. From the next
        baseline on, this share is usual for the principal.
    Respond
        Ask the principal where the rows come from: a caller that sends complete training rows has a copy of some of
        them, or of the customer records behind them. Return labels without scores to the principal until the answer is
        known.
    """

    id = "membership"
    requires = Requires(STREAM, "dataset", window="1d", baseline="28d", history="118d", shortest="3d")
    atlas = ("AML.T0024.000",)
    playbook = "membership-inference"
    family = Family.USAGE
    stability = Stability.EXPERIMENTAL
    #: Seven of a hundred queries, or 16 of a thousand, if three in a thousand are usual.
    floor = 5.0
    tail = Tail.NORMAL
    early = Early(by=USER, growth=2.0)

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        self._read: WeakKeyDictionary[Baseline, list[tuple[str, TrainingRows]]] = WeakKeyDictionary()

    def split(self, window: Window) -> tuple[Window, Window]:
        """All snapshots twice: with the calls of the earlier half to fit on, and of the later half to calibrate on."""
        calls = as_events(distinct(window, self.requires.window, sampled(window, _BASELINE_CALLS)))
        first, last = calls[TIME].min(), calls[TIME].max()
        if not isinstance(first, datetime) or not isinstance(last, datetime):
            return window, window
        middle = first + (last - first) / 2
        later = replace(window.with_rows({STREAM: calls}), start=middle)
        return window.with_rows({STREAM: calls.filter(pl.col(TIME) < middle)}), later

    def fit(self, window: Window) -> Baseline | None:
        calls = distinct(window, self.requires.window).filter(pl.col("tocsin.features.values").list.len() > 0)
        models = calls.partition_by(MODEL, as_dict=True)
        if not models:
            return None
        shapes = {str(model): commonest_shape(of_model) for (model,), of_model in models.items()}
        aligned = {str(model): aligned_to(of, shapes[str(model)]).calls for (model,), of in models.items()}
        found = []
        for data in datasets(window, _BEFORE):
            for model, shape in shapes.items():
                rows = TrainingRows.fit(data, shape, aligned[model])
                found += [one.frames(model) for one in rows]
        if not found:
            needed = (
                "a dataset with at least half of a model's features as columns of numbers (stream dataset)"
            )
            raise BaselineError(f"detector {self.id}: the history does not have {needed}")
        return Baseline({name: pl.concat([frames[name] for frames in found]) for name in found[0]})

    def score(self, window: Window) -> Iterator[Score]:
        if window.baseline is None:
            return
        if window.baseline not in self._read:
            self._read[window.baseline] = list(TrainingRows.read(window.baseline))
        yield from highest(self._scores(window, self._read[window.baseline]))

    def _scores(self, window: Window, known: list[tuple[str, TrainingRows]]) -> Iterator[Score]:
        for calls in parts(window, self.params.min_queries):
            for model, rows in known:
                for asked in rows.asked(calls.filter(pl.col("of") == canonical(model))):
                    if len(asked.calls) >= self.params.min_queries:
                        yield _score(asked, model, rows.dataset, window)


def _score(asked: Asked, model: str, dataset: str, window: Window) -> Score:
    calls, found = asked.calls, asked.calls.filter(asked.found)
    user, number = earliest(calls["spelling"]), len(found)
    reason = (
        f"{short(user)} asked {short(model)} about {count(number, 'row')} of dataset {short(dataset)} "
        f"in {count(len(calls), 'query', 'queries')}; up to {math.ceil(asked.expected):,} would be usual"
    )
    score = Score(Subject("principal", user), asked.deviate, reason)
    if not is_reached(window, score):
        return score
    evidence: dict[str, Json] = {
        "model": model,
        "dataset": dataset,
        "distinct queries": len(calls),
        "queries about training rows": number,
        "usual number": round(asked.expected, 2),
        "mean confidence, training rows": _mean(found),
        "mean confidence, other queries": _mean(calls.filter(~asked.found)),
    }
    if number:
        times = found[TIME].sort()
        evidence |= {"from": format_time(times[0]), "to": format_time(times[-1])}
        evidence["sample"] = [{"event.id": one} for one in found[ID].head(_EXAMPLES)]
    return replace(score, evidence=evidence)


def _mean(calls: pl.DataFrame) -> float | None:
    values = calls[CONFIDENCE].drop_nulls().drop_nans()
    return None if values.is_empty() else round(float(values.to_numpy().mean()), 4)
