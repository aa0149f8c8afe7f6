"""Deterministic rules for serious actions: what destroys, lets in, puts into production, or hides.

A serious action is a hit if its principal is new, if it is out of the principal's hours or from a new address, or if it is
unusual for the principal. Surprise does not matter: one deletion is enough. The owner of a resource is who changed it
before; what owners do with their resources is usual if they, or others of their pool, have done it before.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from tocsin.clock import format_time
from tocsin.contract.findings import Json
from tocsin.stats.circular import HOURS, hour_density, shrunk
from tocsin.words import short
from tocsin_detectors._access_customs import Customs, Own, network, networks_of
from tocsin_detectors._access_habits import ALL, EVEN, IN_HOURS, Oddity, Rates, hours_of
from tocsin_detectors._access_log import Session
from tocsin_detectors._access_points import RARE, SERIOUS, Hit
from tocsin_detectors._access_rows import UNKNOWN

#: Thresholds of a hit with one sign, of each further sign, and of each further kind: severity `high` at least.
SURE, FURTHER = 2.0, 0.5
#: Nats of an hour from which an action is out of its principal's hours.
LATE = 1.5
#: Weight of the pool's hours in the principal's own. It is low: a pool of people and services works day and night.
STRENGTH = 1.0
#: Minimum number of serious actions in a window, and multiple of the usual maximum, from which they are many.
MANY, TIMES = 5, 2
#: Number of actions that the evidence lists.
LISTED = 50
NEW, UNIDENTIFIED = "new principal", "unknown principal"
ADDRESS, OFF_HOURS, UNUSUAL, MASS = "new address", "off hours", "unusual for it", "many at once"
_SENTENCE = 80  # characters of the actions
#: The order in which the sentence names kinds.
_ORDER = ("delete", "audit", "permission", "promotion")


@dataclass(frozen=True, slots=True)
class Serious:
    """The serious actions of a principal in a window: as hits, as evidence, and in words."""

    hits: list[Hit]
    evidence: list[dict[str, Json]]
    number: int
    words: str
    signs: list[str]


def serious_hits(session: Session, rows: pl.DataFrame, odd: Sequence[Oddity], customs: Customs) -> Serious:
    """Judge the serious actions of one principal in a window.

    Args:
        session: the principal's window and past.
        rows: its serious actions, from `named`, oldest first; also those that failed.
        odd: the unusual parts of the window.
        customs: what is usual in the deployment.
    """
    scene = _Scene(session, odd, customs)
    acts = [(row, scene.signs(row)) for row in rows.iter_rows(named=True)]
    hits: list[Hit] = []
    words: list[str] = []
    signs: set[str] = set()
    for kind in _ORDER:
        of_kind = [(row, why) for row, why in acts if row["serious"] == kind]
        foreign = [row for row, _ in of_kind if not scene.is_own(row)]
        if scene.is_mass(kind, foreign):
            of_kind = [(row, why if scene.is_own(row) else why | {MASS}) for row, why in of_kind]
        said = sorted((act for act in of_kind if act[1]), key=_importance)
        if not said:
            continue
        why = set().union(*(why for _, why in said))
        points = FURTHER if hits else SURE + FURTHER * (len(why) - 1)
        what = _words([row for row, _ in said])
        at = format_time(said[0][0]["time"])
        hits.append(Hit(SERIOUS + kind, points, f"{what}: {', '.join(sorted(why))}", at))
        words.append(what)
        signs |= why
    acts.sort(key=lambda act: not act[1])
    evidence = [_fact(row, why) for row, why in acts[:LISTED]]
    return Serious(hits, evidence, len(rows), _joined(words), sorted(signs))


class _Scene:
    """One principal's window, for the signs of its serious actions."""

    def __init__(self, session: Session, odd: Sequence[Oddity], customs: Customs) -> None:
        self._session = session
        self._customs = customs
        self._new = not len(session.past)
        self._own = Own(session, customs.period)
        self._moves = any(sign.name == "first_seen_address" and sign.nats >= RARE for sign in odd)

    def signs(self, row: dict[str, Any]) -> set[str]:
        """What speaks against an action; nothing if it is usual. An attempt that only is unusual is nothing."""
        found = self._signs(row)
        return set() if row["failed"] and found <= {UNUSUAL} else found

    def _signs(self, row: dict[str, Any]) -> set[str]:
        name, kind = row["resource"], row["serious"]
        found: set[str] = set()
        if self.is_own(row):
            return found
        everyday = self._customs.is_everyday(self._session.pool, kind)
        if everyday:
            pass
        elif self._new:
            if kind != "audit" and self._customs.created_by(self._own, name):
                return found
            if not self._customs.newcomers_do(self._session.pool, kind):
                identified = not self._session.principal.startswith(UNKNOWN)
                found.add(NEW if identified else UNIDENTIFIED)
            if not self._customs.pool_does(self._session.pool, kind, name):
                found.add(UNUSUAL)
        elif not self._customs.is_usual(self._own, kind, name):
            found.add(UNUSUAL)
        if row["address"] and self._is_elsewhere(row["address"]):
            found.add(ADDRESS)
        if not everyday and self._odds[row["time"].hour] >= LATE:
            found.add(OFF_HOURS)
        return found

    def is_own(self, row: dict[str, Any]) -> bool:
        """Whether the principal created the resource in this window, and nobody touched one of its name before."""
        return row["mine"] and self._customs.is_new(row["resource"])

    def is_mass(self, kind: str, rows: Sequence[dict[str, Any]]) -> bool:
        """Whether the principal did far more of a kind than is usual."""
        different = {(row["resource"], row["version"]) for row in rows if row["version"] is not None}
        number = len(different) + sum(row["version"] is None for row in rows)
        return number >= MANY and number >= TIMES * self._customs.usual_number(self._session, kind)

    def _is_elsewhere(self, address: str) -> bool:
        if not self._new:
            return self._moves and network(address) not in self._networks
        return network(address) not in self._customs.networks(self._session.pool)

    @functools.cached_property
    def _networks(self) -> set[str]:
        return networks_of(self._session.past)

    @functools.cached_property
    def _odds(self) -> list[float]:
        hours: Rates = self._customs.rates["hours"]
        team = hour_density(np.asarray(hours.get(self._session.pool, hours[ALL])))
        own = shrunk(hours_of(self._session.past), team, STRENGTH) if not self._new else team
        odds = np.log(IN_HOURS + (1 - IN_HOURS) / (HOURS * ((1 - EVEN) * own + EVEN / HOURS)))
        return [float(nats) for nats in odds]


def _importance(act: tuple[dict[str, Any], set[str]]) -> tuple[bool, int]:
    """Actions on named resources come first, and those with the most signs."""
    row, signs = act
    return row["resource"].startswith("("), -len(signs)


def _words(rows: Sequence[dict[str, Any]]) -> str:
    first = rows[0]
    version = f" version {first['version']}" if first["version"] is not None else ""
    more = f" and {len(rows) - 1} more" if len(rows) > 1 else ""
    tried = "attempted " if all(row["failed"] for row in rows) else ""
    return f"{tried}{short(first['action'], 24)} of {short(first['resource'])}{short(version, 24)}{more}"


def _joined(words: Sequence[str]) -> str:
    """The first two kinds, if they are short enough for a sentence."""
    both = " and ".join(words[:2])
    return both if len(both) <= _SENTENCE else "".join(words[:1])


def _fact(row: dict[str, Any], signs: set[str]) -> dict[str, Json]:
    return {
        "action": row["action"],
        "resource": row["resource"],
        "version": row["version"],
        "type": row["type"],
        "address": row["address"],
        "agent": row["agent"],
        "outcome": "failure" if row["failed"] else "success",
        "at": format_time(row["time"]),
        "signs": sorted(signs),
    }
