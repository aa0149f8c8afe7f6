"""A principal uses the registry in a way that is unusual for it and its peers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from tocsin.clock import floor_time, format_time, parse_time
from tocsin.contract.findings import Family, Json, Score, Subject
from tocsin.contract.plugin import Detector, Requires, Stability, param
from tocsin.contract.windows import Baseline, Window
from tocsin.stats.surprise import surprise
from tocsin.words import count, listed, short
from tocsin_detectors._access_habits import Oddity, active, first_touch_rates, oddities, pools, rates
from tocsin_detectors._access_log import COLUMNS, Log, Session, compact, day_of, named
from tocsin_detectors._access_points import Hit, learn, session_hits, weigh
from tocsin_detectors._access_rules import hits, recent_evaluations, sorted_by_kind

#: Upper bound for the nats of one access, so that a single new pair is not a finding.
_MOST = 5.0
#: The lowest threshold, in nats.
_FLOOR = 6.0
#: Maximum weight of all broken rules together, in thresholds.
_POINTS = 4.0
#: Number of signs that the reason lists.
_NAMED = 2
#: Minimum number of rows of a baseline.
_ENOUGH = 20


@dataclass(frozen=True, slots=True)
class Params:
    """Settings of `registry_access`."""

    half_life: float = param(365.0, ge=1, doc="days until an access has half its weight")
    top: int = param(6, ge=1, le=100, doc="number of a principal's least usual accesses that are summed")


@dataclass(frozen=True, slots=True)
class _Touch:
    code: int
    resource: str
    action: str | None
    nats: float
    fresh: bool


@dataclass(frozen=True, slots=True)
class _Memory:
    """A decoded baseline."""

    digest: str
    log: Log
    until: datetime
    rates: Any
    rules: Any
    habits: Mapping[str, Mapping[str, int]]  # principal, rule: windows

    @classmethod
    def of(cls, baseline: Baseline) -> _Memory:
        habits: dict[str, dict[str, int]] = {}
        for principal, rule, windows in baseline.frames["habits"].iter_rows():
            habits.setdefault(principal, {})[rule] = windows
        values: Any = baseline.values
        return cls(
            baseline.digest,
            Log.of(baseline.frames["log"]),
            parse_time(values["until"]),
            values["rates"],
            values["rules"],
            habits,
        )


class RegistryAccess(Detector[Params]):
    """A principal uses models, data sets or the registry in a way that is new for it and rare for its peers.

    What it sees
        Principals that access resources that are new to them; mass downloads; sessions from a new address, with a
        new program or at unusual hours; principals that return after a long absence; unknown principals. Broken
        rules: a resource that a principal uses for the first time soon after a grant, failures and then a success, a
        model that is deleted and created again, a promotion without an evaluation, a disabled audit log, a service
        that leaves its role. The evidence names each broken rule and its weight.
    Method
        For each accessed resource, the detector computes the log-odds of two explanations: an intruder who picks
        popular resources, and the principal's own history, in which older accesses have less weight (Kneser-Ney and
        item-to-item backoff, `tocsin.stats.surprise`). The six largest are summed, in nats. A new address, program
        or action, and a long absence, each add the log of the ratio of two rates: the rate among intruders and the
        rate in the baseline. Hours are compared with a circular kernel density that is shrunk to the principal's
        pool (people, services), and volumes with a robust z. Calibration scores each window of the baseline's later
        half against the accesses before it. A broken rule adds a multiple of the threshold.
    Blind spots
        An intruder who accesses only the usual resources of the account's owner, from the owner's machine, at the
        owner's hours; a new principal that is malicious from the first day. An ongoing intrusion becomes part of the
        history and scores lower every day, even with a pinned baseline. All versions count as one resource.
    False alarms
        A change of team, a scan of many resources, a release out of hours, a log that changed its names of
        principals or resources. A rule that was broken often in the baseline adds nothing.
    Respond
        Ask the owner about the accesses in the evidence. If the owner did not make them, revoke sessions and keys,
        list later downloads and changes, roll back promotions, and find other users of the address.
    """

    id = "registry_access"
    requires = Requires("access", window="1d", baseline="90d", history="400d")
    atlas = ("AML.T0012", "AML.T0035", "AML.T0044")
    playbook = "registry-intrusion"
    family = Family.ACCESS
    stability = Stability.BETA
    floor = _FLOOR

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        self._memory: _Memory | None = None

    @property
    def _bin(self) -> timedelta:
        return min(self.requires.window, timedelta(hours=1))

    @property
    def _period(self) -> float:
        return self.requires.window / timedelta(days=1)

    def fit(self, window: Window) -> Baseline | None:
        rows = named(window.rows("access", COLUMNS))
        if len(rows) < _ENOUGH:
            return None
        frame = compact(rows, self._bin)
        log = Log.of(frame)
        rows = sorted_by_kind(rows).with_columns(
            window=pl.col("time").dt.truncate(self.requires.window),
            fresh=pl.struct("principal", "resource").is_first_distinct(),
        )
        habits, rules = learn(rows, log, self._period)
        values: dict[str, Json] = {
            "until": format_time(window.end),
            "rates": rates(log, self._period),
            "rules": rules,
        }
        return Baseline({"log": frame, "habits": habits}, values)

    def split(self, window: Window) -> tuple[Window, Window]:
        """The whole window, and its later half: each window is scored only against earlier accesses."""
        middle = floor_time(window.start + window.length / 2, self.requires.window)
        return window, replace(window, start=max(middle, window.start))

    def score(self, window: Window) -> Iterator[Score]:
        rows = sorted_by_kind(named(window.rows("access", COLUMNS)))
        if rows.is_empty() or window.baseline is None:
            return
        memory = self._recall(window.baseline)
        log = self._past(window, memory)
        begin, log = len(log), log.extended(compact(rows, self._bin))
        past, today = log.where(slice(begin)), log.since(begin)
        touches = self._touches(past, today, memory, day_of(window.start))
        broken = _broken(rows, touches, past, window.start)
        sums = {row["principal"]: row for row in _sums(rows).iter_rows(named=True)}
        for session in self._sessions(past, today, touches, day_of(window.start)):
            name = session.principal
            odd = oddities(session, memory.rates)
            found = session_hits(session, sums[name]["artifacts"], odd, memory.rules["downloads"])
            if name in broken:
                found += weigh(broken[name], odd, memory.habits.get(name, {}), memory.rules["common"])
            yield self._score(session, touches[name], odd, found, sums[name], window.baseline.threshold)

    def _sessions(
        self, past: Log, today: Log, touches: Mapping[str, Sequence[_Touch]], now: float
    ) -> Iterator[Session]:
        codes, names = np.unique(today.codes["principal"]), list(past.names["principal"])
        before, within = past.by_principal(codes), today.by_principal(codes)
        busy = {pool: active(past.where(rows), self._period) for pool, rows in pools(past)}
        for code in sorted(codes.tolist(), key=names.__getitem__):
            mine, absent = before[code], 0
            if len(mine):
                days = busy[past.pools[code]]
                absent = len(days) - int(np.searchsorted(days, mine.time[-1] // self._period, side="right"))
            nats = {touch.code: touch.nats for touch in touches[names[code]]}
            yield Session(names[code], mine, within[code], nats, absent, now, self._period)

    def _recall(self, baseline: Baseline) -> _Memory:
        if self._memory is None or self._memory.digest != baseline.digest:
            self._memory = _Memory.of(baseline)
        return self._memory

    def _past(self, window: Window, memory: _Memory) -> Log:
        """The baseline's accesses before the window, and the accesses since the baseline was fitted."""
        log = memory.log.before(day_of(window.start))
        if self.requires.history is None or window.start <= memory.until:
            return log
        gap = min(window.start - memory.until, self.requires.history)
        rows = window.history("access", gap, COLUMNS).collect()
        return log.extended(compact(named(rows), self._bin)) if len(rows) else log

    def _touches(self, past: Log, today: Log, memory: _Memory, now: float) -> dict[str, list[_Touch]]:
        """By principal: each resource that it accessed in the window, the most surprising first."""
        known, size = past.touches(), len(past.names["resource"])
        who, what = today.codes["principal"], today.codes["resource"]
        pairs, first = np.unique(who * size + what, return_index=True)
        actions = today.codes["action"][first]
        news = first_touch_rates(today, memory.rates, actions)
        nats = surprise(known, pairs // size, pairs % size, news, now, self.params.half_life)
        nats = _MOST * (1 - np.exp(-nats / _MOST))
        fresh = ~np.isin(pairs, known.pair)
        names = {field: [*past.names[field], None] for field in ("principal", "resource", "action")}
        result: dict[str, list[_Touch]] = {}
        for at in np.argsort(-nats, kind="stable"):
            touch = _Touch(
                int(pairs[at] % size),
                str(names["resource"][pairs[at] % size]),
                names["action"][actions[at]],
                float(nats[at]),
                bool(fresh[at]),
            )
            result.setdefault(str(names["principal"][pairs[at] // size]), []).append(touch)
        return result

    def _score(
        self,
        session: Session,
        touches: Sequence[_Touch],
        odd: Sequence[Oddity],
        found: Sequence[Hit],
        sums: Mapping[str, Any],
        threshold: float | None,
    ) -> Score:
        top = touches[: self.params.top]
        nats = sum(touch.nats for touch in top) + sum(oddity.nats for oddity in odd)
        points = min(sum(hit.points for hit in found), _POINTS)
        evidence: dict[str, Json] = {
            "accesses": sums["accesses"],
            "failures": sums["failures"],
            "resources": len(touches),
            "resources_new": sum(touch.fresh for touch in touches),
            "downloaded": sums["artifacts"],
            "addresses": session.values("address")[:10],
            "agents": session.values("agent")[:10],
            "nats": round(nats, 3),
            "surprising": [
                {"resource": t.resource, "action": t.action, "nats": round(t.nats, 3), "new": t.fresh}
                for t in top
            ],
            "rules": [
                *(hit.to_json() for hit in found),
                *({"rule": o.name, "nats": round(o.nats, 3), "detail": o.facts} for o in odd),
            ],
        }
        # A broken rule adds a multiple of the threshold. During calibration there is no threshold: it adds 0.
        value = nats + points * (threshold or 0.0)
        quiet = value < (threshold or self.floor)
        reason = _reason(session.principal, touches, () if quiet else _signs(odd, found), sums, quiet=quiet)
        return Score(Subject("principal", session.principal), value, reason, evidence)


def _broken(
    rows: pl.DataFrame, touches: Mapping[str, Sequence[_Touch]], past: Log, start: datetime
) -> dict[str, pl.DataFrame]:
    """By principal: the rules over rows that it broke in the window."""
    pairs = [(name, touch.resource, touch.fresh) for name, all_ in touches.items() for touch in all_]
    fresh = pl.DataFrame(
        pairs, schema={"principal": pl.String, "resource": pl.String, "fresh": pl.Boolean}, orient="row"
    )
    rows = rows.join(fresh, on=["principal", "resource"], how="left", maintain_order="left")
    rows = rows.with_columns(window=pl.lit(start))
    if rows["promote"].any():
        rows = pl.concat([recent_evaluations(past, start), rows], how="diagonal_relaxed")
    found = hits(rows)
    return {str(name): part for (name,), part in found.partition_by("principal", as_dict=True).items()}


def _sums(rows: pl.DataFrame) -> pl.DataFrame:
    downloaded = pl.col("download") & ~pl.col("failed")
    return rows.group_by("principal").agg(
        accesses=pl.len(),
        failures=pl.col("failed").sum(),
        artifacts=pl.struct("resource", "version").filter(downloaded).n_unique(),
    )


def _signs(odd: Sequence[Oddity], found: Sequence[Hit]) -> list[str]:
    """Broken rules first, then what is unusual, the most unusual first."""
    broken = [hit.rule for hit in found if hit.points > 0]
    broken += [oddity.name for oddity in sorted(odd, key=lambda o: -o.nats) if oddity.nats > 0]
    return [name.replace("_", " ") for name in broken]


def _reason(
    principal: str, touches: Sequence[_Touch], signs: Sequence[str], sums: Mapping[str, Any], *, quiet: bool
) -> str:
    accesses = count(sums["accesses"], "access", "accesses")
    taken = f" and downloaded {count(sums['artifacts'], 'artifact')}" if sums["artifacts"] else ""
    did = f"{short(principal)} made {accesses} to {count(len(touches), 'resource')}{taken}"
    if quiet:
        return f"{did}, much as usual"
    strangest = f"{short(touches[0].action or 'access', 24)} of {short(touches[0].resource)}"
    return f"{did}; unusual: {listed(signs, _NAMED) or strangest}"
