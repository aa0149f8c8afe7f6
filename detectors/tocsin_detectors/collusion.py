"""Principals that belong together send many queries that no single one of them shows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import polars as pl

from tocsin import Detector, Family, Requires, Score, Stability, Subject, Window, param
from tocsin.words import count, short
from tocsin_detectors._cohorts import (
    DAY,
    KINDS,
    KNOWN,
    STREAM,
    USER,
    WEEK,
    excess,
    volumes,
    weekly,
)
from tocsin_detectors._spelling import pooled

_VALUES = "tocsin.features.values"
#: Cohorts that are judged in a window: those with most excess calls.
_MOST_JUDGED = 200
#: Different queries are counted only for cohorts whose calls reach this share of their budget.
_NEAR = 0.5
#: A cohort most of whose excess is of members that an earlier finding names is no finding of its own.
_SAME = 0.5
#: Of two cohorts with mostly the same members, the finding is about the one of the more specific kind, unless its score is
#: lower than this share of the other's score.
_NARROWER = 0.9


@dataclass(frozen=True, slots=True)
class Params:
    """Settings."""

    least_rows: int = param(400, ge=1, doc="minimum of a cohort's budget of different queries in a week")
    least_members: int = param(3, ge=2, doc="a cohort with fewer members is not judged")
    margin: float = param(
        2.0, ge=1.0, doc="factor between the largest cohort of the week before and a budget"
    )


class Collusion(Detector[Params]):
    """Principals that belong together send many queries that no single one of them shows.

    What it sees
        A cohort is a set of principals that share an address, a network (IPv4 /24, IPv6 /48), a user agent, the
        day of their first call, or a rhythm (the number of calls, and the mean time between them). All principals
        together are a cohort, too. For each cohort, the detector adds up the queries of its members in the window
        and the six days before it, beyond 1.5 times each member's busiest of the three weeks before.
    Method
        Pooled budget accounting against Sybil accounts (Douceur 2002): accounts that share a thief's work stay
        below their budgets, but their cohort does not. The largest member does not count, because `query_budget`
        judges single principals. The budget is `margin` times the largest cohort of the same kind a week earlier,
        and at least `least_rows`. An address or agent that many known clients share has no excess. The store
        counts the calls. For at most 200 cohorts, those with most calls, the detector then counts different
        feature vectors: equal ones count once, also of several members. Of cohorts with mostly the same members,
        one is judged. The cost grows with the number of combinations of principal, address and user agent.
    Blind spots
        Accounts with a long past that stay below 1.5 times their usual number of queries; a copy from fewer than
        `least_rows` queries a week; a cohort that less than doubles each week, from a small start; less than two
        weeks of history. The detector counts queries and does not judge their content.
    False alarms
        Several new customers at once, for example after a campaign or behind one integrator's user agent; a
        service whose clients get new names. From the second week on, this number is usual.
    Respond
        Check who registered the accounts in the evidence, and from where. Read their queries together: is each one
        about another customer? Lower the rate limit of the shared address or key owner before you talk to them.
    """

    id = "collusion"
    requires = Requires(STREAM, window="1d", history="28d")
    atlas = ("AML.T0024.002", "AML.T0005.001")
    playbook = "model-extraction"
    family = Family.USAGE
    stability = Stability.EXPERIMENTAL
    threshold = 1.0

    def score(self, window: Window) -> Iterator[Score]:
        weeks = _weeks(window)
        if weeks[2].is_empty():
            return
        now = excess(weeks[0], weeks[1:])
        usual = volumes(excess(weeks[1], weeks[2:])).filter(pl.col("members") >= self.params.least_members)
        largest = dict(usual.group_by("kind").agg(pl.col("volume").max()).iter_rows())
        found = volumes(now).filter(pl.col("members") >= self.params.least_members)
        least = float(self.params.least_rows)
        budgets = {kind: max(least, self.params.margin * largest.get(kind, 0.0)) for kind in KINDS}
        found = found.with_columns(budget=pl.col("kind").replace_strict(budgets, return_dtype=pl.Float64))
        found = found.sort("volume", "kind", "value", descending=[True, False, False]).head(_MOST_JUDGED)
        yield from self._scores(_different(found, now, window), now)

    def _scores(self, found: pl.DataFrame, now: pl.DataFrame) -> Iterator[Score]:
        """A score for each cohort; one that mostly repeats the members of a worse one has the score 0."""
        weight = {kind: _NARROWER**place for place, kind in enumerate(KINDS)}
        ratio = pl.min_horizontal("volume", "different") / pl.col("budget")
        found = found.with_columns(ratio=ratio, weight=pl.col("kind").replace_strict(weight))
        reported: set[str] = set()
        worst = pl.col("ratio") * pl.col("weight")
        for row in found.sort(worst, "weight", "value", descending=[True, True, False]).to_dicts():
            of_cohort = (pl.col("kind") == row["kind"]) & (pl.col("value") == row["value"])
            members = now.filter(of_cohort).sort("excess", "member", descending=[True, False])
            names = members["member"].to_list()
            again = sum(
                part
                for name, part in zip(names, members["excess"].to_list(), strict=True)
                if name in reported
            )
            repeated = again >= _SAME * sum(members["excess"].to_list())
            if row["ratio"] >= 1 and not repeated:
                reported.update(names)
            yield _score({**row, "ratio": 0.0 if repeated else row["ratio"], "names": names[:20]})


def _weeks(window: Window) -> list[pl.DataFrame]:
    """The calls of the seven days that end with the window, and of the three weeks before, newest first."""
    lately = window.before(max(WEEK - window.length, DAY))
    weeks = [pl.concat([weekly(window), weekly(lately)])]
    for _ in range(3):
        lately = lately.before(WEEK)
        weeks.append(weekly(lately))
    return weeks


def _different(found: pl.DataFrame, now: pl.DataFrame, window: Window) -> pl.DataFrame:
    """The cohorts with the number of different queries of their members in the week, where it matters.

    A call without a vector counts as a different query, because nothing shows whether it repeats another one.
    """
    near = found.filter(pl.col("volume") >= _NEAR * pl.col("budget"))
    members = now.join(near, on=["kind", "value"], how="semi").select("kind", "value", "member")
    if members.is_empty():
        return found.with_columns(different=pl.col("volume"))
    vector = pl.col(_VALUES)
    bare = vector.list.len().fill_null(0) == 0
    parts = (window, window.before(max(WEEK - window.length, DAY)))
    rows = pl.concat([part.scan(STREAM, [USER, _VALUES], KNOWN) for part in parts])
    calls = rows.group_by(USER).agg(
        vector.filter(~bare).hash(0).unique().alias("hash"), bare.sum().alias("bare")
    )
    sent = calls.collect()
    sent = sent.with_columns(member=pooled(sent[USER]))
    number = pl.col("hash").explode().drop_nulls().n_unique() + pl.col("bare").sum()
    each = members.join(sent, on="member", how="inner").group_by("kind", "value").agg(different=number)
    return found.join(each, on=["kind", "value"], how="left").with_columns(
        pl.col("different").fill_null(pl.col("volume"))
    )


def _score(row: dict[str, Any]) -> Score:
    queries = count(round(row["volume"]), "query", "queries")
    who = count(row["members"], "principal")
    tie = KINDS[row["kind"]].format(short(row["value"]))
    return Score(
        Subject("cohort", f"{row['kind']} {row['value']}".strip()),
        row["ratio"],
        reason=f"{who}{' that ' + tie if tie else ''} sent {queries} more than usual in 7 days; "
        f"the budget is {row['budget']:,.0f}",
        evidence={
            "kind": row["kind"],
            "members": row["members"],
            "names": row["names"],
            "queries beyond the members' past": round(row["volume"], 1),
            "different queries": round(row["different"]),
            "budget": round(row["budget"], 1),
        },
    )
