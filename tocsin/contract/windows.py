"""A window: an interval of event time, and the queries that a detector may run on its rows."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol, Self

import msgspec
import polars as pl

from tocsin.clock import floor_time, format_length, parse_length
from tocsin.contract.findings import Json
from tocsin.contract.frames import conform, empty
from tocsin.contract.query import COUNT, Condition, Measure, Where
from tocsin.contract.streams import ID, STREAMS, TIME
from tocsin.datasets.digest import digest_frame
from tocsin.errors import InputError, SnapshotError

__all__ = ["Baseline", "FrameSource", "Source", "Window", "aggregate", "matches"]


class Source(Protocol):
    """The source of a window's rows: the store in production, data frames in tests and notebooks."""

    def scan(
        self,
        stream: str,
        start: datetime,
        end: datetime,
        columns: Sequence[str] | None = None,
        where: Where = (),
    ) -> pl.LazyFrame:
        """Rows of a stream with `start <= @timestamp < end`."""
        ...

    def summarize(
        self,
        stream: str,
        start: datetime,
        end: datetime,
        by: Sequence[str],
        measures: Sequence[Measure],
        where: Where = (),
    ) -> pl.DataFrame:
        """One row with the measures for each group of rows with `start <= @timestamp < end`."""
        ...

    def snapshot(self, digest: str) -> pl.LazyFrame:
        """The rows of a dataset snapshot.

        Raises:
            SnapshotError: the rows are missing, or do not match the digest.
        """
        ...


@dataclass(frozen=True, eq=False)
class Baseline:
    """What a detector learned as normal: data frames and JSON values, never pickles.

    A detector's `fit` returns a baseline with `frames` and `values`. The platform adds the calibrated `threshold` and
    stores the baseline with its digest. `scores`: number of quiet scores that the threshold was learned from; None if it
    was not learned.
    """

    frames: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    values: Mapping[str, Json] = field(default_factory=dict)
    threshold: float | None = None
    scores: int | None = None

    @property
    def content(self) -> dict[str, Json]:
        """All but the frames, as JSON. Baselines of earlier versions have no `scores`."""
        scores = {} if self.scores is None else {"scores": self.scores}
        return {"values": self.values, "threshold": self.threshold, **scores}

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 over frames and content. Each finding contains the digest of its baseline."""
        sha = hashlib.sha256(msgspec.json.encode(self.content, order="sorted"))
        for name in sorted(self.frames):
            sha.update(f"{name}\0{digest_frame(self.frames[name])}\0".encode())
        return sha.hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class FrameSource:
    """A source over data frames in memory. `snapshots` are the rows of dataset snapshots, by digest."""

    frames: Mapping[str, pl.DataFrame]
    snapshots: Mapping[str, pl.LazyFrame] = field(default_factory=dict)

    @classmethod
    def of(
        cls, frames: Mapping[str, pl.DataFrame], snapshots: Mapping[str, pl.LazyFrame] | None = None
    ) -> Self:
        """Convert each frame to the schema of its stream. Missing columns are filled with null.

        Raises:
            InputError: a stream is unknown, or a column cannot be converted to its type.
        """
        for name, frame in frames.items():
            if not isinstance(frame, pl.DataFrame):
                raise InputError(f"stream {name}: expected a polars.DataFrame, got {type(frame).__name__}")
        return cls({name: conform(frame, name) for name, frame in frames.items()}, snapshots or {})

    def scan(
        self,
        stream: str,
        start: datetime,
        end: datetime,
        columns: Sequence[str] | None = None,
        where: Where = (),
    ) -> pl.LazyFrame:
        frame = self.frames.get(stream)
        rows = (empty(stream) if frame is None else frame).lazy()
        rows = rows.filter((pl.col(TIME) >= start) & (pl.col(TIME) < end), *map(matches, where))
        return rows if columns is None else rows.select(columns)

    def summarize(
        self,
        stream: str,
        start: datetime,
        end: datetime,
        by: Sequence[str],
        measures: Sequence[Measure],
        where: Where = (),
    ) -> pl.DataFrame:
        return aggregate(self.scan(stream, start, end, where=where), by, measures)

    def snapshot(self, digest: str) -> pl.LazyFrame:
        try:
            return self.snapshots[digest]
        except KeyError:
            raise SnapshotError(f"the rows of dataset snapshot {digest} are not in `snapshots`") from None


@dataclass(frozen=True, slots=True)
class Window:
    """The interval `[start, end)` of event time, with its rows. A window is the only input of a detector."""

    start: datetime
    end: datetime
    source: Source
    baseline: Baseline | None = None
    past: Source | None = None  # the source of `history` and `before`; None: the same as `source`
    changed: frozenset[str | None] | None = None

    """`changed`: in an early evaluation, the values of `Early.by` to judge, as the events spell them; None: all."""

    @property
    def length(self) -> timedelta:
        """The length of the interval."""
        return self.end - self.start

    @property
    def calibrating(self) -> bool:
        """Whether the scores of this window only calibrate the threshold. Nobody reads their aspects and evidence then."""
        return self.baseline is not None and self.baseline.threshold is None

    @property
    def words(self) -> str:
        """The length as text, such as `1d`."""
        return format_length(self.length)

    def scan(self, stream: str, columns: Sequence[str] | None = None, where: Where = ()) -> pl.LazyFrame:
        """The window's rows of a stream as a lazy frame. The order of the rows is not defined."""
        return self.source.scan(stream, self.start, self.end, columns, where)

    def rows(self, stream: str, columns: Sequence[str] | None = None, where: Where = ()) -> pl.DataFrame:
        """The window's rows of a stream, sorted by event time and event id."""
        names = list(columns) if columns is not None else [c.name for c in STREAMS[stream].columns]
        keys = [key for key in (TIME, ID) if key not in names]
        frame = self.scan(stream, [*names, *keys], where).collect()
        return frame.sort(TIME, ID, maintain_order=True).select(names)

    def summary(
        self,
        stream: str,
        by: Sequence[str],
        measures: Sequence[Measure] = (COUNT,),
        where: Where = (),
    ) -> pl.DataFrame:
        """One row of measures for each group of the window's rows, sorted by `by`. The store computes the rows."""
        frame = self.source.summarize(stream, self.start, self.end, by, measures, where)
        return frame.sort(list(by))

    def history(
        self,
        stream: str,
        length: str | timedelta,
        columns: Sequence[str] | None = None,
        where: Where = (),
    ) -> pl.LazyFrame:
        """Rows of a stream in the interval of `length` before the window, as a lazy frame."""
        return self.before(length).scan(stream, columns, where)

    def before(self, length: str | timedelta) -> Window:
        """The window of `length` that ends at the start of this window."""
        span = parse_length(length) if isinstance(length, str) else length
        return Window(self.start - span, self.start, self.past or self.source)

    def snapshot(self, digest: str) -> pl.LazyFrame:
        """The rows of a dataset snapshot, after verification of their digest.

        Raises:
            SnapshotError: the rows are missing, or do not match the digest.
        """
        return self.source.snapshot(digest)

    def tumble(self, length: str | timedelta) -> Iterator[Window]:
        """The tumbling windows of `length` that overlap this window, oldest first, each cut to this window."""
        span = parse_length(length) if isinstance(length, str) else length
        start = floor_time(self.start, span)
        while start < self.end:
            yield replace(self, start=max(start, self.start), end=min(start + span, self.end))
            start += span

    def split(self, fraction: float) -> tuple[Window, Window]:
        """Two windows: the first `fraction` of the interval, and the rest of it."""
        middle = self.start + self.length * fraction
        return replace(self, end=middle), replace(self, start=middle)

    def with_rows(
        self, frames: Mapping[str, pl.DataFrame], snapshots: Mapping[str, pl.LazyFrame] | None = None
    ) -> Window:
        """A window with the same interval and baseline but other rows, for example a chunk for calibration."""
        return replace(self, source=FrameSource.of(frames, snapshots), past=self.past or self.source)

    def with_baseline(self, baseline: Baseline | None) -> Window:
        """A window with the same interval and rows but another baseline."""
        return replace(self, baseline=baseline)


def matches(condition: Condition) -> pl.Expr:
    """A condition as a Polars expression."""
    column, value = pl.col(condition.column), condition.value
    match condition.operator:
        case "==":
            return column.eq(value)
        case "!=":
            return column.ne(value)
        case "<":
            return column.lt(value)
        case "<=":
            return column.le(value)
        case ">":
            return column.gt(value)
        case ">=":
            return column.ge(value)
        case "in":
            return column.is_in(value)
        case "not_null":
            return column.is_not_null()


def aggregate(rows: pl.LazyFrame, by: Sequence[str], measures: Sequence[Measure]) -> pl.DataFrame:
    """Compute measures for each group of rows: `Source.summarize` for rows in memory."""
    return rows.group_by(list(by)).agg(*(_measure(m) for m in measures)).collect()


def _measure(measure: Measure) -> pl.Expr:
    column = pl.col(measure.column)
    match measure.function:
        case "count":
            expression = pl.len()
        case "distinct":
            expression = column.drop_nulls().n_unique()
        case "sum":
            expression = column.sum()
        case "min":
            expression = column.min()
        case "max":
            expression = column.max()
        case "mean":
            expression = column.mean()
    return expression.alias(measure.name)
