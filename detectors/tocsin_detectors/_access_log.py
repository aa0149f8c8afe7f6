"""The access log in a baseline: principals, actions, resources and addresses, aggregated hour by hour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Self

import numpy as np
import numpy.typing as npt
import polars as pl

from tocsin.clock import EPOCH
from tocsin.contract.streams import TIME
from tocsin.stats.surprise import Floats, Ints, Touches

#: Maximum number of rows in a baseline. The newest rows are stored.
ROWS = 200_000
#: The columns that are read from the access stream.
COLUMNS = (
    TIME,
    "user.id",
    "tocsin.principal.type",
    "event.action",
    "event.outcome",
    "source.ip",
    "user_agent.original",
    "tocsin.resource.type",
    "tocsin.resource.id",
    "tocsin.resource.version",
    "http.response.bytes",
    "event.provider",
    "service.name",
)
_KEYS = ("principal", "pool", "resource", "action", "address", "agent")
_CODED = ("principal", "resource", "action", "address", "agent")
_DAY = timedelta(days=1)
#: Prefix of the name of a principal that the source does not identify. The address follows.
UNKNOWN = "unknown@"


def named(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of the access stream under short column names.

    Columns: time, principal (`UNKNOWN` and the address if the source does not identify it), pool (the
    principal's type, or empty), resource (its id, or without an id its type in brackets), version, type,
    action, address, agent, bytes, failed, unknown.
    """
    return rows.select(
        time=pl.col(TIME),
        principal=pl.coalesce("user.id", pl.lit(UNKNOWN) + pl.col("source.ip"), pl.lit(UNKNOWN)),
        pool=pl.col("tocsin.principal.type").fill_null(""),
        resource=pl.coalesce(
            "tocsin.resource.id",
            pl.format("({})", pl.coalesce("tocsin.resource.type", "event.provider", "service.name")),
            pl.lit("()"),
        ),
        version=pl.col("tocsin.resource.version"),
        type=pl.col("tocsin.resource.type"),
        action=pl.col("event.action"),
        address=pl.col("source.ip"),
        agent=pl.col("user_agent.original"),
        bytes=pl.col("http.response.bytes").fill_null(0).clip(0).cast(pl.Float64),
        failed=pl.col("event.outcome").eq("failure").fill_null(value=False),
        unknown=pl.col("user.id").is_null(),
    )


def compact(rows: pl.DataFrame, bin: timedelta) -> pl.DataFrame:
    """Rows from `named`, aggregated by `bin` of time and by keys, oldest first; the newest `ROWS` of them."""
    return (
        rows.group_by(pl.col("time").dt.truncate(bin).alias("bin"), *_KEYS)
        .agg(pl.col("time").min(), pl.len().cast(pl.Int64).alias("count"), pl.col("bytes").sum())
        .sort("time", *_KEYS)
        .select("time", *_KEYS, "count", "bytes")
        .tail(ROWS)
    )


@dataclass(frozen=True, eq=False)
class Log:
    """Compact rows with integer codes for values, oldest first. Each field has codes from 0; -1 is null."""

    time: Floats  # days since 1970
    codes: Mapping[str, Ints]
    names: Mapping[str, Mapping[str, int]]  # by field: the code of each value
    pools: tuple[str, ...]  # by principal
    count: Ints
    bytes: Floats

    @classmethod
    def of(cls, frame: pl.DataFrame) -> Self:
        """The log of a frame from `compact`."""
        none, nothing = np.zeros(0), np.zeros(0, dtype=np.int64)
        empty = cls(none, dict.fromkeys(_CODED, nothing), {field: {} for field in _CODED}, (), nothing, none)
        return empty.extended(frame)

    def __len__(self) -> int:
        return len(self.time)

    def extended(self, frame: pl.DataFrame) -> Self:
        """The log with later rows appended."""
        names = {field: dict(self.names[field]) for field in _CODED}
        codes = {}
        for field in _CODED:
            known = names[field]
            new = [-1 if v is None else known.setdefault(v, len(known)) for v in frame[field].to_list()]
            codes[field] = np.concatenate([self.codes[field], np.asarray(new, dtype=np.int64)])
        return type(self)(
            np.concatenate([self.time, days(frame["time"])]),
            codes,
            names,
            self._pools(frame, names["principal"]),
            np.concatenate([self.count, frame["count"].to_numpy()]),
            np.concatenate([self.bytes, frame["bytes"].to_numpy()]),
        )

    def before(self, now: float) -> Self:
        """The rows before a time. Codes do not change."""
        return self.where(slice(0, int(np.searchsorted(self.time, now))))

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

    def where(self, rows: slice | Ints | npt.NDArray[np.bool_]) -> Self:
        """The rows that a slice, row numbers or flags select. Codes do not change."""
        codes = {field: values[rows] for field, values in self.codes.items()}
        return replace(
            self, time=self.time[rows], codes=codes, count=self.count[rows], bytes=self.bytes[rows]
        )

    def _pools(self, frame: pl.DataFrame, principals: Mapping[str, int]) -> tuple[str, ...]:
        """The pool of each principal: the last new one that its rows name."""
        pools = list(self.pools) + [""] * (len(principals) - len(self.pools))
        for principal, pool in frame.select("principal", "pool").unique(maintain_order=True).iter_rows():
            pools[principals[principal]] = pool or pools[principals[principal]]
        return tuple(pools)

    @property
    def pool(self) -> Ints:
        """The code of each principal's pool."""
        order = {pool: code for code, pool in enumerate(sorted(set(self.pools)))}
        return np.asarray([order[pool] for pool in self.pools], dtype=np.int64)

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

    @property
    def pool(self) -> str:
        """The principal's pool."""
        return self.today.pools[int(self.today.codes["principal"][0])]

    def values(self, field: str, *, new: bool = False) -> list[str]:
        """The window's values of a field; with `new`, only values that the past does not contain."""
        codes = np.unique(self.today.codes[field])
        if new:
            codes = np.setdiff1d(codes, self.past.codes[field])
        names = list(self.today.names[field])
        return sorted(names[code] for code in codes if code >= 0)


def day_of(time: datetime) -> float:
    """A time in days since 1970."""
    return (time - EPOCH) / _DAY


def days(times: pl.Series) -> Floats:
    """Times in days since 1970."""
    return times.dt.epoch("us").to_numpy() / (_DAY / timedelta(microseconds=1))
