"""A principal uses the registry in a way that is unusual for it and its peers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from tocsin.clock import floor_time, format_time, parse_time
from tocsin.contract.early import Early
from tocsin.contract.findings import Family, Json, Score
from tocsin.contract.plugin import Detector, Requires, Stability, param
from tocsin.contract.severities import Tail
from tocsin.contract.windows import Baseline, Window
from tocsin_detectors._access_alone import alone
from tocsin_detectors._access_crowd import Crowd, new_spellings, spellings
from tocsin_detectors._access_customs import Customs
from tocsin_detectors._access_day import Day, broken_rules, by_principal, serious_rows, weight_of
from tocsin_detectors._access_habits import ALL, active, pools, rates
from tocsin_detectors._access_log import Log, Session, day_of
from tocsin_detectors._access_points import learn
from tocsin_detectors._access_prior import Prior, Vetted, without_known
from tocsin_detectors._access_rows import COLUMNS, compact, named, remembered, with_new
from tocsin_detectors._access_rules import sorted_by_kind
from tocsin_detectors._access_story import sums_of
from tocsin_detectors._access_touches import Touched
from tocsin_detectors._kept import Kept

#: The lowest threshold, in nats.
_FLOOR = 6.0
#: Minimum number of rows of a baseline.
_ENOUGH = 20


@dataclass(frozen=True, slots=True)
class Params:
    """Settings of `registry_access`."""

    half_life: float = param(365.0, ge=1, doc="days until an access has half its weight")
    top: int = param(6, ge=1, le=100, doc="number of a principal's least usual accesses that are summed")


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
        new program or at unusual hours; principals that return after a long absence; unknown principals; very many
        new principals or resources; new spellings of the names of known principals.

        Broken rules: a principal uses a resource for the first time within an hour after a grant; a success follows
        several failures; a model is deleted and created again; a model is promoted without an evaluation; an audit log
        is disabled; a service does an action that does not belong to its role.

        Serious actions: deletions, permission changes, moved aliases and stages, disabled audit logs. A serious action
        is a finding of severity `high` or worse if the principal is new, acts outside its usual hours or uses a new
        address, or if the action is unusual for the principal. The evidence names each broken rule and its weight, and
        each serious action with its target, address and outcome.

        Dangerous actions of any principal: audit logs off, credentials read or created, rights raised, data opened to
        everybody or to another account, recovery prevented (`data/dangers.csv`). They need no history.
    Method
        For each accessed resource, the detector computes the log-odds of two explanations: an intruder who picks
        popular resources, and the principal's own history, in which older accesses have less weight (Kneser-Ney and
        item-to-item backoff, `tocsin.stats.surprise`). The score contains the sum of the six largest log-odds, in nats.
        A new address, program or action, and a long absence, each add the log of the ratio of two rates: the rate among
        intruders and the rate in the baseline. Hours are compared with a circular kernel density that is shrunk to the
        density of the principal's pool (people, services), and volumes with a robust z. Calibration scores each window
        of the baseline's later half against the accesses before that window.

        A broken rule adds 1 to 2 times the threshold to the score, and signs such as a new address add half the
        threshold each. A serious action that is not usual adds at least 2 times the threshold. A principal owns a
        resource if it changed the resource in two windows, or if no other principal changed the resource. An action of
        an owner on its resource is usual if the owner, or others of its pool, did such actions before. Serious actions
        after the end of the baseline do not make further such actions usual. A new principal is compared with its pool.
        The volumes of all spellings of a principal's name are added up. Each spelling has its own history.

        A dangerous action adds 0.5 to 2 thresholds by its consequence, half a threshold more if neither the principal nor
        two others of its pool did it before, and nothing if it is a habit. Of dangerous and serious actions, the larger
        sum counts. What a principal creates in the window is its own. Services of AWS are judged by volume alone. Without
        a baseline, the rules and the dangerous actions decide (decision 17).

        Cost: memory and time grow linearly with the rows of the window and the baseline. `benchmarks/access_growth.py`
        measures a million principals and a million resources: 1.4 GiB at most. Among the new principals of a window,
        the detector judges 1,000: first those with serious actions or broken rules, then those with the largest sums of
        log-odds. One finding, "not judged", states the number of the others. A baseline keeps at most 200,000 rows. If
        a principal accesses more than 1,000 resources on one or two days, the baseline keeps the first 1,000 of each
        day. If more than 1,000 principals of a day occur on no other day, the baseline keeps the first 1,000 of them.
    Blind spots
        An intruder who accesses only the usual resources of the account's owner, from the owner's machine, at the
        owner's hours; a new principal that only reads. An intrusion that lasts several days becomes part of the
        history: its score decreases every day, even with a pinned baseline. All versions of a model are one resource.
    False alarms
        A person who changes the team, a scan of many resources, a release outside the usual hours, a log that names
        principals or resources in a new way. A rule that was broken often in the baseline adds nothing to the score.
    Respond
        Ask the owner about the accesses in the evidence. If the owner did not make them, revoke sessions and keys,
        list later downloads and changes, roll back promotions, and find other users of the address.
    """

    id = "registry_access"
    requires = Requires("access", window="1d", baseline="90d", history="400d", shortest="7d")
    atlas = ("AML.T0012", "AML.T0035", "AML.T0044")
    playbook = "registry-intrusion"
    family = Family.ACCESS
    stability = Stability.BETA
    floor = _FLOOR
    rules = True
    alarm_share = 0.4
    tail = Tail.EXPONENTIAL
    early = Early(by="user.id", growth=1)

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        self._before: Kept[Log] = Kept()
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
        frame = remembered(compact(rows, self._bin))
        log = Log.of(frame)
        rows = sorted_by_kind(rows).with_columns(
            window=pl.col("time").dt.truncate(self.requires.window),
        )
        first = pl.col("window").min().over("principal", "resource")
        rows = with_new(rows.with_columns(fresh=pl.col("window") == first), ["window"])
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
        rows = with_new(sorted_by_kind(named(window.rows("access", COLUMNS))))
        if rows.is_empty():
            return
        if window.baseline is None:
            yield from alone(rows, Prior.of(rows, window), window, self.id, self.floor)
            return
        memory, now = self._recall(window.baseline), day_of(window.start)
        log = self._before.of(window, memory.digest, lambda: self._past(window, memory))
        begin, log = len(log), log.extended(compact(rows, self._bin))
        past, today = log.where(slice(begin)).trusted_until(day_of(memory.until)), log.since(begin)
        rows = without_known(rows, past)
        prior = Prior.of(rows, window)
        touched = Touched.of(past, today, memory.rates, now, self.params.half_life)
        parts = broken_rules(rows, touched, past, window.start), serious_rows(rows)
        weight = weight_of(touched, prior.principals, *parts)
        crowd = Crowd.of(past, today, weight, self._period).of_changed(today, window)
        broken, serious = (by_principal(part, today, crowd) for part in parts)
        groups = spellings(today)
        day = Day(
            touched,
            prior,
            Vetted(past, day_of(memory.until), self._period),
            broken,
            serious,
            groups,
            sums_of(rows, groups),
            Customs(past, today, memory.rates, self._period),
            frozenset(rows.filter("aws")["principal"]),
            memory.rules,
            memory.habits,
        )
        for session in self._sessions(past, today, touched, crowd, groups, now):
            story = day.story(session, self.params.top)
            yield story.score(window.baseline.threshold, self.floor, self.severities)
        if window.changed is None:
            yield from crowd.scores(self.id, today)
            yield from new_spellings(past, today)

    def _sessions(
        self,
        past: Log,
        today: Log,
        touched: Touched,
        crowd: Crowd,
        groups: Mapping[str, Sequence[str]],
        now: float,
    ) -> Iterator[Session]:
        names = today.names["principal"]
        before, within = past.by_principal(crowd.judged), today.by_principal(crowd.judged)
        busy = {pool: active(past.where(rows), self._period) for pool, rows in pools(past)}
        for code in crowd.judged.tolist():
            name, mine, absent = names.values[code], before[code], 0
            if len(mine):
                days = busy.get(past.pools[code], busy[ALL])
                absent = len(days) - int(np.searchsorted(days, mine.time[-1] // self._period, side="right"))
            nats = touched.by_resource(code)
            session = Session(name, mine, within[code], nats, absent, now, self._period)
            if name in groups:
                codes = [names.codes[spelling] for spelling in groups[name]]
                session = replace(session, volume=(past.of_principals(codes), today.of_principals(codes)))
            yield session

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
        if rows.is_empty():
            return log
        since = compact(named(rows), self._bin)
        return log.extended(remembered(since, memory.log.names["principal"].values, memory.log.scanners))
