"""Detect: touched windows, re-evaluated whole, to scores, findings and a record of each attempt.

What was ingested since a detector's checkpoint names the windows of event time to evaluate; a window that
is not over yet waits. Everything that is appended has an id that follows from its content, so an attempt
that a crash cut short is done again and changes nothing that was already there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from tocsin.clock import Clock, floor_time, format_time, parse_time
from tocsin.errors import BaselineError
from tocsin.evaluation import Judgement, fit, judge
from tocsin.findings import Severity
from tocsin.frames import conform
from tocsin.pipeline.baselines import Baselines, Version
from tocsin.pipeline.cursors import Cursor, window_starts
from tocsin.pipeline.records import Run, newest_findings, revisions, run_row, score_row
from tocsin.pipeline.source import StoreSource
from tocsin.plugin import Detector
from tocsin.query import Condition
from tocsin.store.protocol import Store
from tocsin.streams import STREAMS, TIME
from tocsin.windows import Baseline, Window

_STATE = "detect"
_Pending = dict[str, Any]  # of a window: the ingest time up to which it was touched, and failed attempts
_COMMIT = 200  # attempts that are written down together
_ATTEMPTS = 5  # a window that fails this often is given up, and its record says so
#: A finding of this severity keeps its window out of rolling baselines.
_SUSPECT = Severity.MEDIUM


@dataclass(frozen=True, slots=True)
class Setting:
    """One configured detector."""

    detector: Detector[Any]
    false_alarms: float = 0.01
    lateness: timedelta = timedelta(0)
    rolling: bool | None = None  # None: only while no version is pinned
    refit: timedelta | None = None  # None: a quarter of the baseline's length


class Detect:
    """Runs detectors over a store."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._unrecorded: list[tuple[Run, _Pending]] = []
        self.baselines = Baselines(store, clock)

    def due(self, setting: Setting) -> list[datetime]:
        """Starts of the windows that are touched and over, oldest first; takes note of new ones."""
        detector, length = setting.detector, setting.detector.requires.window
        entry = self._store.get(_STATE, detector.id)
        value: dict[str, Any] = dict(entry.value) if entry else {"cursors": {}, "pending": {}}
        cursors, pending = dict(value["cursors"]), dict(value["pending"])
        for stream in detector.requires.streams:
            cursor = Cursor.read(cursors.get(stream))
            touched = cursor.look(self._store, stream, length)
            cursors[stream] = touched.cursor.to_dict()
            for start, seen in touched.windows.items():
                pending[format_time(start)] = {"seen": seen, "attempts": 0}
        if cursors != value["cursors"]:
            self._store.put(
                _STATE,
                detector.id,
                {"cursors": cursors, "pending": pending},
                entry.version if entry else None,
            )
        over = self._clock.now() - setting.lateness - length
        return sorted(t for t in map(parse_time, pending) if t <= over)

    def run(
        self,
        settings: Sequence[Setting],
        start: datetime | None = None,
        end: datetime | None = None,
        progress: Callable[[Run], None] = lambda _: None,
    ) -> list[Run]:
        """Evaluate what is due, or with `start` and `end` every window of that time that holds events.

        Raises:
            StoreError: the store cannot be read or written.
        """
        explicit = start is not None or end is not None
        runs: list[Run] = []
        for setting in settings:
            starts = self._between(setting, start, end) if explicit else self.due(setting)
            pending = self._pending(setting)  # before any attempt: what comes from now on is not crossed off
            for begin in starts:
                run = self._attempt(setting, begin)
                self._unrecorded.append((run, pending.get(format_time(begin), {})))
                progress(run)
                runs.append(run)
                if len(self._unrecorded) >= _COMMIT:
                    self._record()
        self._record()
        return runs

    def _between(self, setting: Setting, start: datetime | None, end: datetime | None) -> list[datetime]:
        length, starts = setting.detector.requires.window, set()
        for stream in setting.detector.requires.streams:
            times = self._store.scan(stream, start and floor_time(start, length), end, [TIME])
            starts |= set(times.select(window_starts(length).unique()).collect().to_series().to_list())
        return sorted(starts)

    def _pending(self, setting: Setting) -> dict[str, _Pending]:
        """A detector's touched windows by their start, to be compared when they are crossed off."""
        entry = self._store.get(_STATE, setting.detector.id)
        return dict(entry.value["pending"]) if entry else {}

    def _attempt(self, setting: Setting, start: datetime) -> Run:
        detector, began = setting.detector, time.perf_counter()
        window = Window(start, start + detector.requires.window, StoreSource(self._store))
        try:
            with _one_thread():
                versions = self._in_force(setting, window)
                best = self._judge(detector, window, versions)
            rows = sum(
                self._store.scan(s, window.start, window.end, [TIME]).select(pl.len()).collect().item()
                for s in detector.requires.streams
            )
        except BaselineError as error:
            outcome = Run(detector.id, start, window.end, "skipped", str(error))
        except (Exception, SystemExit) as error:  # noqa: BLE001 — the fence around plug-in calls: one detector never stops another
            outcome = Run(detector.id, start, window.end, "failed", f"{type(error).__name__}: {error}")
        else:
            digest = ",".join(v.digest for v in versions)
            outcome = Run(detector.id, start, window.end, "evaluated", "", rows, tuple(best), digest)
        return replace(outcome, seconds=time.perf_counter() - began)

    def _judge(
        self, detector: Detector[Any], window: Window, versions: Sequence[Version]
    ) -> Iterator[Judgement]:
        """Against each baseline in force; a subject's worst judgement counts."""
        baselines: list[Baseline | None] = [self.baselines.load(v) for v in versions] or [None]
        worst: dict[Any, Judgement] = {}
        for baseline in baselines:
            for judged in judge(detector, window.with_baseline(baseline)):
                other = worst.get(judged.score.subject)
                if (
                    other is None
                    or judged.score.value / judged.threshold > other.score.value / other.threshold
                ):
                    worst[judged.score.subject] = judged
        return iter(worst.values())

    def _in_force(self, setting: Setting, window: Window) -> list[Version]:
        detector = setting.detector
        if detector.requires.baseline is None:
            return []
        pinned = self.baselines.pinned(detector.id)
        if pinned is not None and window.start < pinned.end and window.end > pinned.start:
            raise BaselineError("the window lies in the time that the pinned baseline was fitted on")
        if pinned is not None and not setting.rolling:
            return [pinned]
        rolling = self.baselines.rolling(detector.id, window.start)
        refit = setting.refit or detector.requires.baseline / 4
        if rolling is None or window.start - rolling.end >= refit:
            try:
                rolling = self.fit(setting, window.start)
            except BaselineError:
                if rolling is None and pinned is None:
                    raise
        found = {v.number: v for v in (pinned, rolling) if v is not None}
        return list(found.values())

    def fit(self, setting: Setting, end: datetime, start: datetime | None = None) -> Version:
        """Fit a baseline on the time that ends at `end` and keep it as the next version.

        Windows with findings of `medium` or worse are left out.

        Raises:
            BaselineError: the detector has none, or the history is too small.
        """
        detector, length = setting.detector, setting.detector.requires.baseline
        if length is None:
            raise BaselineError(f"detector {detector.id} compares with no baseline")
        self._record()
        begin = start or end - length
        suspect = self._suspect(detector.id, begin, end)
        window = Window(begin, end, StoreSource(self._store, suspect), past=StoreSource(self._store))
        first = self._first_event(window, detector.requires.streams)
        if start is None and (first is None or first > end - length / 2):
            raise BaselineError(
                f"detector {detector.id}: history before {format_time(end)} is shorter than half of its baseline; "
                "wait, or fit one with `tocsin baseline fit --from T --to T`"
            )
        with _one_thread():
            fitted = fit(detector, replace(window, start=max(begin, first or begin)), setting.false_alarms)
        return self.baselines.save(detector.id, fitted, begin, end)

    def _first_event(self, window: Window, streams: Sequence[str]) -> datetime | None:
        firsts = [window.scan(s, [TIME]).select(pl.col(TIME).min()).collect().item() for s in streams]
        return min((f for f in firsts if f is not None), default=None)

    def _suspect(
        self, detector: str, start: datetime, end: datetime
    ) -> tuple[tuple[datetime, datetime], ...]:
        bad = [s.value for s in Severity if s.rank >= _SUSPECT.rank]
        rows = newest_findings(
            self._store,
            [
                Condition("tocsin.detector.id", "==", detector),
                Condition("tocsin.window.end", ">", start),
                Condition("tocsin.window.start", "<", end),
            ],
        ).filter(pl.col("tocsin.severity").is_in(bad))
        pairs = rows.select("tocsin.window.start", "tocsin.window.end").unique().sort("tocsin.window.start")
        return tuple(pairs.iter_rows())

    def _record(self) -> None:
        """Write down the attempts since the last time, one commit a stream, then cross them off.

        A window into which more events came since its attempt began is not crossed off.
        """
        attempts, self._unrecorded = self._unrecorded, []
        if not attempts:
            return
        runs = [_numbered(run, seen) for run, seen in attempts]
        evaluated = [run for run in runs if run.outcome == "evaluated"]
        self._append("score", [score_row(run, j) for run in evaluated for j in run.judged])
        self._append("finding", revisions(self._store, evaluated))
        self._append("run", [run_row(run) for run in runs])
        for detector in sorted({run.detector for run in runs}):
            own = [
                (run, seen) for run, (_, seen) in zip(runs, attempts, strict=True) if run.detector == detector
            ]
            while not self._cross_off(detector, own):
                pass  # another process wrote this record meanwhile

    def _cross_off(self, detector: str, attempts: Sequence[tuple[Run, _Pending]]) -> bool:
        entry = self._store.get(_STATE, detector)
        if entry is None:
            return True
        pending = dict(entry.value["pending"])
        for run, seen in attempts:
            start = format_time(run.start)
            if pending.get(start, {}) == seen:
                pending.pop(start, None)
                if run.outcome == "failed" and run.attempt < _ATTEMPTS:
                    pending[start] = {"seen": seen.get("seen", ""), "attempts": run.attempt}
        value = {**entry.value, "pending": pending}
        return value == entry.value or self._store.put(_STATE, detector, value, entry.version) is not None

    def _append(self, stream: str, rows: list[dict[str, Any]]) -> None:
        if rows:
            frame = conform(pl.DataFrame(rows, infer_schema_length=None), stream)
            constants = [
                pl.lit(v, dtype=frame.schema[k]).alias(k) for k, v in STREAMS[stream].constants.items()
            ]
            self._store.append(stream, frame.with_columns(constants))


def _numbered(run: Run, seen: _Pending) -> Run:
    """With the number of the attempt; the last one that failed says that it was the last."""
    attempt = seen.get("attempts", 0) + 1
    if run.outcome != "failed" or attempt < _ATTEMPTS:
        return replace(run, attempt=attempt)
    return replace(run, attempt=attempt, reason=f"{run.reason}; given up after {attempt} attempts")


def _one_thread() -> AbstractContextManager[object]:
    """A detector computes on one thread: on a busy machine the threads of many small fits wait for each
    other (measured on 2 cores under load: 34 s instead of 0.6 s), and sums come out in one order.
    """
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[object] = threadpool_limits(1)
    return limits
