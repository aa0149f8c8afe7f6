"""Dangerous actions as hits: what a principal did that is dangerous whoever does it, and what its history says about it.

Without a history the points are those of `_access_dangers`. With one, an action that is the principal's habit has no points,
and an action that neither the principal nor its pool does has half a point more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from tocsin.clock import format_time
from tocsin.contract.columns import UNMAPPED
from tocsin.contract.query import Condition
from tocsin.contract.windows import Window
from tocsin.words import count, short
from tocsin_detectors._access_dangers import Danger, conditional, danger, dangerous, fulfilled, listed
from tocsin_detectors._access_habits import windows_of
from tocsin_detectors._access_log import Log, Session
from tocsin_detectors._access_points import DANGER, Hit
from tocsin_detectors._access_rows import COLUMNS, named

#: Maximum thresholds of each further consequence: what builds has many small ones, what takes over has a large one.
FURTHER = 0.25
#: Different actions that a principal was refused in a window, from which it is searching for rights.
REFUSED = 4
#: Points more for an action that neither a principal with a history nor others of its pool did before.
NEVER = 0.5
#: Points less for what failed for another reason than a lack of rights.
FAILED = 0.5
#: Points less for opening, or giving rights to, only what the principal created in the window: nothing of others is in it.
EMPTY = 1.0
#: Most points of access for an account that the principal created in the window: no more than for creating it.
ONBOARDING = 1.0
ACCOUNTS = frozenset({"CreateLoginProfile", "CreateAccessKey", "AddUserToGroup"})
#: Windows of a vetted history in which a principal did an action, from which the action is its habit.
HABIT = 2
#: Other principals, and their windows, from which an action is a custom of a pool.
OTHERS, WINDOWS = 2, 3


@dataclass(frozen=True, slots=True)
class Known:
    """What the past says about dangerous actions: of a principal with a history, and of its pool."""

    habits: frozenset[str] = frozenset()  # actions that the principal does
    customs: frozenset[str] = frozenset()  # actions that others of its pool do
    new: bool = True  # the principal has no history


@dataclass(frozen=True, slots=True)
class Prior:
    """The dangerous rows of a window by principal, and the actions that many principals were refused."""

    rows: Mapping[str, pl.DataFrame]
    refused: Mapping[str, list[str]]

    @classmethod
    def of(cls, rows: pl.DataFrame, window: Window) -> Prior:
        """The dangerous rows of a window. The unmapped fields are read only for actions that depend on them.

        Args:
            rows: the window's rows, from `named` and `with_new`.
            window: the window.
        """
        rows = rows.filter(~pl.col("aws"), pl.col("action").is_not_null())
        pairs = list(rows.select("action", "provider").unique().iter_rows())
        plain = rows.filter(pl.col("action").is_in(dangerous(pairs))).with_columns(
            detail=pl.lit(None, pl.String)
        )
        if needed := conditional(pairs):
            found = window.rows("access", (*COLUMNS, UNMAPPED), [Condition("event.action", "in", needed)])
            asked = named(found).with_columns(detail=found[UNMAPPED]).filter(~pl.col("aws"))
            new = rows.filter("mine").select("principal", "resource", "mine").unique()
            asked = asked.join(new, on=["principal", "resource"], how="left")
            asked = asked.with_columns(pl.col("mine").fill_null(value=False))
            plain = pl.concat([plain.filter(~pl.col("action").is_in(needed)).select(asked.columns), asked])
        parts = plain.sort("time", "action", "resource").partition_by(
            "principal", as_dict=True, maintain_order=True
        )
        refused = rows.filter("refused").group_by("principal").agg(pl.col("action").unique().sort())
        return cls(
            {str(name): part for (name,), part in parts.items()},
            {name: actions for name, actions in refused.iter_rows() if len(actions) >= REFUSED},
        )

    @property
    def principals(self) -> set[str]:
        """The principals with at least one dangerous action, or many refusals."""
        return {*self.rows, *self.refused}

    def hits(self, principal: str, known: Known) -> list[Hit]:
        """The hits of a principal: one for each consequence, the worst first."""
        found: dict[str, Hit] = {}
        rows = self.rows.get(principal)
        if rows is not None:
            new = rows.filter(pl.col("action") == "CreateUser", ~pl.col("failed"))
            born = frozenset(new["resource"])
            for (action, provider), part in rows.group_by("action", "provider", maintain_order=True):
                entry = danger(str(action), None if provider is None else str(provider))
                hit = _hit(entry, part, known, born) if entry else None
                worst = found.get(entry.consequence) if entry else None
                if hit and (worst is None or hit.points > worst.points):
                    found[hit.rule.removeprefix(DANGER)] = hit
        if principal in self.refused:
            actions = self.refused[principal]
            words = ", ".join(short(action, 24) for action in actions[:3])
            found["refused"] = Hit(
                f"{DANGER}refused", 1.0, f"{len(actions)} different actions were refused: {words}"
            )
        hits = sorted(found.values(), key=lambda hit: (-hit.points, hit.rule))
        return [hit if at == 0 else _further(hit) for at, hit in enumerate(hits)]


class Vetted:
    """Who did which dangerous actions in a baseline. What came after it makes no habit: nobody has vetted it."""

    def __init__(self, past: Log, until: float, period: float) -> None:
        self._until, self._period = until, period
        part = past.before(until)
        names = part.names["action"].values
        codes = [code for code, name in enumerate(names) if listed(name)]
        self._part = part.where(np.isin(part.codes["action"], codes))
        windows = windows_of(self._part, period)
        #: By pool and action: the principal of each window in which it was done.
        self._did: dict[tuple[str, str], list[int]] = {}
        triples = np.unique(
            np.stack([self._part.codes["action"], self._part.codes["principal"], windows]), axis=1
        )
        for action, who, _ in triples.T.tolist():
            self._did.setdefault((past.pools[who], names[action]), []).append(who)

    def of(self, session: Session) -> Known:
        """What is known of a principal."""
        code, names = int(session.today.codes["principal"][0]), session.past.names["action"].values
        past = session.past.before(self._until)
        pairs = np.unique(np.stack([past.codes["action"], windows_of(past, self._period)]), axis=1)
        actions, number = np.unique(pairs[0], return_counts=True)
        habits = {
            names[a] for a, n in zip(actions.tolist(), number.tolist(), strict=True) if a >= 0 and n >= HABIT
        }
        customs = set()
        for (pool, action), who in self._did.items():
            others = [one for one in who if one != code]
            if pool == session.pool and len(others) >= WINDOWS and len(set(others)) >= OTHERS:
                customs.add(action)
        return Known(frozenset(habits), frozenset(customs), new=not len(session.past))


def without_known(rows: pl.DataFrame, past: Log) -> pl.DataFrame:
    """The rows, in which `mine` is false for what anybody touched before: to create it again does not make it one's own."""
    if not rows["mine"].any():
        return rows
    values = past.names["resource"].values
    known = [values[code] for code in np.unique(past.codes["resource"]).tolist()]
    return rows.with_columns(mine=pl.col("mine") & ~pl.col("resource").is_in(known))


def _hit(entry: Danger, rows: pl.DataFrame, known: Known, born: frozenset[str]) -> Hit | None:
    matched = rows
    if entry.when is not None:
        fits = [detail is not None and fulfilled(entry, detail) for detail in rows["detail"]]
        matched = rows.filter(pl.Series(fits, dtype=pl.Boolean))
    raised = entry.raised is not None and len(matched) > 0
    rows = matched if raised or entry.raised is None else rows
    if raised and rows["mine"].all() and entry.consequence in ("exposure", "privilege"):
        return _told(entry, rows, max(float(entry.raised or 0) - EMPTY, entry.points), known)
    if not raised and entry.consequence != "persistence":
        rows = rows.filter(~pl.col("mine"))
    if _number(rows) < entry.many:
        return None
    points = float(entry.raised or 0) if raised else entry.points
    if born.issuperset(rows["resource"]) and entry.action in ACCOUNTS:
        points = min(points, ONBOARDING)
    if entry.consequence != "resources" and rows["failed"].all() and not rows["refused"].any():
        if not known.new:
            return None  # a mistake of somebody who is known
        points -= FAILED
    return _told(entry, rows, points, known) if points > 0 else None


def _told(entry: Danger, rows: pl.DataFrame, points: float, known: Known) -> Hit:
    action, first = str(rows["action"][0]), rows.row(0, named=True)
    usual = action in known.habits or (not known.new and action in known.customs and points <= 1)
    if not usual and not known.new and action not in known.customs:
        points += NEVER
    tried = "attempted " if rows["failed"].all() else ""
    times = f" ({count(len(rows), 'time')})" if len(rows) > 1 else ""
    detail = f"{tried}{short(action, 32)} of {short(first['resource'])}{times}, {entry.technique}"
    if usual:
        return Hit(DANGER + entry.consequence, 0.0, f"{detail} (usual)", format_time(first["time"]))
    return Hit(DANGER + entry.consequence, points, detail, format_time(first["time"]))


def _further(hit: Hit) -> Hit:
    return Hit(hit.rule, min(hit.points, FURTHER), hit.detail, hit.at)


def _number(rows: pl.DataFrame) -> int:
    """Different resources; each row without a named resource counts as one."""
    unnamed = rows["resource"].str.starts_with("(")
    return int(rows.filter(~unnamed)["resource"].n_unique() + unnamed.sum())
