"""What was deployed when a change began: clues from the stream pipeline."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from tocsin.contract.streams import TIME
from tocsin.contract.verdict import Clue, Verdict
from tocsin.contract.windows import Window
from tocsin.words import short
from tocsin_detectors._spelling import canonical

_BACK = timedelta(days=62)
_MOST = 20_000  # newest events that are read
_DEPLOYS = re.compile(r"deploy|releas|roll.?out|promot|publish|activat|transition|go.?live", re.IGNORECASE)
_PIPELINE, _STEP, _ACTION = "tocsin.pipeline.name", "tocsin.pipeline.step", "event.action"
_DEFINITION, _CODE = "tocsin.pipeline.definition_digest", "tocsin.pipeline.code_digest"
_OUTPUTS, _NAME, _VERSION = "tocsin.pipeline.outputs", "tocsin.model.name", "tocsin.model.version"
_COLUMNS = (
    TIME, "event.outcome", "user.id", _ACTION, _PIPELINE, _STEP, _DEFINITION, _CODE, _OUTPUTS, _NAME, _VERSION,
)  # fmt: skip
_STRONGEST, _LEAST = 3.0, 1.0
_STRANGER = 0.5  # the largest weight of a deployment by somebody who never worked on a pipeline before


class Onset(NamedTuple):
    """When a change began: the earliest and the latest time that it may be."""

    first: datetime
    last: datetime


class _Change(NamedTuple):
    """An event that changed what runs."""

    time: datetime
    user: str | None
    what: str
    version: str | None


def clues(
    window: Window,
    onset: Onset,
    model: str = "",
    outputs: Sequence[str] = (),
    versions: Sequence[str] = (),
) -> Iterator[Clue]:
    """Whether a deployment explains a change that began at `onset`.

    The weight follows from how improbable it is that a deployment is so near by chance, given how often there are
    deployments (a Poisson process). It counts little if whoever deployed did no earlier work on pipelines.

    Args:
        window: the window with the finding.
        onset: when the change began.
        model: the model whose deployments count, beside those of pipelines that name no model.
        outputs: digests of a dataset: a pipeline that says that it wrote only others does not count.
        versions: model versions that answer since the onset, and did not before.
    """
    past = Window(window.start - _BACK, window.end, window.past or window.source)
    events = past.rows("pipeline", _COLUMNS).tail(_MOST).to_dicts()
    if not events:
        return
    changes = list(_changes(events, model, set(outputs), set(versions)))
    if unrecorded := list(_unrecorded(changes, model, versions)):
        yield from unrecorded  # no other deployment explains a version that nobody deployed
        return
    near = [change for change in changes if change.time <= onset.last and _may_explain(change, versions)]
    if not near:
        return
    nearest = near[-1]
    days = max((window.end - events[0][TIME]) / timedelta(days=1), 1.0)
    rate = (len({change.time for change in changes} - {nearest.time}) + 0.5) / max(days, 28.0)
    gap = max(onset.last - nearest.time, onset.last - onset.first, timedelta(minutes=15)) / timedelta(days=1)
    weight = min(-math.log(-math.expm1(-rate * gap)), _STRONGEST)
    if weight < _LEAST:
        return
    ago = round(gap)
    words = f"{nearest.what} at {nearest.time:%Y-%m-%d %H:%M}, {f'{ago} days' if ago > 1 else 'just'} before"
    if not _is_usual(nearest, events):
        who = short(nearest.user or "nobody", 24)
        yield Clue(Verdict.ATTACK, 2.5, f"{words}, by {who}, who did no earlier work on pipelines")
        weight = min(weight, _STRANGER)
    yield Clue(Verdict.PIPELINE_CHANGE, weight, words)
    if nearest.version is not None and nearest.version in versions:
        yield Clue(Verdict.PIPELINE_CHANGE, 1.0, f"version {short(nearest.version, 24)} answers since then")


def _changes(
    events: Sequence[dict[str, Any]], model: str, outputs: set[str], versions: set[str]
) -> Iterator[_Change]:
    """The events that changed what runs: deployments, new code and new definitions, in order of time."""
    seen: dict[tuple[Any, Any], set[tuple[Any, Any]]] = {}
    for event in events:
        digests = seen.setdefault((event[_PIPELINE], event[_STEP]), set())
        code = (event[_DEFINITION], event[_CODE])
        fresh = bool(digests) and code not in digests and any(code)
        digests.add(code)
        if event["event.outcome"] == "failure":
            continue
        name, version = event[_NAME], event[_VERSION]
        deploys = any(_DEPLOYS.search(event[c] or "") for c in (_ACTION, _STEP, _PIPELINE))
        if name is not None:
            if canonical(name) != canonical(model) or not (deploys or version in versions):
                continue
            what = f"version {short(str(version), 24)} of {short(name, 24)} was deployed"
        elif (deploys or fresh) and (not outputs or not event[_OUTPUTS] or outputs & set(event[_OUTPUTS])):
            version = None
            what = (
                f"pipeline {short(event[_PIPELINE], 24)} {'was deployed' if deploys else 'ran with new code'}"
            )
        else:
            continue
        yield _Change(event[TIME], event["user.id"], what, version)


def _may_explain(change: _Change, versions: Sequence[str]) -> bool:
    """A deployment of another version does not explain what began with a new version."""
    return change.version is None or not versions or change.version in versions


def _is_usual(change: _Change, events: Sequence[dict[str, Any]]) -> bool:
    """Whether whoever deployed worked on pipelines on at least two earlier days."""
    days = {
        event[TIME].date()
        for event in events
        if event["user.id"] == change.user and event[TIME].date() < change.time.date()
    }
    return change.user is not None and len(days) >= 2


def _unrecorded(changes: Sequence[_Change], model: str, versions: Sequence[str]) -> Iterator[Clue]:
    """A version that answers without a deployment, although earlier deployments of the model are recorded."""
    recorded = {change.version for change in changes if change.version is not None}
    missing = [version for version in versions if version not in recorded]
    if missing and len(recorded) >= 2:
        name = short(missing[0], 24)
        words = f"version {name} of {short(model, 24)} answers, and no deployment of it is recorded"
        yield Clue(Verdict.ATTACK, 2.0, words)
