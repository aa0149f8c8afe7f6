"""Early evaluation: judges windows that have not ended, each time enough new rows were ingested.

An early evaluation judges what there is so far, with the code and the baseline of the final evaluation. Its findings are
findings of the window. Only the final evaluation withdraws them. Its scores are not recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from tocsin.clock import EPOCH
from tocsin.contract.early import Early
from tocsin.contract.evaluation import Judgement
from tocsin.contract.findings import Finding, Outcome, Severity
from tocsin.contract.plugin import Detector
from tocsin.contract.query import COUNT, Condition
from tocsin.contract.streams import INGESTED, STREAMS
from tocsin.datasets.tables import FAULTS
from tocsin.errors import StoreAway, StoreError
from tocsin.pipeline.detecting.baselines import Version
from tocsin.pipeline.detecting.evaluate import Partial
from tocsin.pipeline.detecting.pending import Claim
from tocsin.pipeline.detecting.records import Run
from tocsin.pipeline.detecting.resting import Resting
from tocsin.pipeline.detecting.settings import Setting
from tocsin.pipeline.detecting.suspects import Interval
from tocsin.store.protocol import Store

_FAULTS: tuple[type[BaseException], ...] = (StoreError, *FAULTS)
#: The shortest time between two early evaluations of a window.
EVERY = timedelta(seconds=30)
_MOST_NAMED = 10_000  # changed values that are named to the detector; of more, all are judged


class Evaluates(Protocol):
    """Evaluates windows: `tocsin.pipeline.detecting.evaluate.Evaluator` in this process, or the `Fence` in another."""

    def attempt(
        self,
        setting: Setting,
        start: datetime,
        suspect: Sequence[Interval] = (),
        heartbeat: Callable[[], None] = lambda: None,
        partial: Partial | None = None,
    ) -> Run:
        """Evaluate one window. An implementation that waits calls `heartbeat` regularly."""
        ...

    def fit(self, setting: Setting, end: datetime, start: datetime | None = None) -> Version:
        """Fit a baseline."""
        ...


def early_runs(
    store: Store,
    evaluator: Evaluates,
    setting: Setting,
    claims: Sequence[Claim],
    heartbeat: Callable[[], None],
    resting: Resting,
) -> Iterator[tuple[Claim, Run]]:
    """Evaluate claimed windows early. A window without a trigger has a run that is not recorded (`repeats`)."""
    early = setting.looks_early
    assert early is not None
    for claim in claims:
        nothing = Run(claim.detector, claim.start, claim.start + claim.length, Outcome.EARLY, repeats=True)
        try:
            partial = _triggered(store, setting, early, claim, resting)
        except StoreAway:
            raise
        except _FAULTS as error:  # must not stop the evaluations of other detectors
            yield claim, replace(nothing, repeats=False, reason=str(error), fault="store")
            continue
        if partial is None:
            yield claim, nothing
        else:
            run = evaluator.attempt(setting, claim.start, (), heartbeat, partial)
            yield claim, as_early(run, setting.detector, early, claim)


def as_early(run: Run, detector: Detector[Any], early: Early, claim: Claim) -> Run:
    """The run of an early evaluation. Of its judgements, only those stay findings that `early` admits."""
    judged = tuple(
        replace(j, finding=_early(j, j.finding, detector, early) if j.finding and _stays(j, early) else None)
        for j in run.judged
    )
    reason = "" if run.done else run.reason or f"not evaluated: {run.outcome}"  # a reason counts as a failure
    return replace(run, outcome=Outcome.EARLY, reason=reason, judged=judged, attempt=claim.attempts + 1)


def _early(judged: Judgement, found: Finding, detector: Detector[Any], early: Early) -> Finding:
    """The finding of an early evaluation.

    A calibrated severity holds for a window with all its evaluations. At `high` and above, the stated rates leave room for
    them; an early `medium` has to exceed its multiple by the margin (`benchmarks/early_null.py`).
    """
    found = replace(found, early=True)
    if detector.tail is None or found.aspect or found.severity is not Severity.MEDIUM:
        return found
    least = early.margin * detector.severities.medium * judged.threshold
    return found if judged.score.value >= least else replace(found, severity=Severity.LOW)


def _stays(judged: Judgement, early: Early) -> bool:
    if judged.score.aspect:  # of a part of the window it may say that calls are missing that have yet to come
        return early.whole
    return judged.score.value >= early.margin * judged.threshold


def _triggered(
    store: Store, setting: Setting, early: Early, claim: Claim, resting: Resting
) -> Partial | None:
    """What to judge: the values of `early.by` with a trigger since the last early evaluation. None: nothing."""
    by, end = [early.by] if early.by else [], claim.start + claim.length
    due: dict[str | None, int] = {}
    may_rest = bool(early.by) and early.growth > 1 and not early.whole
    before, counted = max(claim.read - store.overlap, EPOCH), 0
    for stream in setting.detector.requires.streams:
        if early.by and early.by not in STREAMS[stream].by_name:
            continue
        upto = Condition(INGESTED, "<=", claim.reach)
        since = Condition(INGESTED, ">", before)
        new = store.summarize(stream, claim.start, end, by, [COUNT], [since, upto])
        if new.is_empty():
            continue
        rows = {tuple(row[:-1]): row[-1] for row in new.select(*by, "count").iter_rows()}
        every = store.summarize(stream, claim.start, end, by, [COUNT], [upto])
        counted += int(every["count"].sum())
        for *key, total in every.select(*by, "count").iter_rows():
            value, more = key[0] if key else None, rows.get(tuple(key), 0)
            if not more or not early.triggered(total - more, total):
                continue
            if not may_rest or not resting.rests(claim.detector, claim.start, value, total):
                due[value] = total
    if not due:
        return None
    resting.judging(claim.detector, claim.start, due)
    changed = frozenset(due) if early.by and len(due) <= _MOST_NAMED else None
    return Partial(changed, before, claim.reach, counted, claim.first)
