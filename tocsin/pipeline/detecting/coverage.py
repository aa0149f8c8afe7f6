"""Which windows were evaluated and which were not, for each detector: evidence for the absence of alerts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from tocsin.clock import Clock, floor_time
from tocsin.contract.query import COUNT
from tocsin.pipeline.detecting.ledger import Ledger
from tocsin.pipeline.detecting.pending import Waiting
from tocsin.pipeline.detecting.records import newest_runs
from tocsin.pipeline.detecting.settings import Setting
from tocsin.store.protocol import Store

_COLUMNS = ("event.action", "event.reason", "tocsin.run.rows", "tocsin.run.searched")
#: Outcomes of windows without a record: no events; the window has not ended; evaluation is due.
EMPTY, OPEN, DUE = "empty", "open", "due"
_FEW = 10_000  # up to this many events, count by window instead of halving the time range


@dataclass(frozen=True, slots=True)
class Span:
    """Consecutive windows of one detector with the same outcome. The reason is that of the last window."""

    detector: str
    start: datetime
    end: datetime
    outcome: str
    reason: str = ""
    windows: int = 1
    rows: int = 0
    searched: datetime | None = None  # the oldest event time that was read

    def joined(self, other: Span) -> Span | None:
        """Both spans as one, or None if their outcomes differ or they are not adjacent."""
        if (self.outcome, self.end) != (other.outcome, other.start):
            return None
        searched = min(filter(None, (self.searched, other.searched)), default=None)
        return replace(
            other,
            start=self.start,
            windows=self.windows + other.windows,
            rows=self.rows + other.rows,
            searched=searched,
        )


def coverage(
    store: Store, clock: Clock, ledger: Ledger, setting: Setting, start: datetime, end: datetime
) -> list[Span]:
    """Every window of a detector that begins in `[start, end)`, oldest first, equal outcomes joined."""
    return _joined(_windows(store, clock, ledger, setting, start, end))


def recorded(store: Store, detector: str, start: datetime, end: datetime) -> list[Span]:
    """The recorded windows of a detector that begin in `[start, end)`. The detector need not be configured."""
    newest = newest_runs(store, detector, start, end, None, ["tocsin.window.end", *_COLUMNS])
    rows = newest.sort("tocsin.window.start", "tocsin.window.end").iter_rows(named=True)
    return _joined(_span(detector, row, row["tocsin.window.end"]) for row in rows)


def _joined(windows: Iterator[Span]) -> list[Span]:
    """Join consecutive spans with the same outcome."""
    spans: list[Span] = []
    for span in windows:
        joined = spans[-1].joined(span) if spans else None
        if joined is None:
            spans.append(span)
        else:
            spans[-1] = joined
    return spans


def _span(detector: str, row: dict[str, Any], end: datetime) -> Span:
    """The span of a recorded window."""
    failed = row["event.action"] == "failed"
    return Span(
        detector,
        row["tocsin.window.start"],
        end,
        "gap" if failed else row["event.action"],
        row["event.reason"] or "",
        rows=row["tocsin.run.rows"] or 0,
        searched=row["tocsin.run.searched"],
    )


def _windows(
    store: Store, clock: Clock, ledger: Ledger, setting: Setting, start: datetime, end: datetime
) -> Iterator[Span]:
    detector, length = setting.detector.id, setting.detector.requires.window
    first = floor_time(start, length)
    grid = [first + i * length for i in range(max(-(-(end - first) // length), 0))]
    newest = newest_runs(store, detector, first, end, length, _COLUMNS)
    known = {row["tocsin.window.start"]: row for row in newest.iter_rows(named=True)}
    waiting = {w.start: w for w in ledger.waiting(detector)}
    missing = [at for at in grid if at not in known]
    full = _full(store, setting, missing)
    for at in grid:
        row = known.get(at)
        if row is None:
            outcome, reason = _unrecorded(setting, at, clock.now(), waiting.get(at), full)
            yield Span(detector, at, at + length, outcome, reason)
        else:
            yield _span(detector, row, at + length)


def _full(store: Store, setting: Setting, starts: Sequence[datetime]) -> set[datetime]:
    """The starts of those windows that contain events."""
    length = setting.detector.requires.window
    streams = setting.detector.requires.streams if starts else ()
    return set().union(*(_holding(store, stream, starts, length) for stream in streams))


def _holding(store: Store, stream: str, starts: Sequence[datetime], length: timedelta) -> set[datetime]:
    """The same for one stream: halves the time range until few events are left, then counts them by window."""
    start, end = starts[0], starts[-1] + length
    number = store.summarize(stream, start, end, [], [COUNT])["count"].sum()
    if not number or len(starts) == 1:
        return set(starts) if number else set()
    if number > _FEW:
        middle = len(starts) // 2
        halves = starts[:middle], starts[middle:]
        return set().union(*(_holding(store, stream, half, length) for half in halves))
    return set(store.windows(stream, length, start, end)["start"])


def _unrecorded(
    setting: Setting, start: datetime, now: datetime, waiting: Waiting | None, full: set[datetime]
) -> tuple[str, str]:
    if setting.due(start) > now:
        return OPEN, ""
    if waiting is not None:
        return DUE, ""
    if start not in full:
        return EMPTY, "no events"
    return (
        "gap",
        "not evaluated: the detector was not enabled when these events arrived, or no worker is running",
    )
