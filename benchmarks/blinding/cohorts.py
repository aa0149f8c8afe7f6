"""Attempts to blind `collusion`: accounts of one thief that hide what they have in common, or that they are many."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

import numpy as np
import polars as pl

from benchmarks.blinding.attempts import (
    ADDRESS,
    BESIDE,
    CONFIDENCE,
    ID,
    LABEL,
    NAMES,
    SCORE,
    TIME,
    USER,
    VALUES,
    Attempt,
    Change,
)
from tests.generators import queries, sybils

AGENT = "user_agent.original"
#: The day of the attack; the six days before it belong to its week, too.
DAY, WEEK = 34, 7
ACCOUNTS, EACH = 50, 40


def calls(day: int, days: int, accounts: int = 0, each: int = 0) -> pl.DataFrame:
    """`sybils.calls` with named features of a credit model, and its answers."""
    frame = sybils.calls(day, days, accounts, each)
    vectors = queries.applicants(len(frame), seed=day)
    score = 1 / (1 + np.exp(vectors[:, 5]))
    return frame.with_columns(
        pl.lit(",".join(f"f{i}" for i in range(queries.FEATURES))).alias(NAMES),
        pl.Series(VALUES, vectors.tolist()),
        pl.Series(LABEL, [str(int(s > 0.5)) for s in score]),
        pl.Series(SCORE, score),
        pl.Series(CONFIDENCE, np.maximum(score, 1 - score)),
    )


def attempts() -> Iterator[Attempt]:
    """The attempts that only accounts of one thief can make; the attack is that of `calls`."""
    yield Attempt("accounts: one for each query", _renamed(lambda i: f"a{i}"))
    yield Attempt("accounts: one for every third query", _renamed(lambda i: f"a{i // 3}"))
    yield Attempt("accounts: three", _renamed(lambda i: f"a{i % 3}"))
    yield Attempt("accounts: doubles of the clients", _renamed(_double))
    yield Attempt("accounts: clients' names in capitals", _renamed(lambda i: f"CLIENT-{i % 8}"))
    yield Attempt("accounts: every second query without a name", _renamed(lambda i: f"a{i}" if i % 2 else ""))
    yield Attempt("accounts: renamed each day", lambda f: _renamed(_daily)(_over(WEEK)(f)))
    yield Attempt("pace: over seven days", _over(WEEK))
    yield Attempt("pace: across midnight", _over(2))
    yield Attempt("pace: at random, in all sizes", _irregular)
    yield from (Attempt(f"ties: {name}", change) for name, change in _TIES.items())
    yield Attempt("vectors: all values missing", _vectors(lambda v, _: [None] * len(v)))
    yield Attempt("vectors: not a number", _vectors(lambda v, _: [float("nan")] * len(v)))
    yield Attempt("vectors: every second value missing", _vectors(lambda v, _: [v[0], None, None, None]))
    yield Attempt("vectors: ones, the values in the names", _in_names)
    yield Attempt("beside it: an odd row of each account", lambda f: _with(f, _odd(f)))
    yield Attempt("beside it: louder groups that repeat one query", lambda f: _with(f, _groups(f)))
    yield Attempt(
        "beside it: three louder accounts, also behind the same address",
        lambda f: _with(_irregular(f), _loud(f)),
    )
    yield Attempt("a week before: other accounts repeat one query", lambda f: _with(f, _earlier(f, "other")))
    yield Attempt("a week before: the accounts repeat one query", lambda f: _with(f, _earlier(f, "")))
    yield Attempt("a week before: the accounts send the same queries", lambda f: _with(f, _backdated(f)))


def _renamed(name: Callable[[int], str]) -> Change:
    return lambda f: f.with_columns(pl.Series(USER, [name(i) or None for i in range(len(f))]))


def _double(call: int) -> str:
    return f"client-{call % 8}" + "\u200b" * (1 + call // 8 % 5)


def _daily(call: int) -> str:
    return f"a{call // WEEK % ACCOUNTS}-{call % WEEK}"


def _over(days: int) -> Change:
    """The calls spread over the days that end with the day of the attack."""
    return lambda f: f.with_columns(
        pl.col(TIME) - pl.duration(days=pl.int_range(pl.len()) % days)  # each account calls on each day
    )


def _irregular(frame: pl.DataFrame) -> pl.DataFrame:
    rng = np.random.default_rng(3)
    shares = rng.dirichlet(np.full(ACCOUNTS, 2.0))
    users = [f"a{k}" for k in rng.choice(ACCOUNTS, len(frame), p=shares)]
    times = pl.Series([timedelta(seconds=int(s)) for s in rng.integers(0, 86_400, len(frame))])
    return frame.with_columns(pl.Series(USER, users), (pl.col(TIME).dt.truncate("1d") + times).alias(TIME))


def _address(form: str) -> Change:
    """Addresses by a format with the number `a` of the account and `i` of the call."""
    return lambda f: f.with_columns(_formatted(f, ADDRESS, form))


def _agent(form: str) -> Change:
    return lambda f: f.with_columns(_formatted(f, AGENT, form))


def _formatted(frame: pl.DataFrame, column: str, form: str) -> pl.Series:
    accounts = {user: k for k, user in enumerate(frame[USER].unique().sort())}
    values = [form.format(a=accounts[user], i=i % 250) for i, user in enumerate(frame[USER])]
    return pl.Series(column, [value or None for value in values], dtype=pl.String)


def _both(address: str, agent: str) -> Change:
    return lambda f: _agent(agent)(_address(address)(f))


def _first_days(frame: pl.DataFrame) -> pl.DataFrame:
    """One call of each account on another day of the week, and nothing else in common."""
    alone = _both("10.{a}.0.1", "agent-{a}")(frame)
    first = alone.unique(USER, keep="first", maintain_order=True)
    return _with(alone, first.with_columns(pl.col(TIME) - pl.duration(days=1 + pl.int_range(pl.len()) % 6)))


_TIES = {
    "no address": _address(""),
    "no user agent": _agent(""),
    "neither": _both("", ""),
    "an address each": _address("10.0.0.{a}"),
    "a network each": _address("10.{a}.0.1"),
    "an address for each call": _address("10.{a}.{i}.1"),
    "IPv6 addresses of one network": _address("2001:db8:1::{a:x}"),
    "an IPv6 network each": _address("2001:db8:{a:x}::1"),
    "a user agent each": _agent("agent-{a}"),
    "a user agent for each call": _agent("agent-{a}-{i}"),
    "a network and a user agent each": _both("10.{a}.0.1", "agent-{a}"),
    "first calls on other days": _first_days,
    "none, at random": lambda f: _both("10.{a}.0.1", "agent-{a}")(_irregular(f)),
    "none, at random, over seven days": lambda f: _over(WEEK)(
        _both("10.{a}.0.1", "agent-{a}")(_irregular(f))
    ),
}


def _vectors(change: Callable[[list[float], int], list[float | None]]) -> Change:
    return lambda f: f.with_columns(
        pl.Series(
            VALUES, [change(v, i) for i, v in enumerate(f[VALUES].to_list())], dtype=pl.List(pl.Float64)
        )
    )


def _in_names(frame: pl.DataFrame) -> pl.DataFrame:
    """Features such as `f0=52000`, as one-hot encoders name them; all values are 1."""
    names = [",".join(f"f{k}={x}" for k, x in enumerate(v)) for v in frame[VALUES].to_list()]
    return _vectors(lambda v, _: [1.0] * len(v))(frame).with_columns(pl.Series(NAMES, names))


def _with(frame: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    rows = rows.select(frame.columns).with_columns(pl.Series(ID, [f"{BESIDE}{i}" for i in range(len(rows))]))
    return pl.concat([frame, rows])


def _odd(frame: pl.DataFrame) -> pl.DataFrame:
    return _vectors(lambda v, i: [1e300 * (-1) ** i] * len(v))(frame.unique(USER, maintain_order=True))


def _one_query(frame: pl.DataFrame) -> pl.DataFrame:
    values = frame[VALUES].to_list()[0]
    return _vectors(lambda *_: values)(frame)


def _groups(frame: pl.DataFrame) -> pl.DataFrame:
    """210 groups of three accounts behind one address each; 20 of them call more often than the attack does."""
    rows = _one_query(pl.concat([frame] * 24))
    group = [min(i // 2200, 19) if i < 44_000 else 20 + i % 190 for i in range(len(rows))]
    return rows.with_columns(
        pl.Series(USER, [f"loud-{g}-{i % 3}" for i, g in enumerate(group)]),
        pl.Series(ADDRESS, [f"10.{g}.0.1" for g in group]),
        pl.Series(AGENT, [f"agent-{g}" for g in group]),
    )


def _loud(frame: pl.DataFrame) -> pl.DataFrame:
    """Three accounts with eleven times as many different queries as the attack: as many as it behind its address."""
    rows = pl.concat([frame] * 11).with_columns(pl.col(VALUES).list.eval(pl.element() + 0.5))
    rows = _vectors(lambda v, i: [*v[:-1], float(i)])(rows)
    away = pl.when(pl.int_range(pl.len()) % 11 > 0)
    return rows.with_columns(
        pl.Series(USER, [f"loud-{i % 3}" for i in range(len(rows))]),
        away.then(pl.lit("10.9.9.9")).otherwise(pl.col(ADDRESS)).alias(ADDRESS),
        away.then(pl.lit("loud")).otherwise(pl.col(AGENT)).alias(AGENT),
    )


def _earlier(frame: pl.DataFrame, prefix: str) -> pl.DataFrame:
    return _one_query(frame).with_columns(
        pl.lit(prefix) + pl.col(USER), pl.col(TIME) - pl.duration(days=WEEK + 2)
    )


def _backdated(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.col(TIME) - pl.duration(days=WEEK + 2))
