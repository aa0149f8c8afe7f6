"""Tocsin's own health as findings: plug-ins that fail, silent sources, a growing dead letter, clocks that disagree.

A window of event time says nothing about what did not come. So health is looked at by the clock, every few
minutes, by one of the workers, and judged like everything else: a score for every subject, a finding from 1 on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from tocsin.clock import Clock, floor_time, format_length, format_time, parse_time
from tocsin.contract.evaluation import judge
from tocsin.contract.findings import Family, Json, Outcome, Score, Subject
from tocsin.contract.frames import empty
from tocsin.contract.plugin import Detector, NoParams, Requires
from tocsin.contract.query import COUNT
from tocsin.contract.windows import FrameSource, Window
from tocsin.errors import StoreError
from tocsin.pipeline.detecting.ledger import Ledger
from tocsin.pipeline.detecting.records import Run, write_runs
from tocsin.pipeline.detecting.settings import Setting
from tocsin.pipeline.ingesting.rhythm import Rhythms
from tocsin.store.protocol import Store

ID = "health"
LENGTH = timedelta(minutes=5)
_THRESHOLD = 1.0
_WORKER, _LAST = "worker", "last"
#: Clocks of workers may differ by so much.
_SKEW = timedelta(seconds=30)
_USUAL = timedelta(days=7)  # what a dead letter's growth is compared with
_FEW = 20  # dead letters an hour are nobody's alarm
_GONE = timedelta(days=1)  # a worker that said nothing for so long is forgotten


class Health(Detector[NoParams]):
    """What has been looked at, as a detector says it."""

    id = ID
    requires = Requires("run", window="5m")
    threshold = _THRESHOLD
    playbook = "tocsin-health"
    family = Family.HEALTH

    def __init__(self, scores: Sequence[Score]) -> None:
        super().__init__(NoParams())
        self._scores = scores

    def score(self, window: Window) -> Iterator[Score]:  # noqa: ARG002 — it was looked at by the clock
        yield from self._scores


class HealthCheck:
    """Looks at the health of what shares a store."""

    def __init__(self, store: Store, clock: Clock, ledger: Ledger, rhythms: Rhythms) -> None:
        self._store, self._clock, self._ledger, self._rhythms = store, clock, ledger, rhythms
        self._versions: dict[str, int] = {}
        self._checked: datetime | None = None

    def judge(
        self, settings: Sequence[Setting], unimported: Mapping[str, str], sources: Sequence[str] = ()
    ) -> Run | None:
        """Write down the newest window's findings, if no worker has yet.

        Args:
            settings: the detectors that are turned on.
            unimported: plug-in modules that could not be imported, and why.
            sources: the names of the configured sources.
        """
        self.report()
        start = floor_time(self._clock.now(), LENGTH) - LENGTH
        entry = self._store.get(ID, _LAST)
        if entry is not None and start <= parse_time(entry.value["start"]) <= self._clock.now():
            return None  # one in the future is of a clock that was wrong
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
        """Every subject of Tocsin's own, the healthy ones too."""
        modules = [
            Score(Subject("plugin", name), 2.0, f"cannot be imported: {why}")
            for name, why in unimported.items()
        ]
        clocks = self.clocks()
        return [*modules, *self._detectors(settings), *self._rhythms.scores(sources), self._dead_letters(), clocks]

    def _detectors(self, settings: Sequence[Setting]) -> Iterator[Score]:
        pending = sorted(self._ledger.waiting(), key=lambda w: w.attempts)
        failing = {w.detector: w for w in pending if w.attempts}  # the worst of each
        for setting in settings:
            id = setting.detector.id
            if id in self._ledger.unread:
                reason = f"its streams cannot be read: {self._ledger.unread[id]}"
                yield Score(Subject("plugin", id), 2.0, reason)
                continue
            worst = failing.get(id)
            if worst is None:
                yield Score(Subject("plugin", id), 0.0, "evaluates what is due")
                continue
            reason = (
                f"failed {worst.attempts} times on the window of {format_time(worst.start)}: {worst.fault}"
            )
            evidence: dict[str, Json] = {"window.start": format_time(worst.start), "attempts": worst.attempts}
            yield Score(Subject("plugin", id), float(min(worst.attempts, 2)), reason, evidence)

    def _dead_letters(self) -> Score:
        """How much more was rejected in the last hour than in an hour of the week before."""
        now, hour = self._clock.now(), timedelta(hours=1)
        try:
            new = self._dead_letters_in(now - hour, now)
            usual = self._dead_letters_in(now - _USUAL, now - hour) / (_USUAL / hour - 1)
        except StoreError as error:
            return Score(Subject("stream", "dead_letter"), 2.0, f"cannot be read: {error}")
        reason = f"{new:,} events rejected in the last hour; {usual:.1f} an hour in the week before"
        value = new / max(_FEW, 3 * usual)
        return Score(Subject("stream", "dead_letter"), value, reason, {"new": new, "usual": round(usual, 2)})

    def _dead_letters_in(self, start: datetime, end: datetime) -> int:
        return int(self._store.summarize("dead_letter", start, end, [], [COUNT])[COUNT.name].sum())

    def report(self) -> None:
        """Say that this worker is there, and what time it thinks it is."""
        entry = self._store.get(_WORKER, self._ledger.worker)
        value = {"at": format_time(self._clock.now())}
        self._store.put(_WORKER, self._ledger.worker, value, entry.version if entry else None)

    def workers(self) -> Mapping[str, datetime]:
        """When each worker was there last, by its own clock."""
        return {e.key: parse_time(e.value["at"]) for e in self._store.entries(_WORKER)}

    def clocks(self) -> Score:
        """The most that another worker's clock must be wrong, by what it wrote since we looked last.

        What is there was written before now; what changed since the last look was written after that.
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
        reason = (
            f"the clock of {whose} and the one of {self._ledger.worker} differ by {_words(worst)} or more"
        )
        return Score(Subject("clock", "workers"), worst / _SKEW, reason, {"worker": whose})


def _words(length: timedelta) -> str:
    return format_length(timedelta(seconds=round(length.total_seconds())))


def as_row(score: Score) -> dict[str, Any]:
    """A score in the words of the command line's `--json`."""
    state = "unhealthy" if score.value >= _THRESHOLD else "ok"
    return {
        "subject.type": score.subject.type,
        "subject.id": score.subject.id,
        "state": state,
        "reason": score.reason,
    }
