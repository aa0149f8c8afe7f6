"""The decisive event of an attack, found from the stored events alone."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import polars as pl

from tocsin.contract.evaluation import judge as judged
from tocsin.contract.findings import Outcome, Subject
from tocsin.contract.query import Condition
from tocsin.contract.streams import TIME
from tocsin.contract.windows import Baseline, FrameSource, Window
from tocsin.pipeline.detecting.evaluate import Evaluator
from tocsin.pipeline.detecting.source import StoreSource
from tocsin.testing.decisive import Cut, decisive_event
from tocsin.worker.app import App

_COLUMN = {"registry_access": ("access", "user.id"), "model_extraction": ("inference", "user.id"),
           "query_budget": ("inference", "user.id"), "feature_drift": ("inference", "tocsin.model.name"),
           "prediction_drift": ("inference", "tocsin.model.name")}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Found:
    """A decisive event: its time, and its number among the subject's events of the window."""

    at: datetime
    number: int


class Judge:
    """Final evaluations of the window of a day, and of its prefixes."""

    def __init__(self, app: App, day: datetime) -> None:
        self._app, self._day = app, day
        self._settings = {s.detector.id: s for s in app.settings}
        # read once: a cluster takes half a minute for the calls of a window, which is evaluated some hundred times
        self._rows = FrameSource(
            {s: app.store.scan(s, day, day + timedelta(days=1)).collect() for s in ("inference", "access")}
        )

    def decisive(self, detector: str, subject: str, begins: datetime) -> Found | None:
        """The last event of the shortest prefix on which the final evaluation gives a finding about the subject.

        For detectors that judge each principal on its own queries, every prefix of these is evaluated. The others read
        more than the subject's events. For them, the search is by halving among the subject's events after `begins`, because
        a score grows with an attack; then the twenty prefixes before the one found are tried.
        """
        stream, column = _COLUMN[detector]
        if stream == "inference" and column == "user.id":
            return self._first(detector, subject, begins)
        rows = self._rows.scan(
            stream, self._day, self._day + self._length(detector), [TIME], [Condition(column, "==", subject)]
        )
        times = rows.collect()[TIME].sort().to_list()
        first = next((i for i, at in enumerate(times) if at >= begins), len(times))
        low, high = first, len(times) - 1
        if low > high or not self._finds(detector, subject, times[high]):
            return None
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if self._finds(detector, subject, times[middle]) else (middle + 1, high)
        for earlier in range(max(first, low - 20), low):
            if self._finds(detector, subject, times[earlier]):
                return Found(times[earlier], earlier + 1)
        return Found(times[low], low + 1)

    def _first(self, detector: str, subject: str, begins: datetime) -> Found | None:
        setting, (stream, column) = self._settings[detector], _COLUMN[detector]
        requires, end = setting.detector.requires, self._day + self._length(detector)
        rows = self._app.store.scan(
            stream,
            self._day - (requires.history or timedelta(0)),
            end,
            where=[Condition(column, "==", subject)],
        ).collect()
        window = Window(self._day, end, FrameSource({stream: rows})).with_baseline(self._baseline(detector))
        at = decisive_event(setting.detector, window, Subject("principal", subject), since=begins)
        if at is None:
            return None
        return Found(at, rows.filter(pl.col(TIME) >= self._day, pl.col(TIME) <= at).height)

    def _baseline(self, detector: str) -> Baseline | None:
        pinned = self._app.detect.baselines.pinned(detector)
        return self._app.detect.baselines.load(pinned) if pinned else None

    def final_cpu(self) -> dict[str, float]:
        """CPU seconds of one final evaluation of the day, by detector; without detectors that cannot judge it."""
        evaluator = Evaluator(self._app.store, self._app.clock)
        spent = {}
        for name, setting in self._settings.items():
            if setting.looks_early is not None:
                began = time.process_time()
                if evaluator.attempt(setting, self._day).outcome == Outcome.EVALUATED:
                    spent[name] = time.process_time() - began
        return spent

    def _length(self, detector: str) -> timedelta:
        return self._settings[detector].detector.requires.window

    def _finds(self, detector: str, subject: str, at: datetime) -> bool:
        """Whether the events up to `at` give a finding about the subject."""
        setting = self._settings[detector]
        until = at + timedelta(microseconds=1)
        source = StoreSource(self._app.store)
        window = Window(
            self._day,
            self._day + setting.detector.requires.window,
            Cut(self._rows, source, until),
            past=source,
        )
        window = replace(window.with_baseline(self._baseline(detector)), changed=frozenset({subject}))
        return any(
            j.finding is not None and j.score.subject.id == subject and not j.score.aspect
            for j in judged(setting.detector, window)
        )
