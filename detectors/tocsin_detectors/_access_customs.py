"""What is usual in a deployment: who changes which resource, and who does which serious actions, by the past."""

from __future__ import annotations

import functools
import ipaddress
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tocsin.stats.surprise import Floats, Ints, counted
from tocsin_detectors._access_habits import Rates, windows_of
from tocsin_detectors._access_kinds import SERIOUS
from tocsin_detectors._access_log import Log, Session

Flags = npt.NDArray[np.bool_]

#: An action is a habit of a principal from this number of its windows on.
HABIT = 2
#: A kind is a custom of a pool if other principals, at least this number, did it in at least this number of windows.
OTHERS, WINDOWS = 2, 3
#: Nobody owns a pool's resources if this share of the windows with a kind, this number of windows, and this number of
#: principals, concern resources that the principal never changed: in such a pool anybody may.
SHARED, SHARED_WINDOWS, SHARED_OTHERS = 0.05, 5, 3
#: Deleting is everyday in a pool without owners if it occurs in this share of its principal-windows, in this number of
#: them, and by this number of principals: files of a repository that everybody works on, for example.
EVERYDAY, EVERYDAY_WINDOWS, EVERYBODY = 0.05, 20, 10
#: A kind is usual for newcomers of a pool if at least this share of them, and this number, did it in their first window.
NEWCOMERS, SHARE = 3, 0.2


class _Pool:
    """What the principals of a pool did before; each part by kind."""

    def __init__(self, past: Log, period: float) -> None:
        rows = {kind: past.where(past.serious == code) for code, kind in enumerate(SERIOUS)}
        self.networks = networks_of(past)
        self.resources = {kind: set(part.codes["resource"].tolist()) for kind, part in rows.items()}
        #: The principal of each window.
        self.principals = {
            kind: np.unique(windows_of(part, period)) % max(len(past.pools), 1) for kind, part in rows.items()
        }
        pair = past.codes["principal"] * max(len(past.names["resource"]), 1) + past.codes["resource"]
        foreign = past.where(~np.isin(pair, pair[past.changed]))
        self.shared = {
            kind: _is_shared(rows[kind], foreign, code, period) for code, kind in enumerate(SERIOUS)
        }
        did, total = self.principals["delete"], len(np.unique(windows_of(past, period)))
        often = len(did) >= max(EVERYDAY * total, EVERYDAY_WINDOWS) and len(np.unique(did)) >= EVERYBODY
        #: Kinds that are everyday.
        self.everyday = {"delete"} if often and self.shared["delete"] else set()
        numbers = {kind: _numbers(past, kind, period) for kind in SERIOUS}
        share = {kind: 1.0 if kind in self.everyday else 0.95 for kind in SERIOUS}
        self.numbers = {
            kind: float(np.quantile(n, share[kind])) if len(n) else 0.0 for kind, n in numbers.items()
        }


class Own:
    """What a principal did before, counted in windows, and what it changed in this window."""

    def __init__(self, session: Session, period: float) -> None:
        past, today = session.past, session.today
        windows = windows_of(past, period)
        self.code, self.pool = int(today.codes["principal"][0]), session.pool
        self.created = set(today.codes["resource"][today.changed].tolist())
        self.works = len(np.unique(windows[past.changed])) >= HABIT
        #: By resource: the number of windows in which the principal touched it, and changed it.
        self.touched = _windows_by_resource(past, windows)
        self.changed = _windows_by_resource(past.where(past.changed), windows[past.changed])
        foreign = ~np.isin(past.codes["resource"], past.codes["resource"][past.changed])
        #: By kind: the number of windows in which the principal did it, and on resources that it never changed.
        self.did, self.did_foreign = (
            {
                kind: len(np.unique(windows[rows & (past.serious == code)]))
                for code, kind in enumerate(SERIOUS)
            }
            for rows in (np.ones(len(past), dtype=bool), foreign)
        )


def _windows_by_resource(log: Log, windows: Ints) -> dict[int, int]:
    pairs = np.unique(np.stack([log.codes["resource"], windows]), axis=1)
    resources, number = np.unique(pairs[0], return_counts=True)
    return dict(zip(resources.tolist(), number.tolist(), strict=True))


@dataclass(frozen=True, eq=False)
class Customs:
    """What the past says about serious actions. Each part is computed once, when it is first needed."""

    past: Log
    today: Log
    rates: Rates
    period: float
    _pools: dict[str, _Pool] = field(default_factory=dict)

    def is_usual(self, own: Own, kind: str, name: str) -> bool:
        """Whether a serious action on a resource is usual for a principal with a past."""
        resource, habit = self._code(name), own.did[kind] >= HABIT
        if name.startswith("("):  # the log does not name the resource
            return habit or (own.works and self._is_custom(own, kind))
        if self._owns(own, resource):
            return habit or kind == "permission" or self._is_custom(own, kind)
        if own.did_foreign[kind] >= HABIT or self._pool(own.pool).shared[kind]:
            return True
        if habit and kind in ("permission", "promotion") and own.touched.get(resource, 0) >= HABIT:
            return True  # it works with the resource
        return kind == "permission" and not self._touchers[resource]  # rights of somebody or something new

    def created_by(self, own: Own, name: str) -> bool:
        """Whether a principal itself created a resource in this window, and nobody touched it before."""
        return self._code(name) in own.created and not name.startswith("(") and self.is_new(name)

    def is_new(self, name: str) -> bool:
        """Whether nobody touched a resource before this window."""
        return not self._touchers[self._code(name)]

    def newcomers_do(self, pool: str, kind: str) -> bool:
        """Whether principals of a pool do this kind on their first day."""
        first, did = self._first_windows
        here = self._pool_of == self._pool_code(pool)
        number = int((did[SERIOUS.index(kind)] & here).sum())
        return number >= NEWCOMERS and number >= SHARE * (first & here).sum()

    def pool_does(self, pool: str, kind: str, name: str) -> bool:
        """Whether principals of a pool did this kind on this resource before."""
        return self._code(name) in self._pool(pool).resources[kind]

    def is_everyday(self, pool: str, kind: str) -> bool:
        """Whether principals of a pool do a kind all the time, and to what others made."""
        return kind in self._pool(pool).everyday

    def networks(self, pool: str) -> set[str]:
        """The networks that a pool used before."""
        return self._pool(pool).networks

    def usual_number(self, session: Session, kind: str) -> float:
        """The usual maximum of a kind in a window: its own, or 95 % of its pool's windows (all, if everyday)."""
        own = _numbers(session.past, kind, self.period)
        most = float(own.max(initial=0.0))
        if self.is_everyday(session.pool, kind):
            return max(most, self._pool(session.pool).numbers[kind])
        return most if len(own) >= HABIT else max(most, self._pool(session.pool).numbers[kind])

    def _owns(self, own: Own, resource: int) -> bool:
        """Whether a principal works on a resource: it changed it in two windows, or nobody else did, or nobody else came."""
        if changed := own.changed.get(resource, 0):
            return changed >= HABIT or bool(self._changers[resource] <= 1)
        if touched := own.touched.get(resource, 0):
            return touched >= HABIT and bool(self._touchers[resource] <= 1)
        return self.created_by(own, self.today.names["resource"].values[resource])

    def _is_custom(self, own: Own, kind: str) -> bool:
        """Whether others of the principal's pool do this kind."""
        did = self._pool(own.pool).principals[kind]
        others = did[did != own.code]
        return len(others) >= WINDOWS and len(np.unique(others)) >= OTHERS

    def _pool(self, pool: str) -> _Pool:
        if pool not in self._pools:
            rows = self._pool_of[self.past.codes["principal"]] == self._pool_code(pool)
            self._pools[pool] = _Pool(self.past.where(rows), self.period)
        return self._pools[pool]

    def _code(self, name: str) -> int:
        return self.today.names["resource"].codes[name]

    def _pool_code(self, pool: str) -> int:
        return {name: code for code, name in enumerate(self.past.common_pools)}.get(pool, -1)

    @functools.cached_property
    def _pool_of(self) -> Ints:
        return self.past.pool

    @functools.cached_property
    def _touchers(self) -> Floats:
        """By resource: the number of principals that touched it before."""
        return self._different(np.ones(len(self.past), dtype=bool))

    @functools.cached_property
    def _changers(self) -> Floats:
        """By resource: the number of principals that changed it before."""
        return self._different(self.past.changed)

    def _different(self, rows: Flags) -> Floats:
        number = len(self.past.names["resource"])
        pairs = self.past.codes["principal"][rows] * number + self.past.codes["resource"][rows]
        return counted(np.unique(pairs) % max(number, 1), number)

    @functools.cached_property
    def _first_windows(self) -> tuple[Flags, list[Flags]]:
        """By principal: whether it came after the first window, and did each kind in its own first window."""
        window = np.floor(self.past.time / self.period)
        who = self.past.codes["principal"]
        begin = np.full(len(self.past.pools), np.inf)
        np.minimum.at(begin, who, window)
        came = np.isfinite(begin) & (begin > window.min(initial=np.inf))
        first = window == begin[who]
        did = [
            (counted(who[first & (self.past.serious == kind)], len(begin)) > 0) & came
            for kind in range(len(SERIOUS))
        ]
        return came, did


def _numbers(log: Log, kind: str, period: float) -> Floats:
    """The number of actions of a kind in each principal-window that has one."""
    part = log.where(log.serious == SERIOUS.index(kind))
    place = np.unique(windows_of(part, period), return_inverse=True)[1]
    return counted(place, 0, part.count.astype(np.float64))


def _is_shared(part: Log, foreign: Log, code: int, period: float) -> bool:
    """Whether this kind concerns resources that the principal never changed, often enough."""
    other = foreign.where(foreign.serious == code)
    windows = len(np.unique(windows_of(other, period)))
    enough = windows >= max(SHARED_WINDOWS, SHARED * len(np.unique(windows_of(part, period))))
    return enough and len(np.unique(other.codes["principal"])) >= SHARED_OTHERS


def networks_of(log: Log) -> set[str]:
    """The networks of a log's addresses."""
    values, codes = log.names["address"].values, np.unique(log.codes["address"])
    return {network(values[code]) for code in codes.tolist() if code >= 0}


@functools.lru_cache(maxsize=65_536)
def network(address: str) -> str:
    """The network of an address: the first 24 bits of IPv4, the first 64 of IPv6; another text is its own network."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((ip, 24 if ip.version == 4 else 64), strict=False))
