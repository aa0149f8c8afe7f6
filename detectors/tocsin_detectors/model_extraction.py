"""A principal's queries have the pattern of an attack that copies the model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import polars as pl

from tocsin import (
    COUNT,
    Baseline,
    Condition,
    Detector,
    Early,
    Requires,
    Score,
    Stability,
    Subject,
    Tail,
    Window,
    not_judged,
    param,
)
from tocsin.contract.findings import Family
from tocsin.stats.extraction import RUNS, SIZES, Queries, parts
from tocsin.words import count, short
from tocsin_detectors._honest_queries import (
    KNOWN,
    MODEL,
    SPELLING,
    STREAM,
    USER,
    VALUES,
    HonestQueries,
    as_events,
    distinct,
    sampled,
)
from tocsin_detectors._newest_queries import GROWTH, TIMES, unusual
from tocsin_detectors._query_evidence import evidence_of, reason_of
from tocsin_detectors._screened_queries import Cleared, cleared, honest_scores, without
from tocsin_detectors._spelling import canonical, changed, pooled
from tocsin_detectors._unjudged_queries import (
    earliest,
    scattered,
    unaligned,
    unknown_models,
    without_features,
)

#: A baseline with more calls is fitted on a sample of its principals.
BASELINE_CALLS = 200_000
#: Principals that are judged in a window: those with most calls. The number of the others is reported.
_MOST_JUDGED = 10_000
#: A condition names at most so many principals; of more, all calls are read.
_MOST_NAMED = 10_000


@dataclass(frozen=True, slots=True)
class Params:
    """Settings of `model_extraction`."""

    min_queries: int = param(20, ge=20, doc="a principal with fewer queries is not judged")
    reference_rows: int = param(2000, ge=100, le=5000, doc="number of honest queries stored for each model")
    sub_windows: int = param(
        20, ge=3, doc="maximum number of sub-windows of each size that are judged for each principal"
    )


class ModelExtraction(Detector[Params]):
    """A principal's queries to a model have the pattern of an attack that copies the model.

    What it sees
        The detector cuts the different queries of each principal to each model in the window into sub-windows
        of 20 to 500 consecutive queries. In a sub-window it finds queries with values or pairs of values that
        honest queries never have; queries that are far from all known queries or from each other; queries that
        differ slightly from an earlier query in many features; queries that repeat an earlier query with a
        value that honest queries never have; queries whose values hardly ever occur together; queries that walk
        from an earlier query, along one feature or field by field; and queries for which the confidence of the
        model is low. Repeated queries count once.
    Method
        Nine statistics of query geometry after PRADA (Juuti et al. 2019), SEAT (Zhang et al. 2021) and HODA
        (Sadeghzadeh et al. 2022). Which values occur together is learned as a tree of pairs of features (Chow and
        Liu 1968) from at most 20,000 queries and 64 features. Walks are those of path finding (Tramèr et al. 2016)
        and those from one row to another. Each statistic is the mean amount by which the queries of a sub-window
        exceed a limit that most honest queries do not exceed. The statistic is standardized by its tail in honest
        sub-windows of the same size. The score is the largest of the nine. If a vector has other names or
        another order of features, the detector aligns the vector with the baseline by feature name, or by place
        if the lengths are equal. All spellings of a principal's name are one principal. Calls that cannot be
        compared, calls that differ only in features that the baseline lacks, and calls with several such features
        are reported as "not judged". In a window with more than 50,000 calls of principals with more than 200
        calls each, all queries of these principals get cheap signs, and four blocks of 50 are compared: the newest
        and the most suspicious. The most unusual principals are judged on up to `sub_windows` sub-windows of
        each size; the evidence of the others says how many queries were compared. At most 10,000 principals
        are judged so, those with the most calls. The cost grows with the number of calls.
    Blind spots
        Queries that are random real rows, or interpolations that are rounded to values of real rows: such
        queries do not differ from honest queries, and only `query_budget` detects them. Many colluding accounts
        with fewer than 20 queries each: `collusion` counts their queries.
    False alarms
        A client whose customers differ from the customers of all other clients; a load test with made-up
        applicants; a client who tries many values of one field, or many fields in succession; a new feature
        encoding. Once you know that the queries are honest, fit a new baseline.
    Respond
        Read the queries in the evidence: would a client send them about a real customer? Compare the principal with
        its peers (`tocsin scores`). Then work the playbook: lower the key's rate limit before you talk to the owner.
    """

    id = "model_extraction"
    requires = Requires(STREAM, window="1d", baseline="28d", history="7d")
    atlas = ("AML.T0024.002", "AML.T0005.001")
    playbook = "model-extraction"
    family = Family.USAGE
    stability = Stability.BETA
    #: Nine statistics with exponential tails pass this together once in a hundred: ln(9 · 0.2 / 0.01).
    floor = 5.2
    tail = Tail.EXPONENTIAL
    early = Early(by=USER, growth=GROWTH)

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        self._read: WeakKeyDictionary[Baseline, list[tuple[str, HonestQueries]]] = WeakKeyDictionary()

    def split(self, window: Window) -> tuple[Window, Window]:
        """The earlier half of each principal's queries to fit on, the later half to calibrate on."""
        calls = distinct(window, self.requires.window, sampled(window, BASELINE_CALLS))
        earlier = pl.int_range(pl.len()).over(USER, MODEL) < pl.len().over(USER, MODEL) // 2
        first, second = as_events(calls.filter(earlier)), as_events(calls.filter(~earlier))
        return window.with_rows({STREAM: first}), window.with_rows({STREAM: second})

    def fit(self, window: Window) -> Baseline | None:
        found = []
        for (model,), calls in (
            _with_vectors(distinct(window, self.requires.window)).partition_by(MODEL, as_dict=True).items()
        ):
            learned = HonestQueries.fit(calls, self.params.reference_rows)
            if learned.honest.norms:
                found.append(learned.frames(model))
        if not found:
            return None
        return Baseline({name: pl.concat([frames[name] for frames in found]) for name in found[0]})

    def chunks(self, window: Window) -> Iterator[Window]:
        """For each size and number k: the k-th run of whole windows with that many queries, of each principal."""
        chunks: dict[tuple[int, int], list[pl.DataFrame]] = {}
        for calls in distinct(window, self.requires.window).partition_by(USER, MODEL, maintain_order=True):
            for size in SIZES:
                for k, run in enumerate(_whole_windows(calls["interval"], size)):
                    chunks.setdefault((size, k), []).append(calls[run])
        for key in sorted(chunks):
            yield window.with_rows({STREAM: as_events(pl.concat(chunks[key]))})

    def score(self, window: Window) -> Iterator[Score]:
        if window.baseline is None:
            return
        if window.baseline not in self._read:
            self._read[window.baseline] = list(HonestQueries.read(window.baseline))
        models = self._read[window.baseline]
        counts = window.summary(STREAM, [USER, MODEL], [COUNT, *TIMES], KNOWN)
        busy, clear = self._busy(counts, window), list[Cleared]()
        threshold = self.threshold or window.baseline.threshold or self.floor
        if window.changed is None:
            clear = cleared(window, busy, models, threshold)
        else:
            suspects = unusual(window, busy, models, self.params.sub_windows, threshold)
            busy = busy.join(suspects, on=["pool", "of"], how="semi", maintain_order="left")
        best = {score.subject.id: score for score in honest_scores(clear, busy)}
        calls, left_out = self._calls(window, without(busy, clear))
        for model, known in models:
            found = known.aligned(calls.filter(pl.col("of") == canonical(model)))
            for queries, rows in known.queries(found.calls, self.params.sub_windows):
                score = self._judge(queries, rows, model, known, bare=window.calibrating)
                user = score.subject.id
                if user not in best or score.value > best[user].value:
                    best[user] = score
            if not window.calibrating:
                yield from unaligned(found.rest, calls, model, known.unaligned, self.params.min_queries)
        yield from (best[user] for user in sorted(best))
        if window.changed is not None or window.calibrating:
            return
        yield from unknown_models(calls, [model for model, _ in models])
        yield from without_features(window, counts, [model for model, _ in models], self.params.min_queries)
        yield from scattered(window, self.id, self.params.min_queries)
        if left_out:
            reason = f"{count(left_out, 'more principal')} with at least {self.params.min_queries} queries"
            day = window.before(window.length)
            before = self._busy(day.summary(STREAM, [USER, MODEL], [COUNT], KNOWN), day)
            usual = max(before["pool"].n_unique() - _MOST_JUDGED, 0)
            yield not_judged(Subject("detector", self.id), "more principals", reason, left_out, usual)

    def _calls(self, window: Window, enough: pl.DataFrame) -> tuple[pl.DataFrame, int]:
        """The distinct calls of the `_MOST_JUDGED` principals with most calls, and the number of others with enough calls.

        `of` is the canonical form of the model's name.
        """
        pools = (
            enough.group_by("pool").agg(pl.col("count").sum()).sort("count", "pool", descending=[True, False])
        )
        chosen = pools.head(_MOST_JUDGED)["pool"]
        enough = enough.filter(pl.col("pool").is_in(chosen.implode()))
        where = []
        for name in (USER, MODEL):
            values = enough[name].unique()
            if len(values) <= _MOST_NAMED and values.null_count() == 0:
                where.append(Condition(name, "in", values.to_list()))
        calls = distinct(window, where=where)
        calls = calls.with_columns(pooled(calls[MODEL]).alias("of"))
        pairs = enough.select(pl.col("pool").alias(USER), "of")
        return calls.join(pairs, on=[USER, "of"], how="semi", maintain_order="left"), len(pools) - len(chosen)

    def _busy(self, counts: pl.DataFrame, window: Window) -> pl.DataFrame:
        """The number of calls by spelling, of principals (`pool`) with enough calls of one model."""
        counts = counts.with_columns(pooled(counts[USER]).alias("pool"), pooled(counts[MODEL]).alias("of"))
        counts = counts.filter(changed(counts[USER], window))
        return counts.filter(pl.col("count").sum().over("pool", "of") >= self.params.min_queries)

    def _judge(
        self, queries: Queries, rows: pl.DataFrame, model: str, known: HonestQueries, *, bare: bool
    ) -> Score:
        user = earliest(rows[SPELLING])
        subject = Subject("principal", user)
        verdict = known.honest.judge(queries, self.params.sub_windows)
        if verdict is None:
            queried = count(len(rows), "distinct query", "distinct queries")
            reason = f"{short(user)} sent {queried} to {short(model)}: too few to judge"
            return Score(subject, 0.0, reason, {"model": model, "distinct queries": len(rows)})
        reason = reason_of(user, model, len(rows), "")
        if bare:
            return Score(subject, verdict.z, reason, {})
        if verdict.z >= (self.floor if self.threshold is None else self.threshold):
            reason = reason_of(user, model, verdict.run.stop - verdict.run.start, verdict.statistic)
        return Score(subject, verdict.z, reason, evidence_of(queries.owner, model, rows, verdict, known))


def _with_vectors(calls: pl.DataFrame) -> pl.DataFrame:
    """Calls whose vectors are not empty: a model that has no others is not learned."""
    return calls.filter(pl.col(VALUES).list.len() > 0)


def _whole_windows(windows: pl.Series, size: int) -> list[slice]:
    """Runs of whole windows with at least `size` calls each, at most `RUNS` of them, evenly spread.

    Windows stay whole so that a query and the earlier query that it edits are in one run as often as in
    production.
    """
    found, start = [], 0
    for end in [*(np.flatnonzero(np.diff(windows.to_numpy())) + 1).tolist(), len(windows)]:
        if end - start >= size:
            found.append(slice(start, end))
            start = end
    return [found[run.start] for run in parts(len(found), 1, RUNS)]
