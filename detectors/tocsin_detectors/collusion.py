"""Principals that belong together send many queries that no single one of them shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from tocsin import Detector, Family, Requires, Score, Stability, Subject, Window, param
from tocsin.contract.aspects import not_judged
from tocsin.words import count, short
from tocsin_detectors._cohorts import (
    DAY,
    GROWTH,
    KINDS,
    KNOWN,
    STREAM,
    USER,
    WEEK,
    different,
    excess,
    volumes,
)
from tocsin_detectors._different import NAMES, VALUES, is_bare, query
from tocsin_detectors._spelling import NOBODY, pooled

#: Cohorts that are judged in a window: those with most excess calls.
_MOST_JUDGED = 200
#: Different queries are counted only for cohorts whose calls reach this share of their budget.
_NEAR = 0.5
#: Of a cohort with at least this share of its excess by members that a worse finding names, the other members are judged.
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
        A cohort is a set of principals that share an address, a network (IPv4 /24, IPv6 /48), a user agent, the day
        of their first call, or a rhythm (the number of calls, and the mean time between them). All principals
        together are a cohort, too. For each cohort, the detector adds up the queries of its members in the window and
        the six days before it, beyond 1.5 times each member's busiest of the three weeks before. Queries that a
        principal repeats count once in each week, and a disguised name (with invisible or look-alike letters) does
        not share the past of the name that it looks like. Calls without a principal count in each cohort; if there
        are only such calls, a separate finding says so.
    Method
        Pooled budget accounting against Sybil accounts (Douceur 2002): accounts that share a thief's work stay below
        their budgets, but their cohort does not. The largest member does not count, because `query_budget` judges
        single principals. The budget is `margin` times the largest cohort of the same kind a week earlier, and at
        least `least_rows`. An address or agent that many known clients share has no excess. The store counts the
        calls. Feature vectors are read for at most 1,000,000 calls of the four weeks, those of the principals with
        the fewest calls first; the calls of the others count in full. For at most 200 cohorts, those with most
        queries, equal ones of several members count once, too. Of cohorts with mostly the same members, one is
        judged; if a worse finding names most of a cohort, its other members are judged. The cost grows linearly with
        the calls of the four weeks and with the combinations of principal, address and user agent.
    Blind spots
        Accounts with a long past that stay below 1.5 times their usual number of different queries; a copy from fewer
        than `least_rows` queries a week; a cohort that less than doubles each week, from a small start; less than two
        weeks of history. The detector counts queries and does not judge their content.
    False alarms
        Several new customers at once, for example after a campaign or behind one integrator's user agent; a service
        whose clients get new names. From the second week on, this number is usual.
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
        spans = _weeks(window)
        weeks = different(spans)
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
        yield from self._scores(_different(found, now, spans[0]), now)
        yield from _nameless(weeks, budgets["everyone"])

    def _scores(self, found: pl.DataFrame, now: pl.DataFrame) -> Iterator[Score]:
        """A score for each cohort; one that mostly repeats the members of worse ones has the score of the others."""
        weight = {kind: _NARROWER**place for place, kind in enumerate(KINDS)}
        ratio = pl.min_horizontal("volume", "different") / pl.col("budget")
        found = found.with_columns(ratio=ratio, weight=pl.col("kind").replace_strict(weight))
        reported: set[str] = set()
        worst = pl.col("ratio") * pl.col("weight")
        for row in found.sort(worst, "weight", "value", descending=[True, True, False]).to_dicts():
            of_cohort = (pl.col("kind") == row["kind"]) & (pl.col("value") == row["value"])
            members = now.filter(of_cohort).sort("excess", "member", descending=[True, False])
            names = members["member"].to_list()
            rest = members.filter(~pl.col("member").is_in(reported))
            if float(rest["excess"].sum()) <= (1 - _SAME) * float(members["excess"].sum()):
                # a louder finding about some of the members must not hide the others
                row.update(self._of_rest(rest, row))
                names = rest["member"].to_list() or names
            if row["ratio"] >= 1:
                reported.update(names)
            row["names"] = names[:20]
            yield _score(row)

    def _of_rest(self, rest: pl.DataFrame, row: Mapping[str, Any]) -> dict[str, Any]:
        """Members, volume and ratio of those that no worse finding names; the ratio is 0 if they are too few."""
        if len(rest) < self.params.least_members:
            return {"ratio": 0.0}
        volume = float(volumes(rest)["volume"][0])
        return {
            "members": len(rest),
            "volume": volume,
            "ratio": min(volume, float(row["different"])) / row["budget"],
        }


def _weeks(window: Window) -> list[tuple[Window, ...]]:
    """The windows of the seven days that end with the window, and of the three weeks before, newest first."""
    lately = window.before(max(WEEK - window.length, DAY))
    weeks: list[tuple[Window, ...]] = [(window, lately)]
    for _ in range(3):
        lately = lately.before(WEEK)
        weeks.append((lately,))
    return weeks


def _nameless(weeks: list[pl.DataFrame], budget: float) -> Iterator[Score]:
    """Calls without a principal: nothing shows how many principals they are of."""
    now, *earlier = (week.filter(pl.col("member") == NOBODY) for week in weeks)
    usual = GROWTH * max(float(week["count"].sum()) for week in earlier)
    sent = float(now["count"].sum())
    if sent - usual >= budget:
        reason = f"{count(round(sent), 'query', 'queries')} without a principal in 7 days"
        yield not_judged(Subject("cohort", NOBODY), "no principal", reason, round(sent), usual)


def _different(found: pl.DataFrame, now: pl.DataFrame, week: Sequence[Window]) -> pl.DataFrame:
    """The cohorts with the number of different queries of their members in the week, where it matters.

    A call without a vector counts as a different query, because nothing shows whether it repeats another one.
    """
    near = found.filter(pl.col("volume") >= _NEAR * pl.col("budget"))
    members = now.join(near, on=["kind", "value"], how="semi").select("kind", "value", "member")
    if members.is_empty():
        return found.with_columns(different=pl.col("volume"))
    rows = pl.concat([part.scan(STREAM, [USER, NAMES, VALUES], KNOWN) for part in week])
    calls = rows.group_by(USER).agg(
        query().filter(~is_bare()).unique().alias("hash"), is_bare().sum().alias("bare")
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
