"""The score of a principal's window, with its sentence and its evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from tocsin.contract.findings import Json, Score, Subject
from tocsin.contract.severities import Severities
from tocsin.words import count, listed, sentence, short
from tocsin_detectors._access_habits import VOLUME, Oddity
from tocsin_detectors._access_log import Session
from tocsin_detectors._access_points import DANGER, SERIOUS, Hit
from tocsin_detectors._access_serious import Serious
from tocsin_detectors._access_touches import Touch

#: Maximum weight of all broken rules together, in thresholds.
_POINTS = 4.0
#: Number of signs that the reason lists.
_NAMED = 2
#: Number of values that the evidence lists.
_LISTED = 10


@dataclass(frozen=True, slots=True)
class Story:
    """All that is known of a principal's window."""

    session: Session
    top: Sequence[Touch]  # the most surprising
    resources: int
    fresh: int  # resources that are new to the principal
    odd: Sequence[Oddity]
    hits: Sequence[Hit]
    serious: Serious | None
    sums: Mapping[str, Any]
    spellings: Sequence[str]

    def score(self, threshold: float | None, floor: float, severities: Severities) -> Score:
        """The nats and the broken rules as one score. During calibration there is no threshold: rules add 0.

        The points of rules state a consequence, so they are placed in the detector's table of severities.
        """
        touches = sum(touch.nats for touch in self.top)
        if threshold is not None and not len(self.session.past):
            touches = min(touches, threshold)  # without a past, nothing is surprising for it
        volume = sum(oddity.nats for oddity in self.odd if oddity.name in VOLUME)
        others = sum(oddity.nats for oddity in self.odd if oddity.name not in VOLUME)
        nats = max(touches, volume) + others  # both measure how much was touched
        points = severities.placed(min(points_of(self.hits), _POINTS))
        value = nats + points * (threshold or 0.0)
        quiet = value < (threshold or floor)
        return Score(
            Subject("principal", self.session.principal),
            value,
            self._reason(quiet=quiet),
            self._evidence(nats),
        )

    def _evidence(self, nats: float) -> dict[str, Json]:
        session, sums = self.session, self.sums
        evidence: dict[str, Json] = {
            "accesses": sums["accesses"],
            "failures": sums["failures"],
            "resources": self.resources,
            "resources_new": self.fresh,
            "downloaded": sums["artifacts"],
            "addresses": session.values("address")[:_LISTED],
            "agents": session.values("agent")[:_LISTED],
            "nats": round(nats, 3),
            "surprising": [touch.to_json() for touch in self.top],
            "rules": [
                *(hit.to_json() for hit in self.hits),
                *({"rule": o.name, "nats": round(o.nats, 3), "detail": o.facts} for o in self.odd),
            ],
        }
        if self.serious:
            evidence["serious"] = self.serious.evidence
            evidence["serious_actions"] = self.serious.number
        if self.spellings:
            evidence["spellings"] = list(self.spellings[:_LISTED])
        return evidence

    def _reason(self, *, quiet: bool) -> str:
        principal, sums = short(self.session.principal), self.sums
        accesses = count(sums["accesses"], "access", "accesses")
        if self.serious and self.serious.hits and not quiet:
            signs = listed(self.serious.signs, _NAMED)
            return sentence([f"{self.serious.words} by {principal}", signs, f"{accesses} in all"])
        taken = f" and downloaded {count(sums['artifacts'], 'artifact')}" if sums["artifacts"] else ""
        did = f"{principal} made {accesses} to {count(self.resources, 'resource')}{taken}"
        if quiet:
            return f"{did}, much as usual"
        strangest = f"{short(self.top[0].action or 'access', 24)} of {short(self.top[0].resource)}"
        return f"{did}; unusual: {listed(self._signs(), _NAMED) or strangest}"

    def _signs(self) -> list[str]:
        """Broken rules first, then what is unusual, the most unusual first."""
        broken = [hit.rule for hit in self.hits if hit.points > 0]
        broken += [oddity.name for oddity in sorted(self.odd, key=lambda o: -o.nats) if oddity.nats > 0]
        return [name.replace("_", " ") for name in broken]


def points_of(hits: Sequence[Hit]) -> float:
    """The points of hits. A serious action may be a dangerous one, too: the larger of these two sums counts."""
    dangers = sum(hit.points for hit in hits if hit.rule.startswith(DANGER))
    serious = sum(hit.points for hit in hits if hit.rule.startswith(SERIOUS))
    others = sum(hit.points for hit in hits if not hit.rule.startswith((DANGER, SERIOUS)))
    return others + max(dangers, serious)


def sums_of(rows: pl.DataFrame, groups: Mapping[str, Sequence[str]]) -> dict[str, dict[str, Any]]:
    """By principal: accesses, failures and different downloaded artifacts.

    Args:
        rows: from `sorted_by_kind`.
        groups: spellings of one principal; the volumes of all of them are those of the key.
    """
    result = {row["principal"]: row for row in _sums(rows).iter_rows(named=True)}
    for owner, names in groups.items():
        pooled = _sums(rows.filter(pl.col("principal").is_in(names)).with_columns(principal=pl.lit(owner)))
        result[owner] = pooled.row(0, named=True)
    return result


def _sums(rows: pl.DataFrame) -> pl.DataFrame:
    downloaded = pl.col("download") & ~pl.col("failed")
    return rows.group_by("principal").agg(
        accesses=pl.len(),
        failures=pl.col("failed").sum(),
        artifacts=pl.struct("resource", "version").filter(downloaded).n_unique(),
    )
