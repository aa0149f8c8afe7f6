"""Attempts to blind a detector: each changes the events of the attack, or adds events beside it.

The suspect controls every field of its own events, and can send events of other principals, models and resources. It does
not control the events of others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import NamedTuple

import numpy as np
import polars as pl

USER, MODEL, TIME, ID = "user.id", "tocsin.model.name", "@timestamp", "event.id"
NAMES, VALUES = "tocsin.features.names", "tocsin.features.values"
SCORE, CONFIDENCE, LABEL = "tocsin.output.score", "tocsin.output.confidence", "tocsin.output.label"
RESOURCE, ACTION, ADDRESS = "tocsin.resource.id", "event.action", "source.ip"
FLOOD = 5_000
#: How the ids of events begin that an attempt puts beside those of the attack.
BESIDE = "beside-"

Change = Callable[[pl.DataFrame], pl.DataFrame]


class Attempt(NamedTuple):
    """One attempt: its name, and what the attack's events become."""

    name: str
    change: Change


def inference(usual: pl.Series) -> Iterator[Attempt]:
    """Attempts on the stream `inference`; frames have the columns of `tests.generators.queries.calls`.

    Args:
        usual: vectors that honest callers send, which the suspect knows.
    """
    yield Attempt("names: another order", _reversed)
    yield Attempt("names: left out", _set(NAMES, None))
    yield Attempt("names: made up", lambda f: _named(f, lambda names: [f"q{i}" for i in range(len(names))]))
    yield Attempt(
        "names: other case and spaces", lambda f: _named(f, lambda ns: [f" {n.upper()} " for n in ns])
    )
    yield Attempt("names: zero-width characters", lambda f: _named(f, lambda ns: [f"{n}\u200b" for n in ns]))
    yield Attempt("names: the first one for all", lambda f: _named(f, lambda ns: [ns[0]] * len(ns)))
    yield Attempt("names: too few", _set(NAMES, "a,b"))
    yield Attempt("vectors: a constant dummy", lambda f: _padded(f, pl.lit(0.0)))
    yield Attempt(
        "vectors: a random dummy", lambda f: _padded(f, pl.Series(np.random.default_rng(0).random(len(f))))
    )
    yield Attempt("vectors: forms in turn", lambda f: _in_turn(f, [f, _reversed(f), _padded(f, pl.lit(0.0))]))
    yield Attempt("vectors: one feature left out", _without_last)
    yield Attempt("vectors: half of the features", lambda f: f.with_columns(pl.col(VALUES).list.head(3)))
    yield from (Attempt(f"decoys: {name}", decoy(usual)) for name, decoy in _DECOYS.items())
    yield Attempt(
        "vectors: left out", lambda f: f.with_columns(pl.lit(None, pl.List(pl.Float64)).alias(VALUES))
    )
    yield Attempt("vectors: empty", lambda f: f.with_columns(pl.lit([], pl.List(pl.Float64)).alias(VALUES)))
    yield Attempt("vectors: a missing value in turn", _with_gaps)
    yield Attempt("model: spelled in another way", _set(MODEL, "Credit "))
    yield Attempt("model: a made-up name", _set(MODEL, "credit-test"))
    yield Attempt("output: left out", _without_output)
    yield Attempt("output: not a number", lambda f: f.with_columns(_nan(SCORE), _nan(CONFIDENCE)))
    yield Attempt("labels: thousands", lambda f: _labels(f, [f"l{i}" for i in range(len(f))]))
    yield Attempt("labels: spelled in another way", lambda f: f.with_columns(pl.col(LABEL) + ".0"))
    yield Attempt("queries: each one three times", lambda f: _renumbered(pl.concat([f, f, f])))
    yield Attempt(
        "beside it: vectors of other lengths", lambda f: _beside(f, _vectors(lambda i: [1.0] * (i % 50)))
    )
    yield Attempt("beside it: huge values", lambda f: _beside(f, _vectors(lambda i: [1e308 * (-1) ** i] * 8)))
    yield Attempt("beside it: made-up models", lambda f: _beside(f, {MODEL: [f"m{i}" for i in range(FLOOD)]}))
    yield Attempt("beside it: names of a thousand features", lambda f: _beside(f, _wide()))


def principals() -> Iterator[Attempt]:
    """Attempts on the principal's name, on any stream."""
    yield Attempt("user: other case", lambda f: _users(f, [str.upper, str.lower, str.title]))
    yield Attempt("user: spaces", lambda f: _users(f, [lambda u: f"{u} ", lambda u: f" {u}", str]))
    yield Attempt("user: zero-width, 100 forms", lambda f: _users(f, [_hidden(k) for k in range(100)]))
    yield Attempt("user: letters that look alike", lambda f: _users(f, [_alike, str]))
    yield Attempt("user: full-width letters", lambda f: _users(f, [_wide_letters, str]))
    yield Attempt("user: left out", _set(USER, None))
    yield Attempt("user: empty", _set(USER, ""))
    yield Attempt("time: all at one moment", lambda f: f.with_columns(pl.col(TIME).min()))
    yield Attempt(
        "beside it: made-up principals", lambda f: _beside(f, {USER: [f"u{i}" for i in range(FLOOD)]})
    )


def accesses() -> Iterator[Attempt]:
    """Attempts on the stream `access`; frames have the columns of `tests.generators.accesses.session`."""
    yield Attempt("address: left out", _set(ADDRESS, None))
    yield Attempt("program: left out", _set("user_agent.original", None))
    yield Attempt(
        "program: a new one for each access", lambda f: _numbered(f, "user_agent.original", "agent")
    )
    yield Attempt("address: a new one for each access", _addresses)
    yield Attempt("action: left out", _set(ACTION, None))
    yield Attempt("action: capitals", lambda f: f.with_columns(pl.col(ACTION).str.to_uppercase()))
    yield Attempt("outcome: left out", _set("event.outcome", None))
    yield Attempt("outcome: all failures", _set("event.outcome", "failure"))
    yield Attempt("principal type: service", _set("tocsin.principal.type", "service"))
    yield Attempt("principal type: made up", _set("tocsin.principal.type", "x"))
    yield Attempt("resource: other case", lambda f: f.with_columns(pl.col(RESOURCE).str.to_uppercase()))
    yield Attempt("resource: spaces", lambda f: f.with_columns(pl.col(RESOURCE) + " "))
    yield Attempt("resource: zero-width", lambda f: f.with_columns(pl.col(RESOURCE) + "\u200b"))
    yield Attempt("accesses: each one three times", lambda f: _renumbered(pl.concat([f, f, f])))
    yield Attempt("beside it: made-up resources", lambda f: _beside(f, _resources("flooder")))
    yield Attempt("beside it: the suspect's made-up resources", lambda f: _beside(f, _resources(f[USER][0])))
    yield Attempt(
        "beside it: made-up addresses", lambda f: _beside(f, {ADDRESS: _made_up(FLOOD), USER: ["x"] * FLOOD})
    )
    yield Attempt("beside it: made-up actions", lambda f: _beside(f, _actions()))


def doubles() -> Iterator[Attempt]:
    """Attempts of a principal whose name looks like that of another one, on the stream `access`."""
    yield Attempt("double: another one for each access", lambda f: _users(f, [_hidden(k) for k in range(24)]))
    yield Attempt("double: combining marks", lambda f: _users(f, [lambda u: f"{u}\u0301\u0308"]))
    yield Attempt("double: a filler", lambda f: _users(f, [lambda u: f"{u}\u3164"]))
    yield Attempt("double: right to left", lambda f: _users(f, [lambda u: f"\u202e{u}\u202c"]))
    yield Attempt("double: of one access", lambda f: f.head(1))
    yield Attempt("beside it: the double of each made-up principal", lambda f: _beside(f, _pairs()))
    yield Attempt("beside it: doubles of others", lambda f: _beside(f, {USER: _others()}))


def _pairs() -> dict[str, list[str]]:
    return {USER: [f"u{i // 2}" + "\u200b" * (i % 2) for i in range(FLOOD)]}


def _others() -> list[str]:
    people = ("ben", "cem", "dia", "eli", "fay", "gus", "hal", "ida", "jon", "kim", "leo")
    return [people[i % 11] + "\u200b" * (1 + i // 11) for i in range(FLOOD)]


def _set(column: str, value: str | None) -> Change:
    return lambda frame: frame.with_columns(pl.lit(value, pl.String).alias(column))


def _nan(column: str) -> pl.Expr:
    return pl.lit(float("nan")).alias(column)


def _named(frame: pl.DataFrame, change: Callable[[list[str]], list[str]]) -> pl.DataFrame:
    names = change((frame[NAMES][0] or "").split(","))
    return frame.with_columns(pl.lit(",".join(names)).alias(NAMES))


def _reversed(frame: pl.DataFrame) -> pl.DataFrame:
    return _named(frame, lambda names: names[::-1]).with_columns(pl.col(VALUES).list.reverse())


def _padded(frame: pl.DataFrame, value: pl.Expr | pl.Series) -> pl.DataFrame:
    named = _named(frame, lambda names: [*names, "dummy"])
    return named.with_columns(pl.concat_list(VALUES, value).alias(VALUES))


Decoy = Callable[[pl.Series], Change]


def _behind(names: Callable[[int, int], str], few: int | None = None, front: bool = False) -> Decoy:
    """Usual values under the true names of the first `few` features (None: of all), the real ones under further names.

    Args:
        names: the further name of the feature at a place, in a call of this number.
        few: number of features that get usual values.
        front: whether the further names stand before the true ones.
    """

    def change(frame: pl.DataFrame, usual: pl.Series) -> pl.DataFrame:
        rows, features = [], []
        for call, (labels, real) in enumerate(zip(frame[NAMES], frame[VALUES].to_list(), strict=True)):
            length = len(real) if few is None else few
            shown = [*usual[call % len(usual)][:length], *real[length:]]
            known, further = labels.split(","), [names(call, place) for place in range(length)]
            pairs = [(known, shown), (further, real[:length])][:: -1 if front else 1]
            features.append(",".join(pairs[0][0] + pairs[1][0]))
            rows.append(pairs[0][1] + pairs[1][1])
        return frame.with_columns(
            pl.Series(NAMES, features), pl.Series(VALUES, rows, dtype=pl.List(pl.Float64))
        )

    return lambda usual: lambda frame: change(frame, usual)


def _first_only(decoy: Decoy) -> Decoy:
    """The same decoy with one usual vector in all calls."""
    return lambda usual: decoy(usual.head(1))


def _every_second(decoy: Decoy) -> Decoy:
    return lambda usual: lambda frame: _in_turn(frame, [frame, decoy(usual)(frame)])


_PLAIN = _behind(lambda _, place: f"x{place}")
_DECOYS: Mapping[str, Decoy] = {
    "usual values under the true names, the real ones behind": _PLAIN,
    "usual values under the true names, the real ones in front": _behind(lambda _, k: f"x{k}", front=True),
    "other further names in each call": _behind(lambda call, place: f"x{call}-{place}"),
    "one usual vector for all calls": _first_only(_PLAIN),
    "in every second call": _every_second(_PLAIN),
    "for three features": _behind(lambda _, place: f"x{place}", few=3),
    "for one feature": _behind(lambda _, place: f"x{place}", few=1),
}


def _without_last(frame: pl.DataFrame) -> pl.DataFrame:
    return _named(frame, lambda names: names[:-1]).with_columns(
        pl.col(VALUES).list.head(pl.col(VALUES).list.len() - 1)
    )


def _with_gaps(frame: pl.DataFrame) -> pl.DataFrame:
    rows = [[None if k == i % len(v) else x for k, x in enumerate(v)] for i, v in enumerate(frame[VALUES])]
    return frame.with_columns(pl.Series(VALUES, rows, dtype=pl.List(pl.Float64)))


def _without_output(frame: pl.DataFrame) -> pl.DataFrame:
    nothing = [pl.lit(None, frame.schema[c]).alias(c) for c in (SCORE, CONFIDENCE, LABEL)]
    return frame.with_columns(nothing)


def _labels(frame: pl.DataFrame, labels: list[str]) -> pl.DataFrame:
    return frame.with_columns(pl.Series(LABEL, labels))


def _in_turn(frame: pl.DataFrame, forms: list[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat([form.select(frame.columns)[k :: len(forms)] for k, form in enumerate(forms)])


def _users(frame: pl.DataFrame, forms: list[Callable[[str], str]]) -> pl.DataFrame:
    users = [forms[i % len(forms)](user) for i, user in enumerate(frame[USER])]
    return frame.with_columns(pl.Series(USER, users))


def _hidden(count: int) -> Callable[[str], str]:
    return lambda user: user + "\u200b" * count


def _alike(user: str) -> str:
    return user.translate(
        str.maketrans("aeiopcxyh", "\u0430\u0435\u0456\u043e\u0440\u0441\u0445\u0443\u04bb")
    )


def _wide_letters(user: str) -> str:
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in user)


def _numbered(frame: pl.DataFrame, column: str, word: str) -> pl.DataFrame:
    return frame.with_columns(pl.Series(column, [f"{word}/{i}" for i in range(len(frame))]))


def _made_up(count: int) -> list[str]:
    return [f"198.51.{i // 250 % 250}.{i % 250}" for i in range(count)]


def _addresses(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.Series(ADDRESS, _made_up(len(frame))))


def _resources(user: str) -> dict[str, list[str]]:
    return {USER: [user] * FLOOD, RESOURCE: [f"made-up-{i}" for i in range(FLOOD)]}


def _actions() -> dict[str, list[str]]:
    return {USER: [f"u{i % 50}" for i in range(FLOOD)], ACTION: [f"a{i}" for i in range(FLOOD)]}


def _vectors(value: Callable[[int], list[float]]) -> dict[str, list[object]]:
    return {USER: ["other"] * FLOOD, VALUES: [value(i) for i in range(FLOOD)]}


def _wide() -> dict[str, list[object]]:
    names = ",".join(f"c{k}" for k in range(1000))
    return {USER: ["other"] * 300, NAMES: [names] * 300, VALUES: [[float(i)] * 1000 for i in range(300)]}


def _beside(frame: pl.DataFrame, columns: Mapping[str, Sequence[object]]) -> pl.DataFrame:
    """The attack, and events beside it: like its first event but for these columns, over the attack's time."""
    count = len(next(iter(columns.values())))
    begin = frame[TIME][0]
    rows = pl.concat([frame.head(1)] * count)
    rows = rows.with_columns(
        [pl.Series(name, values, dtype=frame.schema[name]) for name, values in columns.items()]
    )
    times = pl.Series(
        TIME, [begin + timedelta(milliseconds=500 * i) for i in range(count)], dtype=frame.schema[TIME]
    )
    rows = rows.with_columns(times, pl.Series(ID, [f"{BESIDE}{i}" for i in range(count)]))
    return pl.concat([frame, rows])


def _renumbered(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.Series(ID, [f"again-{i}" for i in range(len(frame))]))
