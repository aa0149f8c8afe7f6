"""Cohorts of principals: those that share an address, a network, a user agent, the day of their first call, or a rhythm."""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from tocsin.contract.query import COUNT, Condition, Measure
from tocsin.contract.streams import TIME
from tocsin.contract.windows import Window
from tocsin_detectors._spelling import pooled

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
_GROWTH = 1.5


def weekly(window: Window) -> pl.DataFrame:
    """Calls of a window by principal, address and agent, with the pooled name (`member`)."""
    counts = window.summary(STREAM, [USER, ADDRESS, AGENT], _MEASURES, KNOWN)
    return counts.with_columns(member=pooled(counts[USER]))


def excess(now: pl.DataFrame, earlier: list[pl.DataFrame]) -> pl.DataFrame:
    """The calls of a week beyond each principal's own past, one row for each member and each value of its cohorts.

    A principal that calls from several addresses belongs to the cohort of each, with the calls that it made there.

    Returns:
        `kind`, `value`, `member`, and its `excess` there.
    """
    every = [week.group_by("member").agg(pl.col("count").sum()) for week in earlier]
    usual = pl.concat(every).group_by("member").agg(usual=pl.col("count").max())
    members = now.group_by("member").agg(pl.col("count").sum(), pl.col("first").min(), pl.col("last").max())
    members = members.join(usual, on="member", how="left").with_columns(
        is_new=pl.col("usual").is_null(),
        share=(1 - _GROWTH * pl.col("usual").fill_null(0) / pl.col("count")).clip(0, 1),
        rhythm=_rhythm(),
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


def _rhythm() -> pl.Expr:
    """The mean time between calls and the number of calls, both to the nearest power of two."""
    seconds = (pl.col("last") - pl.col("first")).dt.total_seconds() / (pl.col("count") - 1).clip(1)
    gap, number = (part.clip(1).log(2).round().cast(pl.Int64) for part in (seconds, pl.col("count")))
    words = pl.format("about {} calls, {} s apart", pl.lit(2).pow(number), pl.lit(2).pow(gap))
    return pl.when(pl.col("count") >= _FEWEST).then(words)


#: The rhythm of fewer calls is chance.
_FEWEST = 8


def _of(rows: pl.DataFrame, kind: str, value: pl.Expr) -> pl.DataFrame:
    named = rows.select(pl.lit(kind).alias("kind"), value.alias("value"), "member", "excess")
    named = named.filter(pl.col("value").is_not_null())
    return named.group_by("kind", "value", "member").agg(pl.col("excess").sum())


def volumes(excesses: pl.DataFrame) -> pl.DataFrame:
    """The excess of each cohort without its largest member: what no single principal's budget shows."""
    return excesses.group_by("kind", "value").agg(
        members=pl.len(), volume=pl.col("excess").sum() - pl.col("excess").max()
    )
