"""Detect: evaluates touched windows and writes scores, findings and a record of each attempt.

The rows ingested since a detector's cursors determine the event-time windows to evaluate. A touched window is always
re-evaluated as a whole. A window that has not ended stays pending. Every appended row has an id derived from its content,
so after a crash an attempt is repeated without duplicating rows. Any number of workers and threads may run this
concurrently: a window is claimed before it is evaluated (`tocsin.pipeline.detecting.ledger`).
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from tocsin.clock import Clock, floor_time
from tocsin.contract.findings import Outcome
from tocsin.errors import StoreAway
from tocsin.logs import logger
from tocsin.pipeline.detecting.baselines import Baselines, Version
from tocsin.pipeline.detecting.early import EVERY, Evaluates, as_early, early_runs
from tocsin.pipeline.detecting.evaluate import Evaluator
from tocsin.pipeline.detecting.leases import LENGTH, worker_name
from tocsin.pipeline.detecting.ledger import GRACE, Ledger
from tocsin.pipeline.detecting.pending import Claim
from tocsin.pipeline.detecting.recording import write_runs
from tocsin.pipeline.detecting.records import (
    Before,
    Run,
    evaluated_before,
    in_force,
    run_row,
    supersede,
    write,
)
from tocsin.pipeline.detecting.resting import Resting
from tocsin.pipeline.detecting.settings import Setting
from tocsin.pipeline.detecting.suspects import Interval, is_suspect
from tocsin.store.protocol import Store
from tocsin.store.tumbling import START

__all__ = ["Detect", "Setting"]

log = logger()
_CLAIMED = 16  # windows of one detector claimed at a time
_COMMIT = 200  # attempts recorded in one commit
_PATIENCE = 5.0  # seconds after which attempts are recorded, even if there are fewer
Progress = Callable[[Run], None]


@dataclass(slots=True)
class _Round:
    """The progress of one call of `run`, with the attempts that are not recorded yet."""

    began: float
    progress: Progress
    runs: list[Run] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    unrecorded: list[tuple[Claim, Run]] = field(default_factory=list)
    silent: bool = False
    keep: bool = True
    until: float | None = None  # monotonic

    def over(self, clock: Clock) -> bool:
        """Whether the time limit has been reached."""
        return self.until is not None and clock.monotonic() >= self.until

    def suspect(self, detector: str) -> list[Interval]:
        """Windows of unrecorded attempts with findings: no baseline may be fitted on them."""
        return [
            (run.start, run.end)
            for _, run in self.unrecorded
            if run.detector == detector and any(map(is_suspect, run.findings))
        ]


class Detect:
    """Runs detectors over a store."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        evaluator: Evaluates | None = None,
        worker: str = "",
        lease: timedelta = LENGTH,
        grace: timedelta = GRACE,
        early: timedelta = EVERY,
    ) -> None:
        self._store, self._clock, self._early = store, clock, early
        self._evaluator = evaluator or Evaluator(store, clock)
        self.ledger = Ledger(store, clock, worker or worker_name(), lease, grace)
        self.baselines = Baselines(store, clock)
        #: Called after results were written that alerting has to read.
        self.written: Callable[[], None] = lambda: None
        #: Called for each early finding that began or ended, with detector and outcome: found, confirmed or withdrawn.
        self.early_finding: Callable[[str, str], None] = lambda _detector, _outcome: None
        self._resting = Resting()
        self._busy: set[str] = set()
        self._mutex = threading.Lock()

    def due(self, setting: Setting) -> list[datetime]:
        """Starts of the pending windows that have ended and are not claimed, oldest first. Adds newly touched windows."""
        self._update_pending([setting])
        return self.ledger.due(setting)

    def _update_pending(self, settings: Sequence[Setting]) -> list[Run]:
        gaps = self.ledger.update_pending(settings)
        write(self._store, "run", [run_row(gap) for gap in gaps])
        self.ledger.note_gaps(gaps)
        return gaps

    def run(
        self,
        settings: Sequence[Setting],
        start: datetime | None = None,
        end: datetime | None = None,
        progress: Progress = lambda _: None,
        *,
        silent: bool = False,
        limit: timedelta | None = None,
    ) -> list[Run]:
        """Evaluate the windows that are due; with `start` or `end`, every window in that time that contains events.

        Detectors take turns. A detector that another call in this process is evaluating is skipped, and so are windows
        that another worker has claimed. With `silent`, findings are recorded without notifications. With a `limit`, the
        call ends after about that time even if windows are left, and reports runs only to `progress`.

        Raises:
            StoreError: the store cannot be read or written.
        """
        now = self._clock.monotonic()
        until = None if limit is None else now + limit.total_seconds()
        this = _Round(now, progress, silent=silent, keep=limit is None, until=until)
        try:
            self._run(this, settings, start, end)
            self._record(this)
        finally:
            self.ledger.forget(this.claims)
        return this.runs

    def _run(
        self, this: _Round, settings: Sequence[Setting], start: datetime | None, end: datetime | None
    ) -> None:
        if start is not None or end is not None:
            this.runs += self._update_pending([s for s in settings if not self.ledger.fits(s)])
            for setting in settings:
                starts = self._between(setting, start, end)
                for i in range(0, len(starts), _CLAIMED):
                    claims = self.ledger.claim_named(setting, starts[i : i + _CLAIMED])
                    self._evaluate(this, setting, claims, named=True)
            return
        this.runs += self._update_pending(settings)
        for setting in settings:  # first, so that a backlog of ended windows does not delay what happens now
            if setting.looks_early is not None and not this.over(self._clock):
                self._turn(this, setting, self._open)
        self._record(this)
        turns = deque(settings)
        while turns and not this.over(self._clock):
            setting = turns.popleft()
            if self._turn(this, setting, self._due):
                turns.append(setting)

    def _due(self, this: _Round, setting: Setting) -> list[Claim]:
        claims = self.ledger.claim(setting, _CLAIMED)
        self._evaluate(this, setting, claims)
        return claims

    def _open(self, this: _Round, setting: Setting) -> list[Claim]:
        """Evaluate the windows of a detector that have not ended and have enough new rows."""
        claims = self.ledger.claim_early(setting, self._early, _CLAIMED)
        this.claims += claims
        heartbeat = self._heartbeat(this, claims)
        runs = early_runs(self._store, self._evaluator, setting, claims, heartbeat, self._resting)
        for claim, early in runs:
            run = replace(early, fence=claim.fence, silent=this.silent, evaluated=self._clock.now())
            this.unrecorded.append((claim, run))
            if not run.repeats:
                this.progress(run)
                this.runs += [run] if this.keep else []
            if run.findings:
                self._record(this)  # alerting does not wait for the evaluations of other detectors
            if this.over(self._clock):
                break
            self._record_if_due(this)
        return claims

    def _turn(
        self, this: _Round, setting: Setting, evaluate: Callable[[_Round, Setting], list[Claim]]
    ) -> bool:
        """Evaluate a few windows of a detector. Returns whether there were any."""
        id = setting.detector.id
        with self._mutex:
            if id in self._busy:
                return False
            self._busy.add(id)
        try:
            return bool(evaluate(this, setting))
        finally:
            self._busy.discard(id)

    def _heartbeat(self, this: _Round, claims: Sequence[Claim]) -> Callable[[], None]:
        def heartbeat() -> None:
            with contextlib.suppress(StoreAway):  # most of the claims' time is left
                self.ledger.renew([*claims, *(claim for claim, _ in this.unrecorded)])

        return heartbeat

    def _evaluate(
        self, this: _Round, setting: Setting, claims: Sequence[Claim], *, named: bool = False
    ) -> None:
        this.claims += claims
        reevaluated = [claim.start for claim in claims if claim.reevaluation]
        length = setting.detector.requires.window
        before = evaluated_before(self._store, setting.detector.id, reevaluated, length)
        starts = [claim.start for claim in claims]
        newest = in_force(self._store, setting.detector.id, starts, length) if named and starts else {}
        heartbeat = self._heartbeat(this, claims)
        for claim in claims:
            suspect = this.suspect(claim.detector)
            run = self._evaluator.attempt(setting, claim.start, suspect, heartbeat)
            last = before.get(claim.start)
            early = setting.looks_early if claim.early else None  # a backfill reaches into a window of now
            if early is None:
                run = _labeled(_whole(run, last), claim, last, named=named)
            else:
                run = as_early(run, setting.detector, early, claim)
            run = replace(run, fence=claim.fence, silent=this.silent, evaluated=self._clock.now())
            run = supersede(run, newest.get(claim.start))
            this.unrecorded.append((claim, run))
            this.progress(run)
            if this.keep:
                this.runs.append(run)
            if this.over(self._clock):
                break
            self._record_if_due(this)

    def _record_if_due(self, this: _Round) -> None:
        if len(this.unrecorded) >= _COMMIT or self._clock.monotonic() - this.began >= _PATIENCE:
            self._record(this)

    def _record(self, this: _Round) -> None:
        """Record the attempts since the last call, one commit per stream, then complete their pending windows.

        An attempt whose claim another worker has taken over is dropped: that worker records the window.
        """
        attempts, this.unrecorded, this.began = this.unrecorded, [], self._clock.monotonic()
        self.ledger.renew([claim for claim, _ in attempts])
        kept = []
        for claim, run in attempts:
            if self.ledger.held(claim):
                kept.append((claim, run))
            else:
                lost = {"detector": run.detector, "window": str(run.start)}
                log.warning("claim lost, attempt dropped: another worker took over the window", **lost)
        for detector, outcome in write_runs(self._store, [run for _, run in kept]):
            self.early_finding(detector, outcome)
        for _, run in kept:
            self._resting.recorded(run)
        self.ledger.complete(kept)
        if any(run.findings or (run.done and not run.repeats) for _, run in kept):
            self.written()

    def _between(self, setting: Setting, start: datetime | None, end: datetime | None) -> list[datetime]:
        length, starts = setting.detector.requires.window, set[datetime]()
        for stream in setting.detector.requires.streams:
            found = self._store.windows(stream, length, start and floor_time(start, length), end)
            starts |= set(found[START])
        return sorted(starts)

    def fit(self, setting: Setting, end: datetime, start: datetime | None = None) -> Version:
        """Fit a baseline on the time that ends at `end` and store it as the next version.

        Raises:
            BaselineError: the detector has no baseline, or the history is too short.
        """
        return self._evaluator.fit(setting, end, start)


def _whole(run: Run, before: Before | None) -> Run:
    """Skip re-evaluation of a window if some of its events have been deleted: its findings would be withdrawn."""
    if not run.done or before is None or run.rows >= before.rows:
        return run
    reason = f"{before.rows - run.rows:,} of the {before.rows:,} events that were evaluated before have been deleted"
    return replace(run, outcome=Outcome.SKIPPED, reason=reason, judged=())


def _labeled(run: Run, claim: Claim, before: Before | None, *, named: bool) -> Run:
    """Set the number of the attempt and its outcome: evaluated in time, late, or filling a gap."""
    run = replace(run, attempt=claim.attempts + 1)
    if run.outcome is not Outcome.EVALUATED:
        return run
    if named:
        return replace(run, outcome=before.outcome if before else Outcome.FILLED)
    if claim.gap:
        return replace(run, outcome=Outcome.FILLED)
    return replace(run, outcome=Outcome.LATE if before else Outcome.EVALUATED)
