"""Labels of calls that `performance` cannot judge, as aspects of a model."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta

import polars as pl

from tocsin.contract.aspects import THRESHOLD, changed, not_judged, unusual
from tocsin.contract.findings import Score, Subject
from tocsin.contract.query import COUNT, Condition
from tocsin.contract.windows import Window
from tocsin.words import count, short
from tocsin_detectors._known_performance import Known
from tocsin_detectors._labeled_calls import LABELS, Labels
from tocsin_detectors._model_rows import MODEL
from tocsin_detectors._schema_changes import no_baseline
from tocsin_detectors._spelling import canonical, pooled

_WEEK, _WEEKS = timedelta(days=7), 4
_LACKING = 0.5  # of the fewest labels of a week
_MEDIUM = 1.5 * THRESHOLD


def odd_labels(name: str, labels: Labels, known: Known, days: int) -> Iterator[Score]:
    """Labels of no call, labels that a later one contradicts, and labels of an id that different calls have."""
    subject, model = Subject("model", name), short(name)
    if labels.strays:
        reason = f"{count(labels.strays, 'label')} of {model} are of no call in {count(days, 'day')}"
        usual = known.strays * labels.total
        yield not_judged(subject, "labels without calls", reason, labels.strays, usual)
    if labels.revised:
        reason = (
            f"{count(labels.revised, 'label')} of {model} were contradicted by a later label of the same call"
        )
        usual = known.revised * labels.total
        yield not_judged(subject, "revised labels", reason, labels.revised, usual)
    if labels.shared:
        reason = f"{count(labels.shared, 'label')} of {model} are of an id that different calls have"
        yield not_judged(subject, "calls with one id", reason, labels.shared)


def without_scores(name: str, unscored: int, total: int, known: Known) -> Iterator[Score]:
    """Calls without a finite score."""
    if unscored:
        reason = f"{count(unscored, 'call')} to {short(name)} have no score"
        yield not_judged(
            Subject("model", name), "calls without scores", reason, unscored, known.unscored * total
        )


def contradiction(name: str, words: str) -> Score:
    """Labels of a group of calls that contradict its scores, where the figures of all calls do not."""
    reason = f"the labels of {short(name)} contradict its scores in a group: {words}"
    return changed(Subject("model", name), "labels against scores", reason, _MEDIUM)


def missing_labels(window: Window, models: Sequence[str], least: int) -> Iterator[Score]:
    """Models with less than half of the labels in a week that each of the four weeks before had, `least` or more.

    A week, because a batch may be a few days late.
    """
    lately = window.before(max(_WEEK - window.length, window.length))
    counts = _counts(window)
    for name, number in _counts(lately).items():
        counts[name] = counts.get(name, 0) + number
    weeks = []
    for _ in range(_WEEKS):
        lately = lately.before(_WEEK)
        weeks.append(_counts(lately))
    for model in models:
        name = canonical(model)
        usual, now = min(week.get(name, 0) for week in weeks), counts.get(name, 0)
        if usual >= least and now < _LACKING * usual:
            reason = f"{count(now, 'label')} of {short(model)} arrived in 7 days, usually {usual:,} or more"
            found = not_judged(Subject("model", model), "missing labels", reason, usual - now)
            # the share decides: a busy model has more labels
            yield replace(found, value=unusual(100 * (1 - now / usual), 0.0))


def unknown_models(window: Window, detector: str, unknown: Sequence[Labels], least: int) -> Iterator[Score]:
    """Models that the baseline does not have: each with at least `least` labels, and all others together.

    Of the others, those count that had no label in the week before: labels could be spread over made-up names.
    """
    few = [labels for labels in unknown if labels.total < least]
    for labels in unknown:
        if labels.total >= least:
            yield no_baseline(labels.model, f"received {count(labels.total, 'label')}")
    if sum(labels.total for labels in few) >= least:
        before: Collection[str] = _counts(window.before(_WEEK))
        few = [labels for labels in few if canonical(labels.model) not in before]
    number = sum(labels.total for labels in few)
    if number >= least:
        what = f"received {count(number, 'label')}, fewer than {least} each"
        reason = f"{count(len(few), 'new model')} {what}"
        yield not_judged(Subject("detector", detector), "small models", reason, number)


def _counts(window: Window) -> dict[str, int]:
    """Number of labels by the canonical name of the model that they name."""
    rows = window.summary(LABELS, [MODEL], [COUNT], [Condition(MODEL, "not_null")])
    sums = rows.group_by(of=pooled(rows[MODEL])).agg(pl.col("count").sum())
    return dict(sums.iter_rows())
