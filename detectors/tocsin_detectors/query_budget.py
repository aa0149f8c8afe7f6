"""A principal has asked for more different queries than it, or anyone like it, ever needed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import polars as pl

from tocsin import COUNT, Condition, Detector, Family, Requires, Score, Stability, Subject, Window, param
from tocsin.contract.streams import TIME
from tocsin_detectors._words import count

_STREAM = "inference"
_PRINCIPAL, _MODEL, _VALUES = "user.id", "tocsin.model.name", "tocsin.features.values"
_KEY = [_PRINCIPAL, _MODEL]
_KNOWN = tuple(Condition(column, "not_null") for column in (*_KEY, _VALUES))
#: Principals whose calls reach this share of what peers may ask have their different queries counted.
_NEAR = 0.5
_WEEK, _DAY = timedelta(days=7), timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Params:
    """Settings."""

    budget_rows: int | None = param(
        None, ge=1, doc="different queries that a principal may ask in two weeks; left out: learnt from peers"
    )
    least_rows: int = param(200, ge=1, doc="a learnt budget is never below this")
    margin: float = param(2.0, ge=1.0, doc="a learnt budget is this many times what was usual")
    peers: float = param(0.75, ge=0.5, le=1.0, doc="the quantile of peers that counts as usual")


class QueryBudget(Detector[Params]):
    """A principal has asked for more different queries than it, or anyone like it, ever needed.

    What it sees
        Different feature vectors that each principal sent to each model in the two weeks before the window
        and in it, as a multiple of its budget. Repeated queries cost nothing, whoever repeats them.
    Method
        Budget accounting: a copy needs many different answers, whatever the queries look like; random real
        rows give 0.986 fidelity with 2,000 queries and cannot be told by their content. The budget is a
        number from the configuration, or `margin` times the larger of what the principal itself asked in the
        two weeks before those and of what its peers asked then: their upper quartile, but at most three times
        their median, so that a few batch accounts do not set everyone's budget. Calls are counted first, in
        the store; only principals whose calls come near the budget have their vectors read.
    Blind spots
        Many colluding accounts with small budgets; one that grows slowly for a month; calls without a
        principal or without features.
    False alarms
        A customer who goes live with real volume: set `budget_rows`, or acknowledge until it is usual. With
        less than four weeks of history it compares week with week, with less than two nothing is judged
        unless `budget_rows` is set.
    Respond
        Compare with the contract; look at `model_extraction` for the shape of the queries; cut the key's rate
        before talking to its owner.
    """

    id = "query_budget"
    requires = Requires(_STREAM, window="1d", history="28d")
    atlas = ("AML.T0024.002", "AML.T0005.001", "AML.T0034.000")
    playbook = "model-extraction"
    family = Family.USAGE
    stability = Stability.BETA
    threshold = 1.0

    def score(self, window: Window) -> Iterator[Score]:
        half = 2 * _WEEK if self.params.budget_rows is not None else self._half(window)
        if not half:
            return
        lately, earlier = window.before(half), window.before(half).before(half)
        longer = self.params.margin * ((half + window.length) / half)
        calls = self._calls(window, lately, earlier, longer)
        near = (
            calls.filter(pl.col("calls") >= _NEAR * pl.col("allowed"))[_PRINCIPAL].unique().sort().to_list()
        )
        rows = calls.join(_different("rows", near, lately, window), on=_KEY, how="left")
        rows = rows.join(_different("rows_before", near, earlier), on=_KEY, how="left")
        own = 0.0 if self.params.budget_rows is not None else pl.col("rows_before").fill_null(0) * longer
        judged = rows.with_columns(budget=pl.max_horizontal("allowed", own)).with_columns(
            ratio=pl.coalesce("rows", "calls") / pl.col("budget")
        )
        worst = judged.sort("ratio", _MODEL, descending=[True, False]).unique(
            _PRINCIPAL, keep="first", maintain_order=True
        )
        days = (half + window.length).days
        yield from (_score(row, days) for row in worst.sort(_PRINCIPAL).to_dicts())

    def _half(self, window: Window) -> timedelta:
        """How long the two periods that are compared are: whole weeks, half of the history that there is."""
        span = self.requires.history or 4 * _WEEK
        first = window.history(_STREAM, span, [TIME]).select(pl.col(TIME).min()).collect().item()
        there = timedelta(0) if first is None else window.start - first + _DAY
        return min(there, span) // (2 * _WEEK) * _WEEK

    def _calls(self, window: Window, lately: Window, earlier: Window, longer: float) -> pl.DataFrame:
        """Calls of each principal active in the window, and what it may ask whatever its own past."""
        inside = window.summary(_STREAM, _KEY, [COUNT], _KNOWN)
        both = pl.concat([lately.summary(_STREAM, _KEY, [COUNT], _KNOWN), inside])
        now = both.group_by(_KEY).agg(calls=pl.col("count").sum()).join(inside, on=_PRINCIPAL, how="semi")
        if self.params.budget_rows is not None:
            return now.with_columns(allowed=pl.lit(float(self.params.budget_rows)), peers=None)
        usual = pl.min_horizontal(
            pl.col("count").quantile(self.params.peers, "higher"), 3 * pl.col("count").median()
        )
        peers = earlier.summary(_STREAM, _KEY, [COUNT], _KNOWN).group_by(_MODEL).agg(peers=usual)
        allowed = pl.max_horizontal(
            pl.col("peers").fill_null(0) * longer, pl.lit(float(self.params.least_rows))
        )
        return now.join(peers, on=_MODEL, how="left").with_columns(allowed=allowed)


def _different(name: str, principals: list[str], *windows: Window) -> pl.DataFrame:
    """Different feature vectors of these principals over all the windows together, by model."""
    where = (*_KNOWN, Condition(_PRINCIPAL, "in", principals))
    rows = pl.concat([window.scan(_STREAM, [*_KEY, _VALUES], where) for window in windows])
    return rows.group_by(_KEY).agg(pl.col(_VALUES).hash(0).n_unique().alias(name)).collect()


def _score(row: dict[str, Any], days: int) -> Score:
    kind = "" if row["rows"] is None else "different "
    queries = count(row["calls"] if row["rows"] is None else row["rows"], f"{kind}query", f"{kind}queries")
    budget = f"{count(days, 'day')}; the budget is {row['budget']:,.0f}"
    return Score(
        Subject("principal", row[_PRINCIPAL]),
        row["ratio"],
        reason=f"{row[_PRINCIPAL]} sent {queries} to {row[_MODEL]} in {budget}",
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
