"""What broken rules weigh, in thresholds: 1 makes a finding by itself, 2 a high one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import polars as pl

from tocsin.clock import format_time
from tocsin.contract.findings import Json
from tocsin.stats.surprise import Floats, counted
from tocsin_detectors._access_habits import Oddity, windows_of
from tocsin_detectors._access_log import Log, Session
from tocsin_detectors._access_rules import hits, kinds

#: What a hit weighs where nothing makes it worse.
POINTS: Mapping[str, float] = MappingProxyType(
    {
        "audit_disabled": 2.0,
        "grant_then_use": 1.5,
        "failures_then_success": 1.0,
        "delete_then_recreate": 1.0,
        "promote_without_evaluate": 1.0,
        "mass_download": 1.0,
        "unfamiliar_role": 1.0,
        "strange_session": 2.0,
    }
)
#: Half a threshold more for each of these signs …
SIGNS = ("first_seen_address", "first_seen_agent", "off_hours", "dormant_principal")
#: … beside a hit of these rules, where the sign is worth so many nats.
WORSE = ("grant_then_use", "failures_then_success", "mass_download")
RARE = 0.7
#: A principal that broke a rule in so many windows of the baseline does so by habit.
HABIT = 2
#: Nothing follows from a rule that so large a share of the baseline's windows breaks, of so many principals.
COMMON, MANY = 0.005, 3
#: A download is massive from so many artifacts on, and so many times the most so far.
MASS, TIMES = 10, 3
#: A principal has a role after so many windows and accesses with no more than so many actions.
WINDOWS, ACCESSES, ACTIONS = 10, 20, 2
_RIGHTS = frozenset({"take", "promote", "grant", "silence"})


@dataclass(frozen=True, slots=True)
class Hit:
    """A rule that a principal broke in a window."""

    rule: str
    points: float
    detail: str
    at: str | None = None

    def to_json(self) -> dict[str, Json]:
        """The hit as evidence."""
        return {"rule": self.rule, "thresholds": self.points, "detail": self.detail, "at": self.at}


def learn(rows: pl.DataFrame, log: Log, period: float) -> tuple[pl.DataFrame, dict[str, Any]]:
    """What the baseline shows: windows by principal and rule; which rules are common; usual downloads.

    Promoting without an evaluation is common, too, where few promotions follow one.
    """
    found = hits(rows)
    by_rule = found.group_by("rule").agg(pl.len().alias("hits"), pl.col("principal").n_unique().alias("of"))
    total = len(np.unique(windows_of(log, period)))
    common = set(by_rule.filter(pl.col("hits") >= COMMON * total, pl.col("of") >= MANY)["rule"])
    promoted = rows.filter(pl.col("promote")).select("window", "principal").n_unique()
    unvouched = len(found.filter(pl.col("rule") == "promote_without_evaluate"))
    if promoted - unvouched < 3 or unvouched > 0.1 * promoted:
        common.add("promote_without_evaluate")
    taken = _taken(log, period)
    usual = float(np.quantile(taken, 0.95)) if len(taken) else 0.0
    counts = found.group_by("principal", "rule").agg(pl.len().cast(pl.Int64).alias("windows"))
    return counts.sort("principal", "rule"), {"common": sorted(common), "downloads": usual}


def weighed(
    found: pl.DataFrame, odd: Sequence[Oddity], habits: Mapping[str, int], common: Sequence[str]
) -> list[Hit]:
    """One principal's hits of the rules over rows, with what they weigh.

    Args:
        found: the principal's hits in the window.
        odd: what else is odd about the window.
        habits: in how many windows of the baseline the principal broke each rule.
        common: rules that say nothing here.
    """
    result = []
    for rule, at, detail in found.select("rule", "at", "detail").iter_rows():
        idle = rule in common or habits.get(rule, 0) >= HABIT
        points = 0.0 if idle else POINTS[rule] + _worse(rule, odd)
        result.append(Hit(rule, points, f"{detail} (usual here)" if idle else detail, format_time(at)))
    return result


def of_session(session: Session, artifacts: int, odd: Sequence[Oddity], usual: float) -> list[Hit]:
    """The hits of rules that look at a principal's past.

    Args:
        session: the principal's window and past.
        artifacts: different artifacts that it downloaded in the window.
        odd: what else is odd about the window.
        usual: what most principals download at most in a window.
    """
    past = session.past
    windows = len(np.unique(windows_of(past, session.period)))
    most = max(_taken(past, session.period).max(initial=0), 0 if windows >= WINDOWS else usual)
    serious = [action for action in session.values("action") if kinds(action) & _RIGHTS]
    new = [action for action in session.values("action", new=True) if action in serious]
    actions = len(np.unique(past.codes["action"][past.codes["action"] >= 0]))
    signs = [sign.name for sign in odd if sign.name in SIGNS and sign.nats >= RARE]
    found = {}
    if artifacts >= MASS and artifacts >= TIMES * most:
        found["mass_download"] = f"downloaded {artifacts} artifacts; the most so far was {most:.0f}"
    if new and windows >= WINDOWS and past.count.sum() >= ACCESSES and 0 < actions <= ACTIONS:
        found["unfamiliar_role"] = (
            f"{', '.join(new)} by a principal with no more than {actions} actions so far"
        )
    if serious and len(signs) >= 3:
        found["strange_session"] = f"{', '.join(serious)} with {', '.join(signs)}"
    return [Hit(rule, POINTS[rule] + _worse(rule, odd), detail) for rule, detail in found.items()]


def _worse(rule: str, odd: Sequence[Oddity]) -> float:
    if rule not in WORSE:
        return 0.0
    new = any(sign.name == "first_seen_principal" for sign in odd)
    return 0.5 * (new + sum(sign.name in SIGNS and sign.nats >= RARE for sign in odd))


def _taken(log: Log, period: float) -> Floats:
    """Downloads in each principal-window that has some."""
    codes = [code for action, code in log.names["action"].items() if "take" in kinds(action)]
    part = log.where(np.isin(log.codes["action"], codes))
    place = np.unique(windows_of(part, period), return_inverse=True)[1]
    return counted(place, 0, part.count.astype(np.float64))
