"""Evaluates one window of one detector against the baselines in force.

This code runs in the same process as the detectors: this one, or the one behind the fence (`fence.py`).
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import polars as pl

from tocsin.clock import Clock, format_time
from tocsin.contract.evaluation import Judgement, fit, judge
from tocsin.contract.findings import Outcome
from tocsin.contract.plugin import Detector
from tocsin.contract.query import COUNT, Condition
from tocsin.contract.short import capped, is_short, most, widened, wider, words
from tocsin.contract.streams import INGESTED, TIME
from tocsin.contract.windows import Baseline, Window
from tocsin.errors import BaselineChanged, BaselineError, PluginError, StoreAway, StoreError, described
from tocsin.pipeline.detecting.baselines import Baselines, Version
from tocsin.pipeline.detecting.newest import timed
from tocsin.pipeline.detecting.records import Run
from tocsin.pipeline.detecting.settings import Setting
from tocsin.pipeline.detecting.source import StoreSource
from tocsin.pipeline.detecting.suspects import Interval, suspects
from tocsin.store.protocol import Store

#: An early evaluation tries to fit a baseline again after so long: a fit costs as much as a window's evaluation, or more.
_RETRY = timedelta(hours=1)
_TRACEBACK = 8_000  # characters of a traceback that are stored: the last ones


class Partial(NamedTuple):
    """A request to evaluate a window that has not ended.

    `changed`: the values of the detector's `Early.by` to judge; None: all. `since` and `reach`: the rows that were counted
    have an ingest time above the first, and at most the second. `rows`: how many rows of the window the
    streams with new ones have. `fit`: a baseline that is due may be fitted, because every earlier window with events has
    its final evaluation.
    """

    changed: frozenset[str | None] | None
    since: datetime
    reach: datetime
    rows: int
    fit: bool = False


def _new(partial: Partial | None) -> list[Condition]:
    """The conditions of the rows that a request counted; of a whole window, none."""
    if partial is None:
        return []
    return [Condition(INGESTED, ">", partial.since), Condition(INGESTED, "<=", partial.reach)]


class _Unfitted(NamedTuple):
    """A baseline that could not be fitted: the end of its history, when that was tried, and why it failed."""

    end: datetime
    at: datetime
    reason: str


class Evaluator:
    """Evaluates windows and fits baselines over a store."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self.baselines = Baselines(store, clock)
        self._unfitted: dict[str, _Unfitted] = {}

    def attempt(
        self,
        setting: Setting,
        start: datetime,
        suspect: Sequence[Interval] = (),
        heartbeat: Callable[[], None] = lambda: None,  # noqa: ARG002
        partial: Partial | None = None,
    ) -> Run:
        """Evaluate one window: `evaluated`, `skipped` or `failed`.

        Args:
            setting: the detector.
            start: the start of the window.
            suspect: windows with findings that are not recorded yet.
            heartbeat: unused here; `Fence` calls it while it waits.
            partial: of a window that has not ended.

        Raises:
            StoreAway: the store is unavailable. The attempt does not count as failed, and the window stays due.
        """
        detector, began = setting.detector, time.perf_counter()
        start = start.astimezone(UTC)  # a time from Polars has a zone that an answer may not contain
        window = Window(start, start + detector.requires.window, StoreSource(self._store))
        window = replace(window, changed=partial.changed) if partial else window
        run = Run(detector.id, start, window.end, Outcome.EVALUATED)
        try:
            with one_thread():
                versions, how = self._versions(setting, window, suspect, partial)
                best = self._judge(detector, window, versions)
            judged = timed(self._store, detector, window, best, _new(partial))
            rows = partial.rows if partial else self._count(window, detector.requires.streams)
        except BaselineChanged as error:
            run = replace(run, outcome=Outcome.FAILED, reason=str(error), fault="baseline")
        except BaselineError as error:
            run = replace(run, outcome=Outcome.SKIPPED, reason=str(error))
        except StoreAway as error:
            self._store.get("upkeep", "last")  # raises if the store is away; if not, the detector raised it
            run = replace(run, outcome=Outcome.FAILED, reason=described(error), fault="raised")
        except StoreError as error:
            run = replace(run, outcome=Outcome.FAILED, reason=str(error), fault="store")
        except PluginError as error:
            run = replace(run, outcome=Outcome.FAILED, reason=str(error), fault="output")
        except BaseException as error:  # noqa: BLE001 — the fence around plug-in calls: one detector never stops another, whatever it raises
            reason, trace = described(error), _trace()
            run = replace(run, outcome=Outcome.FAILED, reason=reason, fault="raised", traceback=trace)
        else:
            digest = ",".join(v.digest for v in versions)
            first = start - (detector.requires.history or start - start)
            searched = min([first, *(v.start for v in versions)])
            run = replace(run, rows=rows, judged=judged, baseline=digest, searched=searched, reason=how)
        reason = run.reason.encode("utf-8", "replace").decode()
        return replace(run, reason=reason, seconds=time.perf_counter() - began)

    def _count(self, window: Window, streams: Sequence[str]) -> int:
        counted = [self._store.summarize(stream, window.start, window.end, [], [COUNT]) for stream in streams]
        return sum(int(rows[COUNT.name].sum()) for rows in counted)

    def _judge(
        self, detector: Detector[Any], window: Window, versions: Sequence[Version]
    ) -> Iterator[Judgement]:
        """Judge the window against each baseline in force. Each subject's worst judgement counts.

        Beside shortened baselines, the rules of a detector judge alone, too: they need no history.
        """
        lengths = [_short(detector, v) for v in versions]
        baselines: list[tuple[Baseline | None, timedelta | None]] = [
            (self.baselines.load(v), length) for v, length in zip(versions, lengths, strict=True)
        ]
        if not versions or (detector.rules and all(lengths)):
            baselines.append((None, None))
        worst: dict[Any, Judgement] = {}
        for baseline, short in baselines:
            for given in judge(detector, window.with_baseline(baseline)):
                judged = capped(given, detector.requires, short) if short else given
                key = (judged.score.subject, judged.score.aspect)
                if key not in worst or _badness(judged) > _badness(worst[key]):
                    worst[key] = judged
        return iter(worst.values())

    def _versions(
        self, setting: Setting, window: Window, suspect: Sequence[Interval], partial: Partial | None
    ) -> tuple[list[Version], str]:
        """The baselines in force, and how the window is judged if they are less than a whole baseline."""
        detector = setting.detector
        if partial is None:
            self._unfitted.pop(detector.id, None)
        try:
            versions = self._in_force(setting, window, suspect, fit=partial is None or partial.fit)
        except BaselineChanged:
            raise
        except BaselineError as error:
            if not detector.rules:
                raise
            return [], f"judged without a baseline: rules only; {error}"
        lengths = [_short(detector, v) for v in versions]
        if not versions or not all(lengths):
            return versions, ""
        longest = max(length for length in lengths if length)
        factor = wider(detector.requires, longest)
        worst = most(detector.requires, longest).value
        how = f"judged with a short baseline of {words(longest)}: threshold × {factor:.1f}, at most {worst}"
        return versions, how + (", and by rules" if detector.rules else "")

    def _in_force(
        self, setting: Setting, window: Window, suspect: Sequence[Interval], *, fit: bool
    ) -> list[Version]:
        detector = setting.detector
        if detector.requires.baseline is None:
            return []
        pinned = self.baselines.pinned(detector.id)
        if pinned is not None and window.start < pinned.end and window.end > pinned.start:
            raise BaselineError(
                "the window overlaps the time that the pinned baseline was fitted on; it cannot be compared with itself"
            )
        if pinned is not None and not setting.rolling:
            return [pinned]
        rolling = self.baselines.rolling(detector.id, window.start)
        refit = setting.refit or detector.requires.baseline / 4
        if rolling is not None and (length := _short(detector, rolling)):
            refit = min(refit, length / 2)
        if not fit and rolling is None and pinned is None:
            raise BaselineError("no baseline yet: it is fitted once all earlier windows have been evaluated")
        if fit and (rolling is None or window.start - rolling.end >= refit):
            try:
                rolling = self._fit_again(setting, window.start, suspect)
            except BaselineError:
                if rolling is None and pinned is None:
                    raise
        found = {v.number: v for v in (pinned, rolling) if v is not None}
        return list(found.values())

    def _fit_again(self, setting: Setting, end: datetime, suspect: Sequence[Interval]) -> Version:
        """Fit the baseline that ends at `end`, unless that failed within the last `_RETRY`."""
        detector, now = setting.detector.id, self._clock.now()
        before = self._unfitted.get(detector)
        if before is not None and before.end == end and now - before.at < _RETRY:
            raise BaselineError(before.reason)
        try:
            return self.fit(setting, end, suspect=suspect)
        except BaselineError as error:
            self._unfitted[detector] = _Unfitted(end, now, str(error))
            raise

    def fit(
        self,
        setting: Setting,
        end: datetime,
        start: datetime | None = None,
        suspect: Sequence[Interval] = (),
    ) -> Version:
        """Fit a baseline on the time that ends at `end` and store it as the next version.

        Windows with suspect findings are excluded (`is_suspect`), and so are `suspect` windows.

        Raises:
            BaselineError: the detector has no baseline, or the history is too short.
        """
        detector, length = setting.detector, setting.detector.requires.baseline
        if length is None:
            raise BaselineError(f"detector {detector.id} does not use a baseline")
        begin = start or end - length
        without = (*suspects(self._store, detector.id, begin, end), *suspect)
        window = Window(begin, end, StoreSource(self._store, without), past=StoreSource(self._store))
        first = self._first_event(window, detector.requires.streams)
        least = min(detector.requires.shortest or length, length / 2)
        if start is None and (first is None or first > end - least):
            raise BaselineError(
                f"detector {detector.id}: history before {format_time(end)} is shorter than half of its baseline; "
                "wait for more events, or fit one with `tocsin baseline fit --from T --to T`"
            )
        with one_thread():
            fitted = fit(detector, replace(window, start=max(begin, first or begin)), setting.false_alarms)
        if start is None and first is not None and is_short(detector.requires, end - first):
            begin, fitted = first, widened(fitted, detector.requires, end - first)
        return self.baselines.save(detector.id, fitted, begin, end)

    def _first_event(self, window: Window, streams: Sequence[str]) -> datetime | None:
        firsts = [window.scan(s, [TIME]).select(pl.col(TIME).min()).collect().item() for s in streams]
        return min((f for f in firsts if f is not None), default=None)


def _short(detector: Detector[Any], version: Version) -> timedelta | None:
    """The length of a shortened baseline; None if it is not shortened, or was chosen by a person."""
    length = version.end - version.start
    return length if not version.pinned and is_short(detector.requires, length) else None


def _badness(judged: Judgement) -> tuple[int, float]:
    """By severity, then by the ratio of score and threshold."""
    rank = judged.finding.severity.rank if judged.finding else -1
    return rank, judged.score.value / judged.threshold


def _trace() -> str:
    """The traceback of the current error: its last characters, in a form that can be stored."""
    return traceback.format_exc()[-_TRACEBACK:].encode("utf-8", "replace").decode()


def one_thread() -> AbstractContextManager[object]:
    """Limit numeric libraries to one thread. On a busy machine the threads of many small fits wait for each
    other (measured on 2 cores under load: 34 s instead of 0.6 s). One thread also fixes the order of sums.
    """
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[object] = threadpool_limits(1)
    return limits
