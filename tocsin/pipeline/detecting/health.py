"""Tocsin's own health as findings: failing plug-ins, silent sources, rising dead letters, clocks that disagree.

Missing events cannot be detected in event time. Health is therefore checked by the clock, every few minutes, by one of
the workers. It is judged like other results: a score for every subject, and a finding if the score is at least 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from tocsin.clock import Clock, floor_time, format_length, format_time, parse_length, parse_time
from tocsin.contract.alerts import worst as worst_of
from tocsin.contract.evaluation import judge
from tocsin.contract.findings import Family, Json, Outcome, Score, Severity, Subject
from tocsin.contract.frames import empty
from tocsin.contract.plugin import Detector, NoParams, Requires
from tocsin.contract.query import COUNT, Condition
from tocsin.contract.short import JUDGED
from tocsin.contract.streams import ASPECT, INGESTED, STREAMS
from tocsin.contract.windows import FrameSource, Window
from tocsin.datasets.tables import FAULTS
from tocsin.errors import StoreError
from tocsin.pipeline.detecting.alert_records import alert_records
from tocsin.pipeline.detecting.arrivals import arrivals
from tocsin.pipeline.detecting.integrity import records
from tocsin.pipeline.detecting.ledger import Ledger
from tocsin.pipeline.detecting.recording import write_runs
from tocsin.pipeline.detecting.records import Run, newest_findings
from tocsin.pipeline.detecting.settings import Setting
from tocsin.pipeline.ingesting.rhythm import Rhythms
from tocsin.store.protocol import Store
from tocsin.words import count

_FAULTS: tuple[type[BaseException], ...] = (StoreError, *FAULTS)
ID = "health"
LENGTH = timedelta(minutes=5)
_THRESHOLD = 1.0
_WORKER, _LAST = "worker", "last"
#: The largest accepted difference between the clocks of workers.
_SKEW = timedelta(seconds=30)
_USUAL = timedelta(days=7)  # the period that the dead letters of the last hour are compared with
_FEW = 20  # fewer dead letters in an hour raise no finding
_RECENT = timedelta(days=1)  # the period of the aspects that health reports
_NAMED = 3  # aspects in the sentence
_GONE = timedelta(days=1)  # a worker that has not reported for this long is removed


class Health(Detector[NoParams]):
    """A detector that returns the scores of a health check."""

    id = ID
    requires = Requires("run", window="5m")
    threshold = _THRESHOLD
    playbook = "tocsin-health"
    family = Family.HEALTH

    def __init__(self, scores: Sequence[Score]) -> None:
        super().__init__(NoParams())
        self._scores = scores

    def score(self, window: Window) -> Iterator[Score]:  # noqa: ARG002 — the scores do not come from the window
        yield from self._scores


class HealthCheck:
    """Checks the health of all workers, plug-ins and sources that share a store."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        ledger: Ledger,
        rhythms: Rhythms,
        receivers: Callable[[], Sequence[Score]] = tuple,
        retention: Mapping[str, timedelta] | None = None,
        damaged: Callable[[], str] = lambda: "",
    ) -> None:
        self._damaged, self._receivers = damaged, receivers
        self._store, self._clock, self._ledger, self._rhythms = store, clock, ledger, rhythms
        self._retention = {s.name: parse_length(s.retention) for s in STREAMS.values()} | dict(
            retention or {}
        )
        self._versions: dict[str, int] = {}
        self._checked: datetime | None = None

    def judge(
        self, settings: Sequence[Setting], unimported: Mapping[str, str], sources: Sequence[str] = ()
    ) -> Run | None:
        """Record the findings of the newest health window, unless another worker has done so.

        Args:
            settings: the enabled detectors.
            unimported: plug-in modules that could not be imported, and why.
            sources: the names of the configured sources.
        """
        self.report()
        start = floor_time(self._clock.now(), LENGTH) - LENGTH
        entry = self._store.get(ID, _LAST)
        if entry is not None and start <= parse_time(entry.value["start"]) <= self._clock.now():
            return None  # a time in the future came from a wrong clock
        value, scores = {"start": format_time(start)}, self.scores(settings, unimported, sources)
        done = self._store.put(ID, _LAST, value, entry.version if entry else None)
        if done is None:
            return None
        detector = Health(scores)
        window = Window(start, start + LENGTH, FrameSource.of({"run": empty("run")}))
        judged = tuple(judge(detector, window))
        run = Run(ID, start, window.end, Outcome.EVALUATED, judged=judged, fence=done.version)
        write_runs(self._store, [run])
        return run

    def scores(
        self, settings: Sequence[Setting], unimported: Mapping[str, str], sources: Sequence[str] = ()
    ) -> list[Score]:
        """The scores of all health subjects, including the healthy ones."""
        modules = [
            Score(Subject("plugin", name), 2.0, f"cannot be imported: {why}")
            for name, why in unimported.items()
        ]
        clocks = self.clocks()
        return [
            *modules,
            *self._detectors(settings),
            *self._rhythms.scores(sources),
            *self._aspects(settings),
            *self._arrivals(settings),
            self._dead_letters(),
            *self._receivers(),
            *self._records(),
            clocks,
        ]

    def _detectors(self, settings: Sequence[Setting]) -> Iterator[Score]:
        pending = sorted(self._ledger.waiting(), key=lambda w: w.attempts)
        failing = {
            w.detector: w for w in pending if w.attempts
        }  # the window with the most attempts of each detector
        skipped = self._skipped()
        for setting in settings:
            id = setting.detector.id
            if id in self._ledger.unread:
                reason = f"its streams cannot be read: {self._ledger.unread[id]}"
                yield Score(Subject("plugin", id), 2.0, reason)
                continue
            worst = failing.get(id)
            if worst is None:
                yield Score(Subject("plugin", id), 0.0, skipped.get(id, "evaluates the windows that are due"))
                continue
            reason = (
                f"failed {worst.attempts} times on the window of {format_time(worst.start)}: {worst.fault}"
            )
            evidence: dict[str, Json] = {"window.start": format_time(worst.start), "attempts": worst.attempts}
            yield Score(Subject("plugin", id), float(min(worst.attempts, 2)), reason, evidence)

    def _skipped(self) -> Mapping[str, str]:
        """By detector: why its newest window of the last day was skipped, or judged with less than a whole baseline."""
        columns = ["tocsin.detector.id", "event.action", "event.reason", "tocsin.window.start", INGESTED]
        try:
            rows = self._store.scan(
                "run", columns=columns, where=[_since(self._clock.now() - _RECENT), _ENDED]
            ).collect()
        except StoreError:
            return {}  # reported by the other checks
        newest = rows.sort("tocsin.window.start", INGESTED).unique(columns[0], keep="last")
        skipped = newest.filter(pl.col("event.action") == Outcome.SKIPPED.value)
        partly = newest.filter(pl.col("event.reason").str.starts_with(JUDGED))
        return {id: f"its newest window was {reason}" for id, _, reason, *_ in partly.iter_rows()} | {
            id: f"skipped its newest window: {reason}" for id, _, reason, *_ in skipped.iter_rows()
        }

    def _aspects(self, settings: Sequence[Setting]) -> Iterator[Score]:
        """The detectors that reported aspects in the last day, such as "not judged"; a score of 1 from `medium` on."""
        since = [_since(self._clock.now() - _RECENT), Condition(ASPECT, "not_null")]
        try:
            found = newest_findings(self._store, since, short=True)
        except _FAULTS as error:
            yield Score(Subject("stream", "finding"), 2.0, f"cannot be read: {self._why(error)}")
            return
        for setting in settings:
            id = setting.detector.id
            rows = found.filter(pl.col("tocsin.detector.id") == id)
            if rows.is_empty():
                continue
            worst = worst_of(map(Severity, rows["tocsin.severity"]))
            aspects = sorted(set(rows[ASPECT]))
            reason = f"could not judge everything in the last day: {', '.join(aspects[:_NAMED])}"
            evidence: dict[str, Json] = {
                "findings": len(rows),
                "severity": worst.value,
                "aspects": aspects[:20],
            }
            yield Score(Subject("detector", id), float(worst.rank >= Severity.MEDIUM.rank), reason, evidence)

    def _arrivals(self, settings: Sequence[Setting]) -> list[Score]:
        try:
            return list(arrivals(self._store, self._clock.now(), settings))
        except _FAULTS as error:
            return [Score(Subject("store", "events"), 2.0, f"cannot be read: {self._why(error)}")]

    def _records(self) -> list[Score]:
        """Whether scores, findings and alerts are as they were written."""
        now, store = self._clock.now(), self._store
        pending = {(waiting.detector, waiting.start) for waiting in self._ledger.waiting()}
        done: list[Score] = []
        try:
            done += records(store, now, self._shortest("run", "score", "finding"), pending, ID)
        except _FAULTS as error:
            done.append(Score(Subject("store", "finding"), 2.0, f"cannot be read: {self._why(error)}"))
        try:
            done.append(alert_records(store, now, self._shortest("alert_history", "finding")))
        except _FAULTS as error:
            done.append(Score(Subject("store", "alert"), 2.0, f"cannot be read: {self._why(error)}"))
        return done

    def _why(self, error: BaseException) -> str:
        """An error of the store as a sentence, with the name of the damaged file if that is the cause."""
        known = "" if isinstance(error, StoreError) else self._damaged()
        return known or str(error).partition("\n")[0]

    def _shortest(self, *streams: str) -> timedelta:
        return min(self._retention[stream] for stream in streams)

    def _dead_letters(self) -> Score:
        """The events rejected in the last hour, compared with an average hour of the week before."""
        now, hour = self._clock.now(), timedelta(hours=1)
        try:
            new = self._dead_letters_in(now - hour, now)
            usual = self._dead_letters_in(now - _USUAL, now - hour) / (_USUAL / hour - 1)
        except _FAULTS as error:
            return Score(Subject("stream", "dead_letter"), 2.0, f"cannot be read: {self._why(error)}")
        reason = f"{count(new, 'event')} rejected in the last hour; {usual:.1f} an hour in the week before"
        value = new / max(_FEW, 3 * usual)
        return Score(Subject("stream", "dead_letter"), value, reason, {"new": new, "usual": round(usual, 2)})

    def _dead_letters_in(self, start: datetime, end: datetime) -> int:
        return int(self._store.summarize("dead_letter", start, end, [], [COUNT])[COUNT.name].sum())

    def report(self) -> None:
        """Record that this worker is running, and the time of its clock."""
        entry = self._store.get(_WORKER, self._ledger.worker)
        value = {"at": format_time(self._clock.now())}
        self._store.put(_WORKER, self._ledger.worker, value, entry.version if entry else None)

    def workers(self) -> Mapping[str, datetime]:
        """When each worker last reported, by its own clock."""
        return {e.key: parse_time(e.value["at"]) for e in self._store.entries(_WORKER)}

    def clocks(self) -> Score:
        """The least error of another worker's clock that explains the times it reported since the last check.

        A report was written before now. A report that changed since the last check was written after that check.
        """
        now, since = self._clock.now(), self._checked
        worst, whose = timedelta(0), ""
        for entry in self._store.entries(_WORKER):
            at = parse_time(entry.value["at"])
            wrong = at - now
            changed = self._versions.get(entry.key) not in {None, entry.version}
            if since is not None and changed:
                wrong = max(wrong, since - at)
            if wrong > worst:
                worst, whose = wrong, entry.key
            if abs(now - at) > _GONE and not changed:
                self._store.delete(_WORKER, entry.key, entry.version)
            self._versions[entry.key] = entry.version
        self._checked = now
        if worst <= _SKEW:
            return Score(Subject("clock", "workers"), 0.0, "the workers' clocks agree")
        reason = f"the clocks of {whose} and {self._ledger.worker} differ by at least {_words(worst)}"
        return Score(Subject("clock", "workers"), worst / _SKEW, reason, {"worker": whose})


#: Leaves out early evaluations.
_ENDED = Condition("event.action", "!=", Outcome.EARLY.value)


def _since(time: datetime) -> Condition:
    return Condition(INGESTED, ">=", time)


def _words(length: timedelta) -> str:
    return format_length(timedelta(seconds=round(length.total_seconds())))


def as_row(score: Score) -> dict[str, Any]:
    """A score as the command line's `--json` prints it."""
    state = "unhealthy" if score.value >= _THRESHOLD else "ok"
    return {
        "subject.type": score.subject.type,
        "subject.id": score.subject.id,
        "state": state,
        "reason": score.reason,
    }
