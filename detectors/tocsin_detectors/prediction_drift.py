"""The answers of a model have drifted away from the model's baseline."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
import polars as pl

from tocsin.contract.early import Early
from tocsin.contract.findings import Family, Json, Score, Subject
from tocsin.contract.plugin import Detector, Requires, Stability, param
from tocsin.contract.severities import Tail
from tocsin.contract.windows import Baseline, Window
from tocsin.datasets.labels import canonical_labels
from tocsin.stats.chi_squared import chi_squared
from tocsin.stats.drift import Sample, facts, log_shift
from tocsin.stats.location import log_mean_shift
from tocsin.stats.log_tails import log_chi_squared_tail
from tocsin.stats.multiplicity import log_benjamini_hochberg, log_normal_deviate
from tocsin.words import count, listed, short
from tocsin_detectors import _model_rows as model_rows
from tocsin_detectors import _seasons as seasons
from tocsin_detectors._callers import VALUE
from tocsin_detectors._drawn_calls import Drawn, Draws
from tocsin_detectors._kept import KeptFrames, KeptWhile
from tocsin_detectors._label_spelling import onto_known, respelled
from tocsin_detectors._outputs import LABEL, NUMBERS, Outputs, all_labels, numbers_of, terms_of
from tocsin_detectors._reached import is_reached
from tocsin_detectors._schema_changes import no_baseline, small_models
from tocsin_detectors._shift_causes import (
    CALLS,
    HISTORY,
    Cause,
    Shift,
    explain,
    since_settled,
    with_cause,
)
from tocsin_detectors._shift_values import reader, settled_calls

_COLUMNS = (model_rows.VERSION, LABEL, *NUMBERS.values())
_SIGNIFICANT = 0.01
_LABELS_SHOWN = 20
_MEAN_WEIGHT = 6.0  # the test of the mean has the weight of this many other tests
_NUMBERS_SCHEMA = {
    "model": pl.String(),
    "season": pl.String(),
    "versions": pl.List(pl.String()),
    "output": pl.String(),
    "values": pl.List(pl.Float64()),
    "missing": pl.Int64(),
}
_LABELS_SCHEMA = {"model": pl.String(), "season": pl.String(), "label": pl.String(), "count": pl.Int64()}


@dataclass(frozen=True, slots=True)
class Params:
    """Settings of prediction_drift."""

    min_rows: int = param(200, ge=50, doc="a model with fewer calls in the window is not judged")
    row_limit: int = param(
        5000,
        ge=200,
        doc="a window with more calls is judged as if it had this many: only the size of a change matters",
    )
    chunk_rows: int = param(
        1000, ge=50, doc="number of calls in each chunk of the baseline that calibrates the threshold"
    )
    max_rows: int = param(
        20_000, ge=200, doc="maximum number of calls of each model that are stored in a baseline or judged"
    )


class PredictionDrift(Detector[Params]):
    """The answers of a model have another distribution than in the model's baseline.

    What it sees
        Scores that shift or cluster, another mix of classes, lower confidence, missing answers. Possible causes
        are a shift of class shares, a wrong or manipulated model, and changed inputs that affect the model's
        answers. If a new model version answers, the evidence names it. A new spelling of a known label is a
        separate finding.
    Method
        Two-sample tests on the model's outputs (black box shift detection; Rabanser, Guennemann & Lipton,
        Failing Loudly, NeurIPS 2019). The output score has a z-test of the mean, a Kolmogorov-Smirnov test and
        a chi-squared test of counts in the baseline's bins. The confidence has a Kolmogorov-Smirnov test, and
        the labels have a chi-squared test. The detector's score is the smallest p-value of all tests, adjusted
        after Benjamini and Hochberg (1995) and expressed as a normal deviate. A window with more than
        `row_limit` calls is judged as if it had `row_limit` calls, so that a tiny change in a large window
        raises no alert. A finding names the likely cause, a change that lasts is compared with its first windows, and
        days of a weekend that differs are compared with each other, as in feature_drift.
    Blind spots
        Concept drift: the truth changes while inputs and answers do not (only true labels show it). A shift of
        class shares is visible only if the model separates the classes. Changes in a few calls out of a
        thousand; a baseline that already contains the drift.
    False alarms
        A new version with another calibration; seasons and campaigns that the baseline does not contain. All
        models share one threshold.
    Respond
        Check whether the version changed and whether feature_drift names inputs. If version and inputs are the
        same, suspect the model itself: compare its digest with the registry. If the change is intended, fit a
        new baseline. If not, roll back and review the decisions made in this window.
    """

    id = "prediction_drift"
    requires = Requires("inference", window="1d", baseline="28d", history=HISTORY, shortest="3d")
    atlas = ("AML.T0031", "AML.T0015")
    playbook = "model-drift"
    family = Family.MODEL_BEHAVIOR
    stability = Stability.BETA
    floor = 2.576  # p = 0.005: feature_drift and prediction_drift share one false alarm in a hundred
    tail = Tail.NORMAL
    early = Early(by=model_rows.MODEL, rows=200, growth=model_rows.GROWTH)

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        self._draws = Draws()
        self._frames = KeptFrames()
        self._causes: KeptWhile[Cause] = KeptWhile()

    def split(self, window: Window) -> tuple[Window, Window]:
        # The score is a p-value, which is exact for independent calls. Chunks only raise the threshold if
        # calls are not independent. A chunk of a tenth shows this dependence against the whole baseline too.
        return window, window

    def chunks(self, window: Window) -> Iterator[Window]:
        known = seasons.by_model(window.baseline, "numbers")
        return model_rows.chunks(window, _COLUMNS, self.params.chunk_rows, self.params.min_rows, known)

    def fit(self, window: Window) -> Baseline | None:
        numbers, labels = [], []
        for model, calls in model_rows.by_model(window, _COLUMNS).items():
            if len(calls) < self.params.min_rows:
                continue
            found = seasons.parts(calls, numbers_of(calls), self.requires.window, self.params.min_rows)
            for season, part in found:
                outputs = Outputs.of(model_rows.thinned(part, self.params.max_rows))
                labels += [(model, season, label, count) for label, count in outputs.labels.items()]
                numbers += [
                    (model, season, outputs.versions, name, sample.values, sample.missing)
                    for name, sample in outputs.numbers.items()
                ]
        if not numbers:
            return None
        return Baseline(
            {
                "numbers": pl.DataFrame(numbers, _NUMBERS_SCHEMA, orient="row"),
                "labels": pl.DataFrame(labels, _LABELS_SCHEMA, orient="row"),
            }
        )

    def score(self, window: Window) -> Iterator[Score]:
        if window.baseline is None:
            return
        models = self._draws.of(window, _COLUMNS, self.params.max_rows, CALLS)
        for model, calls in models.items():
            if calls.number < self.params.min_rows:
                continue
            before = Outputs.read(window.baseline, model, calls.rows)
            if before is None:
                yield no_baseline(model, f"answered {count(calls.number, 'call')}")
            else:
                now = Outputs.of(calls.rows)
                words = onto_known(filter(None, now.labels), filter(None, before.labels))
                score = self._judge(model, calls, before, now.spelled(words))
                yield self._explained(window, score, calls, before, now.spelled(words))
                yield from respelled(Subject("model", model), words)
        known = window.baseline.frames["numbers"]["model"].unique().to_list()
        if window.changed is None:
            yield from small_models(window, self.id, models, known, self.params.min_rows)

    def _judge(self, model: str, calls: Drawn, before: Outputs, now: Outputs) -> Score:
        tests = dict(self._tests(before, now))
        adjusted = _adjusted(tests)
        worst = min(adjusted, key=lambda name: (adjusted[name], tests[name], name))
        log_p = adjusted[worst]
        evidence: dict[str, Json] = {
            "rows": calls.number,
            "rows.judged": now.rows,
            "baseline.rows": before.rows,
            "p": math.exp(log_p),
            "tests": {name: math.exp(value) for name, value in adjusted.items()},
            "outputs": [
                _describe(name, before.numbers[name], sample)
                for name, sample in now.numbers.items()
                if len(sample.values) and len(before.numbers[name].values)
            ],
            "labels": {
                label or "(none)": [before.labels.get(label, 0), now.labels.get(label, 0)]
                for label in all_labels(before, now)[:_LABELS_SHOWN]
            },
            "versions": now.versions,
            "baseline.versions": before.versions,
        }
        reason = _reason(model, log_p, worst, before, now)
        return Score(Subject("model", model), log_normal_deviate(log_p), reason, evidence)

    def _explained(
        self,
        window: Window,
        score: Score,
        calls: Drawn,
        before: Outputs,
        now: Outputs,
        settled: bool = False,
    ) -> Score:
        """The score with its likely cause, if it may be a finding. After a settled change, the score since then."""
        if not is_reached(window, score):
            return score
        model, tests = score.subject.id, cast("Mapping[str, float]", score.evidence["tests"])
        moved = sorted({test.partition(" ")[0] for test, p in tests.items() if p <= _SIGNIFICANT})
        read = reader(window, model, calls, _COLUMNS)

        def why() -> Cause:
            terms = terms_of(before, now, set(moved))

            def values(rows: pl.DataFrame) -> pl.DataFrame:
                labels = canonical_labels(rows[LABEL])
                words = onto_known(labels.drop_nulls().unique().sort(), filter(None, before.labels))
                return rows.with_columns(pl.Series(VALUE, terms.values(rows, labels.replace(words))))

            shift = Shift("answers", model, 0.0, read, values, self._frames, before.season)
            return explain(window, shift, self.params.max_rows)

        cause = self._causes.of(window, (model, settled, *moved), calls.number, why)
        if settled or not cause.settled:
            return with_cause(score, cause)
        since = Outputs.of(settled_calls(self._frames, window, cause.settled, model, _COLUMNS))
        since = since.spelled(onto_known(filter(None, since.labels), filter(None, before.labels)))
        anew = self._explained(window, self._judge(model, calls, since, now), calls, since, now, settled=True)
        return since_settled(score, anew, cause.settled)

    def _tests(self, before: Outputs, now: Outputs) -> Iterator[tuple[str, float]]:
        limit = self.params.row_limit
        for name, sample in now.numbers.items():
            normal = before.numbers[name]
            if not len(sample.values) and not len(normal.values):
                continue
            found = log_shift(normal, sample, row_limit=limit)
            yield f"{name} values", found.ks_log_p
            if name == "score":
                yield "score counts", found.counts_log_p
                if len(sample.values) and len(normal.values):
                    yield "score mean", log_mean_shift(normal.values, sample.values, limit)
        labels = all_labels(before, now)
        weight = min(1.0, limit / now.rows)
        mix = chi_squared(before.label_counts(labels), now.label_counts(labels) * weight)
        yield "labels", log_chi_squared_tail(mix.statistic, mix.freedom)


def _adjusted(tests: Mapping[str, float]) -> dict[str, float]:
    """Benjamini and Hochberg's adjustment with weights (Genovese, Roeder & Wasserman 2006), of logarithms."""
    weights = np.array([_MEAN_WEIGHT if name == "score mean" else 1.0 for name in tests])
    log_p = np.array(list(tests.values())) + np.log(weights.mean() / weights)
    return dict(zip(tests, log_benjamini_hochberg(np.minimum(log_p, 0.0)).tolist(), strict=True))


def _describe(name: str, before: Sample, now: Sample) -> dict[str, Json]:
    means: list[Json] = [float(before.values.mean()), float(now.values.mean())]
    return {"output": name, "mean": means, **facts(before, now)}


def _reason(model: str, log_p: float, worst: str, before: Outputs, now: Outputs) -> str:
    if log_p > math.log(_SIGNIFICANT):
        return f"{short(model)} answers as before"
    name = short(model)
    output, _, test = worst.partition(" ")
    what = f"{name} returns another mix of labels than before"
    if test == "counts":
        what = f"{name} returns {output} values in other shares than before"
    elif test:
        was, is_now = (f"{outputs.numbers[output].values.mean():.3g}" for outputs in (before, now))
        means = f"mean {is_now}, before {was}" if is_now != was else f"the same mean {is_now}, another spread"
        what = f"{name} returns another {output} than before: {means}"
    new = [version for version in now.versions if version not in before.versions]
    versions = listed([short(version, 24) for version in new], 2)
    return what + (f"; new model {'version' if len(new) == 1 else 'versions'} {versions}" if new else "")
