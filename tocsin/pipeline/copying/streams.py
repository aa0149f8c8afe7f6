"""Copies one stream slice by slice, in the order of ingest time, in bounded memory.

The target assigns new ingest times in the order of the source, so the order of revisions is preserved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import polars as pl

from tocsin.clock import EPOCH
from tocsin.contract.query import COUNT, Condition
from tocsin.contract.streams import ID, INGESTED, TIME
from tocsin.pipeline.copying.progress import Progress
from tocsin.pipeline.copying.slices import appends, slices
from tocsin.store.protocol import Refused, Store

#: Rows that are held in memory at once.
LIMIT = 50_000
_END = datetime(2262, 1, 1, tzinfo=UTC)  # close to the latest time that Elasticsearch can store
_MICROSECOND = timedelta(microseconds=1)


@dataclass(slots=True)
class Copied:
    """The rows of a stream by outcome.

    `refused` counts the rows that the target rejected by reason, including earlier runs; `late` counts the rows that
    were appended to the source during the copy.
    """

    stream: str
    read: int = 0
    rows: int = 0
    duplicates: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)
    late: int = 0


class StreamCopy:
    """Copies one stream from where an earlier copy ended."""

    def __init__(self, source: Store, target: Store, stream: str, limit: int = LIMIT) -> None:
        self._source, self._target, self._stream, self._limit = source, target, stream, limit
        self.progress = Progress.read(source, target, stream)
        # Rows that became visible behind the last row are read as well; known rows count as duplicates.
        self._start = max(self.progress.until - source.overlap, EPOCH)
        self.done = Copied(stream)

    def run(self, cuts: Iterable[datetime], report: Callable[[Copied, int], None]) -> Copied:
        """Copy the stream; `report` is called after each slice with the counts so far and the number of rows to read.

        `cuts` are ingest times of the source whose ingest times in the target must be known: slices end there.

        Raises:
            StoreError: a store cannot be read or written, or another copy is running.
        """
        total = self._ingested(self._start, _END)
        ends = sorted({cut for cut in cuts if self.progress.until <= cut < _END})
        for start, end in pairwise([self._start, *ends, _END]):
            for first, last in slices(self._ingested, start, end, self._limit):
                self._slice(first, last)
                report(self.done, total)
            self._mark(self.progress.until if end == _END else end)
        self.done.refused = self.progress.refused
        return self.done

    def late(self) -> int:
        """How many rows of the source were not read."""
        return max(self._ingested(self._start, _END) - self.done.read, 0)

    def _slice(self, start: datetime, end: datetime) -> None:
        """Copy the rows that were ingested in `(start, end]`, and store the progress."""
        progress, newest, refused = self.progress, self.progress.until, list[Refused]()
        for rows in self._read(start, end):
            newest = max(newest, _latest(rows) or newest)
            progress.reach = max(progress.reach, newest)
            self._save()  # before the first of these rows is in the target
            for part in appends(self._stream, rows):
                appended = self._target.append(self._stream, part)
                self.done.rows += appended.accepted
                self.done.duplicates += appended.duplicates
                refused += appended.refused
            self.done.read += len(rows)
            progress.stamp = self._newest_here(rows)
        progress.until = newest
        progress.refuse(refused)
        self._save()

    def _read(self, start: datetime, end: datetime) -> Iterator[pl.DataFrame]:
        where = _ingested_in(start, end)

        def count(first: datetime, last: datetime) -> int:
            return self._count(*_open(first, last), where)

        short = end - start <= _MICROSECOND  # one append of the source may have any number of rows
        times = slices(count, EPOCH, _END, self._limit) if short else [(EPOCH, _END)]
        for first, last in times:
            yield self._source.scan(self._stream, *_open(first, last), where=where).collect().sort(TIME, ID)

    def _newest_here(self, rows: pl.DataFrame) -> datetime:
        """The newest ingest time in the target after these rows were appended."""
        first, last = rows[TIME].min(), rows[TIME].max()
        if not isinstance(first, datetime) or not isinstance(last, datetime):
            return self.progress.stamp
        where = [Condition(INGESTED, ">", self.progress.stamp)]
        found = self._target.scan(self._stream, first, last + _MICROSECOND, [INGESTED], where)
        return _latest(found.select(pl.col(INGESTED).max()).collect()) or self.progress.stamp

    def _mark(self, there: datetime) -> None:
        if there > EPOCH and self.progress.mark(there):
            self._save()

    def _save(self) -> None:
        self.progress.write(self._source, self._target, self._stream)

    def _ingested(self, start: datetime, end: datetime) -> int:
        return self._count(None, None, _ingested_in(start, end))

    def _count(self, start: datetime | None, end: datetime | None, where: list[Condition]) -> int:
        found = self._source.summarize(self._stream, start, end, [], [COUNT], where)
        return int(found[COUNT.name].sum())


def _ingested_in(start: datetime, end: datetime) -> list[Condition]:
    return [Condition(INGESTED, ">", start), Condition(INGESTED, "<=", end)]


def _open(start: datetime, end: datetime) -> tuple[datetime | None, datetime | None]:
    """An interval of event time with its outermost ends open: events may be earlier or later."""
    return None if start == EPOCH else start, None if end == _END else end


def _latest(rows: pl.DataFrame) -> datetime | None:
    newest = rows[INGESTED].max()
    return newest if isinstance(newest, datetime) else None
