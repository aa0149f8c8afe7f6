"""Who sent what changed: a few callers, new callers, one address, or all callers alike."""

from __future__ import annotations

import math
from collections.abc import Iterator

import polars as pl

from tocsin.contract.verdict import Clue, Verdict
from tocsin.stats.attribution import Attribution, Group, attribute
from tocsin.words import count, listed, short
from tocsin_detectors._spelling import NOBODY, pooled

USER, KEY, ADDRESS = "user.id", "tocsin.api_key.hash", "source.ip"
VALUE = "value"
_LEAST = 20  # rows of a group of its own; smaller callers are pooled
_MANY = 5  # groups from which one that stands out is a strong clue
_TRUE = 0.5  # of the spread of all rows: few rows may seem to have a smaller spread than they have
_SHARES = 0.25  # of the change: what may remain if only the callers' shares changed
_OTHERS, _NEW = "(other callers)", "(new callers)"


def clues(now: pl.DataFrame, before: pl.DataFrame, usual: float) -> Iterator[Clue]:
    """Clues from the callers of a window.

    Args:
        now: the calls, with `USER`, `KEY`, `ADDRESS` and the number `VALUE`, which is higher the more a call looks
            like what changed.
        before: calls of earlier windows without the change, in the same form.
        usual: the mean of `VALUE` in the baseline.
    """
    alike, few = [], False
    for kind, one, many in (("caller", USER, "callers"), ("address", ADDRESS, "addresses")):
        groups = _groups(_named(now, one), _named(before, one), usual)
        found = attribute(groups)
        if any(group.name == _OTHERS for group in found.few):
            continue  # small callers have nothing in common
        if found.few and not few:
            few = True
            yield from _few(found, len(groups), kind, many)
        elif found.alike:
            alike.append(f"the {count(len(groups), kind, many)} changed alike")
        if kind == "caller" and not found.few and _only_shares(groups, now, usual):
            words = "each caller sends what it used to, in other shares of the calls"
            yield Clue(Verdict.DRIFT, 1.5, words)
    if alike and not few:
        yield Clue(Verdict.ATTACK, -0.5, alike[0])


def _named(rows: pl.DataFrame, column: str) -> pl.DataFrame:
    """The name of each call's group, and its value. All spellings of a name are one group."""
    names = pl.coalesce(USER, KEY) if column == USER else pl.col(column)
    found = rows.select(name=names.cast(pl.String), value=VALUE)
    return found.with_columns(name=pooled(found["name"]))


def _means(rows: pl.DataFrame) -> dict[str, tuple[int, float, float]]:
    """Rows, mean and standard error by name."""
    value = pl.col("value")
    table = rows.group_by("name").agg(pl.len(), value.mean().alias("mean"), value.std().fill_null(0.0))
    return {name: (n, mean, spread / math.sqrt(n)) for name, n, mean, spread in table.iter_rows()}


def _groups(now: pl.DataFrame, before: pl.DataFrame, usual: float) -> list[Group]:
    """Callers with enough rows, the other ones together, and the new ones together, sorted by name."""
    known = set(before["name"].unique())
    sizes = dict(now["name"].value_counts().iter_rows())

    def group_of(name: str) -> str:
        if known and name not in known and name != NOBODY:
            return _NEW
        return name if sizes[name] >= _LEAST else _OTHERS

    names = {name: group_of(name) for name in sizes}
    own = _means(now.with_columns(pl.col("name").replace_strict(names)))
    past = before.with_columns(pl.col("name").replace_strict(names, default=_OTHERS))
    habits = {n: h for n, h in _means(past).items() if h[0] >= _LEAST} if len(past) else {}
    typical = float(before["value"].mean() or usual) if len(before) >= _LEAST else usual  # type: ignore[arg-type]
    spread = float(now["value"].std() or 0.0)  # type: ignore[arg-type]
    groups = []
    for name, (rows, mean, error) in sorted(own.items()):
        _, habit, doubt = habits.get(name, (0, typical, 0.0))
        groups.append(Group(name, rows, mean, max(error, _TRUE * spread / math.sqrt(rows)), habit, doubt))
    return groups


def _few(found: Attribution, groups: int, kind: str, many: str) -> Iterator[Clue]:
    names = listed([short(group.name, 24) for group in found.few], 2)
    words = f"it concentrates in {names}, of {count(groups, kind, many)}"
    weight = 3.0 if groups >= _MANY else 2.0
    yield Clue(Verdict.ATTACK, weight, words)
    yield Clue(Verdict.PIPELINE_CHANGE, -3.0, words)
    yield Clue(Verdict.CALENDAR, -3.0, words)
    yield Clue(Verdict.DRIFT, -1.0, words)


def _only_shares(groups: list[Group], now: pl.DataFrame, usual: float) -> bool:
    """Whether the callers' own rows did not change, so that only their numbers explain the change."""
    known = [group for group in groups if group.usual_error > 0]
    if len(known) < 3 or sum(g.rows for g in known) < 0.9 * len(now):
        return False
    within = sum(g.rows * g.change for g in known) / sum(g.rows for g in known)
    return abs(within) < _SHARES * (float(now[VALUE].mean()) - usual)  # type: ignore[arg-type]
