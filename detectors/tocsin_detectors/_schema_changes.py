"""What changed in the form of a model's calls: a model without a baseline, missing features, new features."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace

import polars as pl

from tocsin.contract.aspects import THRESHOLD, changed, not_judged, unusual
from tocsin.contract.findings import Json, Score, Subject
from tocsin.contract.query import COUNT, Condition
from tocsin.contract.windows import Window
from tocsin.words import count, listed, short
from tocsin_detectors._alignment import is_unclear
from tocsin_detectors._drawn_calls import Drawn
from tocsin_detectors._feature_baseline import Features
from tocsin_detectors._model_rows import MODEL, STREAM
from tocsin_detectors._spelling import canonical, pooled
from tocsin_detectors._vectors import Vectors, plain

_NAMED, _NAME = 3, 25  # features in a sentence, and characters of each
#: A model without a baseline counts as so many events that are not judged.
_NEW_MODEL = 10
_MODELS = 20  # fewer small models are not reported
_LISTED = 50  # features in the evidence
_UNFIT = 1.5  # severity `medium`: the values that the model answers may stand in the new features


def no_baseline(model: str, activity: str) -> Score:
    """A model that the baseline does not have: severity `medium`. `activity` is such as "answered 3 calls"."""
    reason = f"{short(model)} {activity}; its baseline has no such model"
    return not_judged(Subject("model", model), "no baseline", reason, _NEW_MODEL)


def small_models(
    window: Window, detector: str, models: Mapping[str, Drawn], known: Collection[str], least: int
) -> Iterator[Score]:
    """Models without a baseline and with fewer than `least` calls each: calls could be spread over made-up names.

    Counted are the calls of such models, if there are at least `_MODELS` of them, against the window before.

    Args:
        window: the window.
        detector: the id of the detector.
        models: the window's calls of each model, one spelling each.
        known: the models of the baseline.
        least: a model with fewer calls is small.
    """
    names = {canonical(name) for name in known}
    numbers = [calls.number for name, calls in models.items() if canonical(name) not in names]
    small = [number for number in numbers if number < least]
    if len(small) < _MODELS:
        return
    usual = _small_calls(window.before(window.length), names, least)
    reason = f"{count(sum(small), 'call')} to {count(len(small), 'model')} with fewer than {least} calls each"
    yield not_judged(Subject("detector", detector), "small models", reason, sum(small), float(usual))


def _small_calls(window: Window, known: Collection[str], least: int) -> int:
    """Number of calls of small models that are not known."""
    counts = window.summary(STREAM, [MODEL], [COUNT], [Condition(MODEL, "not_null")])
    counts = counts.with_columns(of=pooled(counts[MODEL])).group_by("of").agg(pl.col("count").sum())
    small = counts.filter(pl.col("count") < least, ~pl.col("of").is_in(list(known)))
    return int(small["count"].sum())


def schema_changes(
    model: str, vectors: Vectors, normal: Features, departs: Callable[[], bool]
) -> Iterator[Score]:
    """Features that calls lack and the baseline has, and features that only the calls have.

    `departs` tells whether the model's answers no longer fit the features of the baseline.
    """
    subject = Subject("model", model)
    lacking = [
        (vectors.lacking(name), share * vectors.rows, plain(name)) for name, share in normal.lacking.items()
    ]
    missing = [(calls, usual, name) for calls, usual, name in lacking if calls > usual]
    if missing:
        calls, usual, name = max(missing, key=lambda found: found[0] - found[1])
        others = f" and {count(len(missing) - 1, 'more feature')}" if len(missing) > 1 else ""
        lack = "lacks" if calls == 1 else "lack"
        reason = f"{count(calls, 'call')} to {short(model)} {lack} the feature {short(name)}{others}"
        found = not_judged(
            subject,
            "missing features",
            reason,
            calls,
            usual,
            {"features": [f for *_, f in missing][:_LISTED]},
        )
        if found.value >= THRESHOLD:  # then the share decides: a busy model has more calls of every kind
            found = replace(found, value=unusual(100 * (calls - usual) / vectors.rows, 0.0))
        yield found
    yield from _further(model, vectors, normal)
    added = [plain(name) for name in vectors.names if name not in normal.samples]
    if added:
        names = listed([short(name, _NAME) for name in added], _NAMED)
        reason = f"{short(model)} receives features that its baseline lacks: {names}"
        unfit = departs()
        if unfit:
            reason += "; its answers no longer fit the known ones"
        facts: dict[str, Json] = {"features": list(added[:_LISTED]), "answers_fit": not unfit}
        yield changed(subject, "new features", reason, _UNFIT if unfit else THRESHOLD, facts)


def _further(model: str, vectors: Vectors, normal: Features) -> Iterator[Score]:
    """Calls with many further features beside the known ones: the model could answer the values of the former."""
    calls, most = 0, 0
    for names, matrix in vectors.blocks:
        known = len(normal.samples.keys() & set(names))
        if known and is_unclear(len(names) - known, 0, known):  # without any, features are missing
            calls, most = calls + len(matrix), max(most, len(names) - known)
    if calls:
        reason = f"{count(calls, 'call')} to {short(model)} carry up to {count(most, 'feature')} that its baseline lacks"
        found = not_judged(Subject("model", model), "further features", reason, calls)
        # the share decides, as for missing features
        yield replace(found, value=unusual(100 * calls / vectors.rows, 0.0))
