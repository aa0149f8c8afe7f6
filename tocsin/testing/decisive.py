"""The decisive event of a finding: when the evidence was enough, whenever a worker looked.

It is found offline, from the final evaluation of prefixes of the window. It does not depend on triggers, margins or
schedules, so the time from the decisive event to a notification measures them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from tocsin.contract.evaluation import judge
from tocsin.contract.findings import Severity, Subject
from tocsin.contract.plugin import Detector
from tocsin.contract.query import Measure, Where
from tocsin.contract.streams import STREAMS, TIME
from tocsin.contract.windows import Baseline, FrameSource, Source, Window

_TICK = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Prefix:
    """The events of a window up to and with those at `time`, and what the final evaluation of them says about the subject.

    `ratio` is the score divided by the threshold; 0 if the subject has no score.
    """

    time: datetime
    events: int
    ratio: float
    severity: Severity | None


def decisive_event(
    detector: Detector[Any],
    window: Window,
    subject: Subject,
    least: Severity = Severity.INFO,
    baselines: Sequence[Baseline] = (),
    *,
    since: datetime | None = None,
    before: datetime | None = None,
) -> datetime | None:
    """The event time of the last event of the shortest prefix on which the final evaluation gives a finding.

    Prefixes are taken by event time. If the detector declares that its score can only grow (`Early.grows`), the search is
    binary. If not, it evaluates the prefixes in their order up to the first that gives the finding. If the detector judges
    the values of a column independently of one another (`Early.by`), only prefixes that end with an event of the subject are
    evaluated.

    Args:
        detector: the detector.
        window: the whole window with its baseline. Its rows are read into memory once.
        subject: the subject of the finding.
        least: the minimum severity of the finding.
        baselines: the baselines of the final evaluation, if there are several. The worst score counts, as in production.
        since: prefixes that end before this time are not evaluated: nothing had happened yet.
        before: prefixes that end at or after this time are not evaluated.

    Returns:
        None if no prefix gives the finding.
    """
    search = _Search.of(detector, window, subject, baselines)
    first = 0 if since is None else bisect_left(search.times, since)
    last = len(search.times) if before is None else bisect_left(search.times, before)
    times = search.times[first:last]

    def found(time: datetime) -> bool:
        severity = search.prefix(time).severity
        return severity is not None and severity.rank >= least.rank

    if detector.early is not None and detector.early.grows:
        place = bisect_left(times, True, key=found)  # noqa: FBT003 — False sorts before True
        return times[place] if place < len(times) else None
    return next((time for time in times if found(time)), None)


def prefixes(
    detector: Detector[Any],
    window: Window,
    subject: Subject,
    wanted: Callable[[int], bool] = lambda _: True,
    baselines: Sequence[Baseline] = (),
) -> list[Prefix]:
    """The curve of a score: the final evaluation of each prefix whose number of events is `wanted`."""
    search = _Search.of(detector, window, subject, baselines)
    return [search.prefix(time) for time in search.times if wanted(search.events(time))]


@dataclass(frozen=True, slots=True)
class Cut:
    """A source without the events from a time on. `rows` are the events, and `source` has the snapshots."""

    rows: Source
    source: Source
    after: datetime

    def scan(
        self,
        stream: str,
        start: datetime,
        end: datetime,
        columns: Sequence[str] | None = None,
        where: Where = (),
    ) -> pl.LazyFrame:
        return self.rows.scan(stream, start, min(end, self.after), columns, where)

    def summarize(
        self,
        stream: str,
        start: datetime,
        end: datetime,
        by: Sequence[str],
        measures: Sequence[Measure],
        where: Where = (),
    ) -> pl.DataFrame:
        return self.rows.summarize(stream, start, min(end, self.after), by, measures, where)

    def snapshot(self, digest: str) -> pl.LazyFrame:
        return self.source.snapshot(digest)


@dataclass(frozen=True, slots=True)
class _Search:
    """A window in memory, and the times of the events with which a prefix may end, in order."""

    detector: Detector[Any]
    window: Window
    subject: Subject
    baselines: Sequence[Baseline | None]
    rows: FrameSource
    times: Sequence[datetime]

    @classmethod
    def of(
        cls, detector: Detector[Any], window: Window, subject: Subject, baselines: Sequence[Baseline]
    ) -> _Search:
        frames, times = {}, set[datetime]()
        requires, by = detector.requires, detector.early.by if detector.early else ""
        for stream in requires.streams:
            before = window.before(requires.history or timedelta(0)).scan(stream)
            frames[stream] = pl.concat([before, window.scan(stream)]).collect()
            inside = frames[stream].filter(pl.col(TIME) >= window.start)
            own = inside.filter(pl.col(by) == subject.id) if by in STREAMS[stream].by_name else inside
            times |= set((inside if own.is_empty() else own)[TIME])
        known: list[Baseline | None] = [*baselines] or [window.baseline]
        return cls(detector, window, subject, known, FrameSource(frames), sorted(times))

    def events(self, time: datetime) -> int:
        """The number of events of the window up to and with a time."""
        inside = (pl.col(TIME) >= self.window.start) & (pl.col(TIME) <= time)
        return sum(frame.filter(inside).height for frame in self.rows.frames.values())

    def prefix(self, time: datetime) -> Prefix:
        cut = Cut(self.rows, self.window.source, time + _TICK)
        window = replace(self.window, source=cut, past=cut, changed=None)
        own = [
            judged
            for baseline in self.baselines
            for judged in judge(self.detector, window.with_baseline(baseline))
            if judged.score.subject == self.subject and not judged.score.aspect
        ]
        worst = max(own, key=lambda judged: judged.score.value / judged.threshold, default=None)
        if worst is None:
            return Prefix(time, self.events(time), 0.0, None)
        severity = worst.finding.severity if worst.finding else None
        return Prefix(time, self.events(time), worst.score.value / worst.threshold, severity)
