"""The access log in a baseline: principals, actions, resources and addresses, aggregated hour by hour."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Self

import numpy as np
import numpy.typing as npt
import polars as pl

from tocsin.clock import EPOCH
from tocsin.stats.surprise import Floats, Ints, Touches
from tocsin_detectors._access_kinds import SERIOUS, changes, kinds, serious
from tocsin_detectors._access_rows import FLOOD, HABIT

_CODED = ("principal", "resource", "action", "address", "agent")
_DAY = timedelta(days=1)
#: Pools with a history of their own. The principals of all others are one pool.
POOLS = 50


class Names:
    """The values of a field, and the code of each: its place."""

    def __init__(self, values: Sequence[str] = ()) -> None:
        self.values = list(values)
        self.codes = {value: code for code, value in enumerate(self.values)}

    def __len__(self) -> int:
        return len(self.values)

    def extended(self, values: Sequence[str | None]) -> tuple[Names, Ints]:
        """The values and later ones, and the codes of the later ones; -1 for null."""
        result = Names()
        known = result.codes = dict(self.codes)
        codes = [-1 if value is None else known.setdefault(value, len(known)) for value in values]
        result.values = list(known)
        return result, np.asarray(codes, dtype=np.int64)

    @functools.cached_property
    def downloads(self) -> npt.NDArray[np.bool_]:
        """By code of an action: whether it downloads. A last entry for null is false."""
        return np.asarray([*("download" in kinds(value) for value in self.values), False], dtype=bool)


@dataclass(frozen=True, eq=False)
class Log:
    """Compact rows with integer codes for values, oldest first. Each field has codes from 0; -1 is null."""

    time: Floats  # days since 1970
    codes: Mapping[str, Ints]
    names: Mapping[str, Names]  # by field
    pools: tuple[str, ...]  # by principal
    count: Ints
    bytes: Floats
    serious: Ints  # the place of its kind in `SERIOUS`; -1 if it is none
    changed: npt.NDArray[np.bool_]  # whether the principal changed the resource

    @classmethod
    def of(cls, frame: pl.DataFrame) -> Self:
        """The log of a frame from `compact`."""
        none, nothing = np.zeros(0), np.zeros(0, dtype=np.int64)
        names = {field: Names() for field in _CODED}
        empty = cls(
            none, dict.fromkeys(_CODED, nothing), names, (), nothing, none, nothing, np.zeros(0, bool)
        )
        return empty.extended(frame)

    def __len__(self) -> int:
        return len(self.time)

    def extended(self, frame: pl.DataFrame) -> Self:
        """The log with later rows appended."""
        names, codes = {}, {}
        for field in _CODED:
            names[field], new = self.names[field].extended(frame[field].to_list())
            codes[field] = np.concatenate([self.codes[field], new])
        kinds_, changed = _kinds(frame)
        return type(self)(
            np.concatenate([self.time, days(frame["time"])]),
            codes,
            names,
            self._pools(frame, names["principal"].codes),
            np.concatenate([self.count, frame["count"].to_numpy()]),
            np.concatenate([self.bytes, frame["bytes"].to_numpy()]),
            np.concatenate([self.serious, kinds_]),
            np.concatenate([self.changed, changed]),
        )

    def before(self, now: float) -> Self:
        """The rows before a time. Codes do not change."""
        return self.where(slice(0, int(np.searchsorted(self.time, now))))

    def trusted_until(self, time: float) -> Self:
        """The rows, without the serious actions from a time on: what nobody has vetted makes no habit."""
        return replace(self, serious=np.where(self.time < time, self.serious, -1))

    def since(self, row: int) -> Self:
        """The rows from a row number on."""
        return self.where(slice(row, None))

    def by_principal(self, principals: Ints) -> dict[int, Self]:
        """The rows of each of these principals, in order of time."""
        who = self.codes["principal"]
        wanted = np.zeros(len(self.pools), dtype=bool)
        wanted[principals] = True
        rows = np.flatnonzero(wanted[who])
        mine = self.where(rows[np.argsort(who[rows], kind="stable")])
        bounds = np.searchsorted(mine.codes["principal"], np.stack([principals, principals + 1]))
        return {int(p): mine.where(slice(*bounds[:, i])) for i, p in enumerate(principals)}

    def of_principals(self, codes: Sequence[int]) -> Self:
        """The rows of these principals together."""
        return self.where(np.isin(self.codes["principal"], codes))

    def where(self, rows: slice | Ints | npt.NDArray[np.bool_]) -> Self:
        """The rows that a slice, row numbers or flags select. Codes do not change."""
        codes = {field: values[rows] for field, values in self.codes.items()}
        return replace(
            self,
            time=self.time[rows],
            codes=codes,
            count=self.count[rows],
            bytes=self.bytes[rows],
            serious=self.serious[rows],
            changed=self.changed[rows],
        )

    def _pools(self, frame: pl.DataFrame, principals: Mapping[str, int]) -> tuple[str, ...]:
        """The pool of each principal: the last new one that its rows name."""
        pools = list(self.pools) + [""] * (len(principals) - len(self.pools))
        for principal, pool in frame.select("principal", "pool").unique(maintain_order=True).iter_rows():
            pools[principals[principal]] = pool or pools[principals[principal]]
        return tuple(pools)

    @functools.cached_property
    def common_pools(self) -> tuple[str, ...]:
        """The `POOLS` pools with the most rows, sorted."""
        rows = np.bincount(self.codes["principal"], minlength=len(self.pools)).tolist()
        total: dict[str, int] = {}
        for pool, number in zip(self.pools, rows, strict=True):
            total[pool] = total.get(pool, 0) + number
        return tuple(sorted(sorted(total, key=lambda pool: (-total[pool], pool))[:POOLS]))

    @property
    def pool(self) -> Ints:
        """The code of each principal's pool; all pools that are not common have one code."""
        order = {pool: code for code, pool in enumerate(self.common_pools)}
        return np.asarray([order.get(pool, POOLS) for pool in self.pools], dtype=np.int64)

    @property
    def scanners(self) -> set[str]:
        """The principals that touch more than `FLOOD` resources a day by habit."""
        size = max(len(self.names["resource"]), 1)
        day = np.floor(self.time).astype(np.int64) * max(len(self.pools), 1) + self.codes["principal"]
        keys, number = np.unique(np.unique(day * size + self.codes["resource"]) // size, return_counts=True)
        often = np.bincount(keys[number > FLOOD] % max(len(self.pools), 1), minlength=1)
        return {self.names["principal"].values[code] for code in np.flatnonzero(often >= HABIT)}

    def touches(self) -> Touches:
        """One row for each principal, resource and day."""
        who, what = self.codes["principal"], self.codes["resource"]
        size = len(self.names["resource"])
        key = (np.floor(self.time).astype(np.int64) * len(self.pools) + who) * size + what
        rows = np.sort(np.unique(key, return_index=True)[1])
        return Touches(self.time[rows], who[rows], what[rows], self.pool, size)


@dataclass(frozen=True, slots=True)
class Session:
    """One principal's accesses in a window, and its earlier accesses."""

    principal: str
    past: Log
    today: Log
    nats: Mapping[int, float]  # the surprise of each resource, by its code
    absent: int  # windows since the principal's last one in which its pool was active
    now: float  # start of the window, in days
    period: float  # length of the baseline's windows, in days
    #: The past and the window of all spellings of the principal, if there are several: volumes are pooled.
    volume: tuple[Log, Log] | None = None

    @property
    def pool(self) -> str:
        """The principal's pool."""
        return self.today.pools[int(self.today.codes["principal"][0])]

    def values(self, field: str, *, new: bool = False) -> list[str]:
        """The window's values of a field; with `new`, only values that the past does not contain."""
        codes = np.unique(self.today.codes[field])
        if new:
            codes = np.setdiff1d(codes, self.past.codes[field])
        values = self.today.names[field].values
        return sorted(values[code] for code in codes.tolist() if code >= 0)


def day_of(time: datetime) -> float:
    """A time in days since 1970."""
    return (time - EPOCH) / _DAY


def days(times: pl.Series) -> Floats:
    """Times in days since 1970."""
    return times.dt.epoch("us").to_numpy() / (_DAY / timedelta(microseconds=1))


def _kinds(frame: pl.DataFrame) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """`serious` and `changed` of a frame. Baselines of older versions have no such columns: by the action alone."""
    actions = frame["action"].to_list()
    if "serious" in frame.columns:
        of = frame["serious"].to_list()
        changed = frame["changed"].to_numpy()
    else:
        of = [serious(action) if action else None for action in actions]
        changed = np.asarray([bool(action) and changes(action) for action in actions], dtype=bool)
    return np.asarray([SERIOUS.index(kind) if kind else -1 for kind in of], dtype=np.int64), changed
