"""The points of broken rules, in thresholds: 1 is enough for a finding, 2 for a finding of high severity."""

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
from tocsin.words import count
from tocsin_detectors._access_habits import Oddity, windows_of
from tocsin_detectors._access_kinds import kinds
from tocsin_detectors._access_log import Log, Session
from tocsin_detectors._access_rules import hits

#: The points of a hit without further signs.
POINTS: Mapping[str, float] = MappingProxyType(
    {
        "audit_disabled": 2.0,
        "grant_then_use": 1.5,
        "failures_then_success": 1.0,
        "delete_then_recreate": 1.0,
        "promote_without_evaluate": 1.0,
        "mass_download": 1.0,
        "flood": 1.0,
        "unfamiliar_role": 1.0,
        "strange_session": 2.0,
    }
)
#: Each of these signs adds half a threshold …
SIGNS = ("first_seen_address", "first_seen_agent", "off_hours", "dormant_principal")
#: … to a hit of these rules, if the sign has at least `RARE` nats. A new principal adds half a threshold, too.
WORSE = ("grant_then_use", "failures_then_success", "mass_download")
RARE = 0.7
#: Hits add no points if the principal broke the rule in at least this number of windows of the baseline.
HABIT = 2
#: Hits add no points if at least this share of the baseline's principal-windows broke the rule, and this number
#: of principals.
COMMON, MANY = 0.005, 3
#: A mass download has at least this number of artifacts, and this multiple of the usual maximum.
MASS, TIMES = 10, 3
#: A principal has a role if it has at least this number of windows and accesses, and at most this number of
#: different actions.
WINDOWS, ACCESSES, ACTIONS = 10, 20, 2
#: Prefixes of the hits of dangerous and of serious actions.
DANGER, SERIOUS = "danger_", "serious_"
_RIGHTS = frozenset({"download", "promote", "grant", "disable_audit"})


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
    """Learn from the baseline: windows by principal and rule; which rules are common; usual downloads.

    Promotion without an evaluation is also common if fewer than three promotions follow an evaluation, or if more
    than a tenth follow none.
    """
    found = hits(rows)
    by_rule = found.group_by("rule").agg(pl.len().alias("hits"), pl.col("principal").n_unique().alias("of"))
    total = len(np.unique(windows_of(log, period)))
    common = set(by_rule.filter(pl.col("hits") >= COMMON * total, pl.col("of") >= MANY)["rule"])
    promoted = rows.filter(pl.col("promote")).select("window", "principal").n_unique()
    unevaluated = len(found.filter(pl.col("rule") == "promote_without_evaluate"))
    if promoted - unevaluated < 3 or unevaluated > 0.1 * promoted:
        common.add("promote_without_evaluate")
    downloads = _downloads(log, period)
    usual = float(np.quantile(downloads, 0.95)) if len(downloads) else 0.0
    counts = found.group_by("principal", "rule").agg(pl.len().cast(pl.Int64).alias("windows"))
    return counts.sort("principal", "rule"), {"common": sorted(common), "downloads": usual}


def weigh(
    found: pl.DataFrame, odd: Sequence[Oddity], habits: Mapping[str, int], common: Sequence[str]
) -> list[Hit]:
    """One principal's hits of the rules over rows, with their points.

    Args:
        found: the principal's hits in the window.
        odd: the unusual parts of the window.
        habits: the number of the baseline's windows in which the principal broke each rule.
        common: rules whose hits add no points.
    """
    result = []
    for rule, at, detail in found.select("rule", "at", "detail").iter_rows():
        usual = rule in common or habits.get(rule, 0) >= HABIT
        points = 0.0 if usual else POINTS[rule] + _worse(rule, odd)
        result.append(
            Hit(rule, points, f"{detail} (usual in the baseline)" if usual else detail, format_time(at))
        )
    return result


def session_hits(session: Session, artifacts: int, odd: Sequence[Oddity], usual: float) -> list[Hit]:
    """The hits of the rules that compare a session with the principal's past.

    Args:
        session: the principal's window and past.
        artifacts: the number of different artifacts that the principal downloaded in the window.
        odd: the unusual parts of the window.
        usual: downloads of 95 % of principal-windows; applies while the principal has few windows.
    """
    serious = [action for action in session.values("action") if kinds(action) & _RIGHTS]
    if artifacts < MASS and not serious:
        return []
    past = session.past
    windows = len(np.unique(windows_of(past, session.period)))
    downloads = _downloads(session.volume[0] if session.volume else past, session.period)
    most = max(downloads.max(initial=0), 0 if windows >= WINDOWS else usual)
    new = [action for action in session.values("action", new=True) if action in serious]
    actions = len(np.unique(past.codes["action"][past.codes["action"] >= 0]))
    signs = [sign.name for sign in odd if sign.name in SIGNS and sign.nats >= RARE]
    found = {}
    if artifacts >= MASS and artifacts >= TIMES * most:
        found["mass_download"] = f"downloaded {artifacts} artifacts; the usual maximum is {most:.0f}"
    if new and windows >= WINDOWS and past.count.sum() >= ACCESSES and 0 < actions <= ACTIONS:
        found["unfamiliar_role"] = (
            f"{', '.join(new)} by a principal that used only {count(actions, 'different action')} before"
        )
    if serious and len(signs) >= 3:
        found["strange_session"] = f"{', '.join(serious)} with {', '.join(signs)}"
    return [Hit(rule, POINTS[rule] + _worse(rule, odd), detail) for rule, detail in found.items()]


def _worse(rule: str, odd: Sequence[Oddity]) -> float:
    if rule not in WORSE:
        return 0.0
    new = any(sign.name == "first_seen_principal" for sign in odd)
    return 0.5 * (new + sum(sign.name in SIGNS and sign.nats >= RARE for sign in odd))


def _downloads(log: Log, period: float) -> Floats:
    """The number of downloads in each principal-window with at least one."""
    part = log.where(log.names["action"].downloads[log.codes["action"]])
    place = np.unique(windows_of(part, period), return_inverse=True)[1]
    return counted(place, 0, part.count.astype(np.float64))
