"""Cohorts of principals: those that share an address, a network, a user agent, the day of their first call, or a rhythm."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import polars as pl

from tocsin.contract.query import COUNT, Condition, Measure, Where
from tocsin.contract.streams import TIME
from tocsin.contract.windows import Window
from tocsin_detectors._different import NAMES, VALUES, is_bare, query
from tocsin_detectors._spelling import NOBODY, is_disguised, pooled

STREAM = "inference"
USER, MODEL = "user.id", "tocsin.model.name"
ADDRESS, AGENT = "source.ip", "user_agent.original"
WEEK, DAY = timedelta(days=7), timedelta(days=1)
KNOWN = (Condition(MODEL, "not_null"),)
#: The kinds of cohort, the most specific first, with the words of a finding.
KINDS = {
    "address": "share the address {}",
    "network": "share the network {}",
    "agent": "share the user agent {}",
    "first day": "made their first call on {}",
    "rhythm": "have the same rhythm ({})",
    "everyone": "",
}
_MEASURES = (COUNT, Measure("first", "min", TIME), Measure("last", "max", TIME))
#: The parts of an IPv4 address (/24) and of an IPv6 address (/48) that name a network.
_NETWORKS = (r"^(\d+\.\d+\.\d+)\.\d+$", r"^([0-9a-fA-F]+:[0-9a-fA-F]+:[0-9a-fA-F]+):")
#: More calls than this multiple of a principal's busiest week before are its excess.
GROWTH = 1.5
#: Calls of four weeks whose vectors are read, those of the principals with the fewest calls first.
_MOST_READ = 1_000_000
#: A condition names at most so many principals; of more, all calls are read.
_MOST_NAMED = 10_000


def weekly(window: Window) -> pl.DataFrame:
    """Calls of a window by principal, address and agent.

    With the pooled name (`member`) and the name that has a past (`known`): a disguised name has its own, other spellings
    share one, because programs change case and spaces.
    """
    counts = window.summary(STREAM, [USER, ADDRESS, AGENT], _MEASURES, KNOWN)
    names = counts[USER].drop_nulls().unique()
    disguised = names.filter(pl.Series([is_disguised(name) for name in names], dtype=pl.Boolean))
    own = pl.when(pl.col(USER).is_in(disguised.implode())).then(USER)
    return counts.with_columns(member=pooled(counts[USER])).with_columns(known=pl.coalesce(own, "member"))


def different(weeks: Sequence[Sequence[Window]]) -> list[pl.DataFrame]:
    """The different queries of some weeks by principal, address and agent; of a repeated query, each has its share.

    A week is given by its windows. Principals with many calls, of more than `_MOST_READ` calls in all, count in full: their
    vectors are not read.
    """
    calls = [pl.concat([weekly(part) for part in week]) for week in weeks]
    total = pl.concat(calls).group_by(USER).agg(pl.col("count").sum()).sort("count", USER)
    read = total.filter(pl.col("count").cum_sum() <= _MOST_READ)[USER]
    named = len(read) <= _MOST_NAMED and read.null_count() == 0
    where = (*KNOWN, *([Condition(USER, "in", read.to_list())] if named else ()))
    return [_without_repeats(*pair, read, where) for pair in zip(calls, weeks, strict=True)]


def _without_repeats(
    calls: pl.DataFrame, week: Sequence[Window], read: pl.Series, where: Where
) -> pl.DataFrame:
    rows = pl.concat([part.scan(STREAM, [USER, NAMES, VALUES], where) for part in week])
    sent = rows.group_by(USER).agg(rows=query().filter(~is_bare()).n_unique() + is_bare().sum()).collect()
    sent = sent.filter(pl.col(USER).is_in(read.implode(), nulls_equal=True))
    found = calls.join(sent, on=USER, how="left", nulls_equal=True)
    share = (pl.col("rows") / pl.col("count").sum().over(USER)).fill_null(1.0).clip(0, 1)
    return found.with_columns(calls=pl.col("count"), count=pl.col("count") * share).drop("rows")


def excess(now: pl.DataFrame, earlier: list[pl.DataFrame]) -> pl.DataFrame:
    """The queries of a week beyond each principal's own past, one row for each member and each value of its cohorts.

    A disguised name that the past lacks has no past: a double does not inherit what the principal may send.

    A principal that calls from several addresses belongs to the cohort of each, with the queries that it sent there.

    Returns:
        `kind`, `value`, `member`, and its `excess` there.
    """
    usual = _busiest(earlier, "member")
    members = now.group_by("member").agg(
        pl.col("count", "calls").sum(), pl.col("first").min(), pl.col("last").max()
    )
    beyond = _beyond(now, earlier, "known").group_by("member").agg(pl.col("beyond").sum())
    pool = _beyond(now, earlier, "member").rename({"beyond": "pool"})
    members = members.join(usual, on="member", how="left").join(beyond, on="member").join(pool, on="member")
    share = pl.max_horizontal("beyond", "pool") / pl.col("count")
    members = members.with_columns(
        is_new=pl.col("usual").is_null(), share=share.fill_nan(0).clip(0, 1), rhythm=_rhythm()
    )
    grown = members.filter(pl.col("share") > 0)
    calls = now.join(grown.select("member", "share"), on="member").with_columns(
        excess=pl.col("count") * pl.col("share")
    )
    whole = grown.with_columns(excess=pl.col("count") * pl.col("share"))
    network = pl.coalesce(pl.col(ADDRESS).str.extract(pattern) for pattern in _NETWORKS)
    parts = [
        _of(calls, "address", pl.col(ADDRESS)),
        _of(calls, "network", network),
        _of(calls, "agent", pl.col(AGENT)),
        _of(whole.filter("is_new"), "first day", pl.col("first").dt.strftime("%Y-%m-%d")),
        _of(whole, "rhythm", pl.col("rhythm")),
        _of(whole, "everyone", pl.lit("")),
    ]
    return pl.concat(parts)


def _busiest(weeks: list[pl.DataFrame], by: str) -> pl.DataFrame:
    every = [week.group_by(by).agg(pl.col("count").sum()) for week in weeks]
    return pl.concat(every).group_by(by).agg(usual=pl.col("count").max())


def _beyond(now: pl.DataFrame, earlier: list[pl.DataFrame], by: str) -> pl.DataFrame:
    """Queries of each member, or of each of its names, beyond its own past (`beyond`)."""
    sent = now.group_by(list(dict.fromkeys((by, "member")))).agg(pl.col("count").sum())
    sent = sent.join(_busiest(earlier, by), on=by, how="left")
    return sent.select(
        "member", beyond=(pl.col("count") - GROWTH * pl.col("usual").fill_null(0)).clip(lower_bound=0)
    )


def _rhythm() -> pl.Expr:
    """The mean time between calls and the number of calls, both to the nearest power of two."""
    seconds = (pl.col("last") - pl.col("first")).dt.total_seconds() / (pl.col("calls") - 1).clip(1)
    gap, number = (part.clip(1).log(2).round().cast(pl.Int64) for part in (seconds, pl.col("calls")))
    words = pl.format("about {} calls, {} s apart", pl.lit(2).pow(number), pl.lit(2).pow(gap))
    return pl.when(pl.col("calls") >= _FEWEST).then(words)


#: The rhythm of fewer calls is chance.
_FEWEST = 8


def _of(rows: pl.DataFrame, kind: str, value: pl.Expr) -> pl.DataFrame:
    named = rows.select(pl.lit(kind).alias("kind"), value.alias("value"), "member", "excess")
    named = named.filter(pl.col("value").is_not_null())
    return named.group_by("kind", "value", "member").agg(pl.col("excess").sum())


def volumes(excesses: pl.DataFrame) -> pl.DataFrame:
    """The excess of each cohort without its largest member: what no single principal's budget shows.

    Calls without a principal are no single principal, so they count.
    """
    largest = pl.col("excess").filter(pl.col("member") != NOBODY).max().fill_null(0)
    return excesses.group_by("kind", "value").agg(members=pl.len(), volume=pl.col("excess").sum() - largest)
