"""A principal sent more different queries than this principal or its peers usually send."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import polars as pl

from tocsin import (
    COUNT,
    Condition,
    Detector,
    Early,
    Family,
    Measure,
    Requires,
    Score,
    Stability,
    Subject,
    Window,
    param,
)
from tocsin.contract.streams import TIME
from tocsin.words import count, short
from tocsin_detectors._different import NAMES, VALUES, is_bare, query
from tocsin_detectors._kept import Kept
from tocsin_detectors._spelling import NOBODY, changed, pooled
from tocsin_detectors._unjudged_queries import scattered

_STREAM = "inference"
_PRINCIPAL, _MODEL = "user.id", "tocsin.model.name"
_KEY = [_PRINCIPAL, _MODEL]
_KNOWN = (Condition(_MODEL, "not_null"),)
#: The time of the first call: the name of a pool is its first spelling, which more calls do not change.
_FIRST = Measure("first", "min", TIME)
#: Principals and models are pooled over the spellings of their names.
_POOLED = ["pool", "of"]
#: Different queries are counted only for principals whose calls reach this share of their allowed calls.
_NEAR = 0.5
#: A condition names at most so many principals; of more, all calls are read.
_MOST_NAMED = 10_000
_WEEK, _DAY = timedelta(days=7), timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Params:
    """Settings."""

    budget_rows: int | None = param(
        None,
        ge=1,
        doc="different queries allowed in the window and the two weeks before; null: learned from the past",
    )
    least_rows: int = param(200, ge=1, doc="minimum of a learned budget")
    margin: float = param(2.0, ge=1.0, doc="factor between the usual number of queries and a learned budget")
    peers: float = param(0.75, ge=0.5, le=1.0, doc="quantile of the peers' queries that counts as usual")


class QueryBudget(Detector[Params]):
    """A principal sent more different queries than this principal or its peers usually send.

    What it sees
        The number of different feature vectors that each principal sent to each model in the window and the two
        weeks before, as a multiple of the principal's budget. Repeated queries of a principal count once.
    Method
        Budget accounting: a client that copies a model needs many different answers, whatever queries it sends.
        2,000 queries that are random real rows give a copy with 0.986 fidelity, and the content of these
        queries does not differ from honest queries. The budget is `budget_rows`, if set. Otherwise the budget
        is `margin` times the usual number of queries, and at least `least_rows`. The usual number is the larger
        of two numbers, both from the two weeks before the counted time: the principal's own different queries,
        and the upper quartile of its peers' calls. The upper quartile is limited to three times the median of
        the peers, so that a few batch accounts do not set the budget of all principals. All spellings of a
        principal's name are one principal; its past contains only the queries of spellings that it used in the
        counted time. All calls without a principal are one principal, too. Each call without a feature vector
        counts as a different query. The store counts the calls first. The detector reads feature vectors only
        of principals whose calls reach half of a budget that is computed without the principal's own past.
    Blind spots
        Many colluding accounts with small budgets, if they are not new; an account whose queries increase
        slowly for a month.
    False alarms
        A customer who goes live with a high volume: set `budget_rows`, or acknowledge the alert until the
        volume is usual. With less than four weeks of history, the detector compares one week with the week
        before. With less than two weeks, the detector judges nothing unless `budget_rows` is set.
    Respond
        Compare the number with the contract. Read the alerts of `model_extraction` for the shape of the
        queries. Lower the rate limit of the principal's key before you talk to the owner of the key.
    """

    id = "query_budget"
    requires = Requires(_STREAM, window="1d", history="28d")
    atlas = ("AML.T0024.002", "AML.T0005.001", "AML.T0034.000")
    playbook = "model-extraction"
    family = Family.USAGE
    stability = Stability.BETA
    threshold = 1.0
    early = Early(by=_PRINCIPAL, grows=True)

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        self._halves: Kept[timedelta] = Kept()
        self._before: Kept[tuple[pl.DataFrame, pl.DataFrame]] = Kept()

    def score(self, window: Window) -> Iterator[Score]:
        fixed = self.params.budget_rows is not None
        half = 2 * _WEEK if fixed else self._halves.of(window, "", lambda: self._half(window))
        if not half:
            return
        lately, earlier = window.before(half), window.before(half).before(half)
        longer = self.params.margin * ((half + window.length) / half)
        counts = self._before.of(window, half, lambda: (_counts(lately), _counts(earlier)))
        calls = self._calls(_counts(window), *counts, longer)
        if window.changed is not None:  # a principal with fewer calls than are allowed is within its budget
            exceeds = (pl.col("calls") >= pl.col("allowed")).any().over("pool")
            calls = calls.filter(changed(calls[_PRINCIPAL], window)).filter(exceeds)
        near = calls.filter(pl.col("calls") >= _NEAR * pl.col("allowed"))["spellings"].explode().unique()
        rows = calls.join(_different("rows", near, lately, window), on=_POOLED, how="left")
        rows = rows.join(_different("rows_before", near, earlier), on=_POOLED, how="left")
        own = 0.0 if self.params.budget_rows is not None else pl.col("rows_before").fill_null(0) * longer
        judged = rows.with_columns(budget=pl.max_horizontal("allowed", own)).with_columns(
            ratio=pl.coalesce("rows", "calls") / pl.col("budget")
        )
        worst = judged.sort("ratio", _MODEL, descending=[True, False]).unique(
            "pool", keep="first", maintain_order=True
        )
        days = (half + window.length).days
        yield from (_score(row, days) for row in worst.sort(_PRINCIPAL).to_dicts())
        if window.changed is None:
            yield from scattered(window, self.id, self.params.least_rows)

    def _half(self, window: Window) -> timedelta:
        """Length of each of the two compared periods: whole weeks, at most half of the available history."""
        span = self.requires.history or 4 * _WEEK
        first = window.history(_STREAM, span, [TIME]).select(pl.col(TIME).min()).collect().item()
        there = timedelta(0) if first is None else window.start - first + _DAY
        return min(there, span) // (2 * _WEEK) * _WEEK

    def _calls(
        self, inside: pl.DataFrame, lately: pl.DataFrame, earlier: pl.DataFrame, longer: float
    ) -> pl.DataFrame:
        """Calls of each principal active in the window, and the calls allowed without regard to its own past.

        `inside`, `lately` and `earlier` are the counts of the window and of the two periods before it.
        """
        both = pl.concat([lately, inside]).sort("first", *_KEY)
        now = (
            both.group_by(_POOLED, maintain_order=True)
            .agg(
                pl.col(_PRINCIPAL).first(),
                pl.col(_MODEL).first(),
                calls=pl.col("count").sum(),
                spellings=pl.col("spelling").unique(),
            )
            .join(inside, on="pool", how="semi")
        )
        if self.params.budget_rows is not None:
            return now.with_columns(allowed=pl.lit(float(self.params.budget_rows)), peers=None)
        usual = pl.min_horizontal(
            pl.col("count").quantile(self.params.peers, "higher"), 3 * pl.col("count").median()
        )
        pools = earlier.group_by(_POOLED).agg(pl.col("count").sum())
        peers = pools.group_by("of").agg(peers=usual)
        allowed = pl.max_horizontal(
            pl.col("peers").fill_null(0) * longer, pl.lit(float(self.params.least_rows))
        )
        return now.join(peers, on="of", how="left").with_columns(allowed=allowed)


def _counts(window: Window) -> pl.DataFrame:
    """Number of calls by principal and model as events name them (`spelling`), with the pools that they belong to."""
    found = window.summary(_STREAM, _KEY, [COUNT, _FIRST], _KNOWN)
    return found.with_columns(
        pl.col(_PRINCIPAL).replace("", NOBODY).fill_null(NOBODY),
        spelling=pl.col(_PRINCIPAL),
        pool=pooled(found[_PRINCIPAL]),
        of=pooled(found[_MODEL]),
    )


def _different(name: str, spellings: pl.Series, *windows: Window) -> pl.DataFrame:
    """Number of different feature vectors of these principals in all windows together, by pool and pooled model.

    Vectors that differ only in the names or the order of their features count as different queries, and so does every
    call whose vector lacks most values: nothing shows whether such a call repeats another one.
    """
    named = len(spellings) <= _MOST_NAMED and spellings.null_count() == 0
    where = (*_KNOWN, *([Condition(_PRINCIPAL, "in", spellings.sort().to_list())] if named else ()))
    rows = pl.concat([window.scan(_STREAM, [*_KEY, NAMES, VALUES], where) for window in windows])
    aggregates = (query().filter(~is_bare()).unique().alias(name), is_bare().sum().alias("bare"))
    found = rows.group_by(_KEY).agg(aggregates).collect()
    found = found.filter(pl.col(_PRINCIPAL).is_in(spellings.implode(), nulls_equal=True))
    pools = found.with_columns(pool=pooled(found[_PRINCIPAL]), of=pooled(found[_MODEL]))
    different = pl.col(name).explode().drop_nulls().n_unique() + pl.col("bare").sum()
    return pools.group_by(_POOLED).agg(different.alias(name))


def _score(row: dict[str, Any], days: int) -> Score:
    kind = "" if row["rows"] is None else "different "
    queries = count(row["calls"] if row["rows"] is None else row["rows"], f"{kind}query", f"{kind}queries")
    budget = f"{count(days, 'day')}; the budget is {row['budget']:,.0f}"
    return Score(
        Subject("principal", row[_PRINCIPAL]),
        row["ratio"],
        reason=f"{short(row[_PRINCIPAL])} sent {queries} to {short(row[_MODEL])} in {budget}",
        evidence={
            "model": row[_MODEL],
            "queries": row["calls"],
            "different queries": row["rows"],
            "budget": row["budget"],
            "different queries in the time before": row["rows_before"],
            "queries of peers then": row["peers"],
            "budget from": "configuration" if row["peers"] is None else "peers and own past",
        },
    )
