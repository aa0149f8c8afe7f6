"""A model performs worse than in its baseline: by labels that arrived, or by an estimate without labels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta

import polars as pl

from tocsin.contract.aspects import not_judged
from tocsin.contract.findings import Family, Json, Score, Subject
from tocsin.contract.plugin import Detector, Requires, Stability, param
from tocsin.contract.severities import Tail
from tocsin.contract.windows import Baseline, Window
from tocsin.datasets.labels import canonical_labels
from tocsin.errors import BaselineError
from tocsin.stats.multiplicity import log_benjamini_hochberg, log_normal_deviate
from tocsin.words import count, short
from tocsin_detectors import _model_rows as model_rows
from tocsin_detectors._known_losses import Losses
from tocsin_detectors._known_performance import ESTIMATED, REALIZED, SCHEMA, Known, Test
from tocsin_detectors._labeled_calls import ANSWER, SCORE, Binary, Labels, arrived, positive_class
from tocsin_detectors._schema_changes import no_baseline
from tocsin_detectors._shift_causes import explain, is_reached, with_cause

_SIGNIFICANT = math.log(0.01)


@dataclass(frozen=True, slots=True)
class Params:
    """Settings of performance."""

    min_labels: int = param(
        100,
        ge=50,
        doc="fewer labeled calls of a model in the window are not judged; a baseline needs three times as many",
    )
    min_rows: int = param(200, ge=50, doc="for a model with fewer calls in the window, nothing is estimated")
    max_rows: int = param(20_000, ge=200, doc="maximum number of labels or calls of each model that are read")


class Performance(Detector[Params]):
    """A model performs worse than in its baseline.

    What it sees
        Labels that arrived in the window (stream `label`) and contradict the model's answers more often than in the
        baseline: concept drift, a broken or manipulated model, wrong labels. Without labels: calls whose scores say
        that fewer answers will be right. Such a result is an estimate, and the evidence states its error. Labels
        that are of no call cause a separate finding.
    Method
        Realized: the mean log loss of calibrated scores, the error rate and the AUC (its error after Hanley & McNeil
        1982) of the labeled calls, whenever the calls were. Estimated: the expected accuracy and AUC (CBPE, confidence-based
        performance estimation), after isotonic regression of the baseline's labels on its scores. Each figure is compared
        with that of the baseline, one-sided. If chunks of the baseline scatter more than independent calls would, the
        errors grow accordingly. The score is the smallest p-value, adjusted after Benjamini and Hochberg (1995) and
        expressed as a normal deviate. A finding names the likely cause, as in feature_drift. The time grows linearly
        with the labels, up to 20,000 for each model.
    Blind spots
        A model with more than two classes, or without scores. A baseline without labels. Concept drift before its
        labels arrive: the estimate holds only as long as the scores stay calibrated. Labels of calls that are older than
        `history` (90 days).
    False alarms
        Labels that arrive sooner for one class than for the other. A season in which the calls are harder to judge. A
        baseline with few days.
    Respond
        If labels say so: check whether a new version answers, whether the labels have another source, and which
        features drifted. Roll back, or train the model with the new labels. If only the estimate says so: find which
        inputs changed (`feature_drift`) and wait for labels before you act on the model.
    """

    id = "performance"
    requires = Requires("inference", "label", window="1d", baseline="28d", history="90d")
    atlas = ("AML.T0031", "AML.T0015")
    playbook = "model-drift"
    family = Family.MODEL_BEHAVIOR
    stability = Stability.EXPERIMENTAL
    threshold = 2.576  # p = 0.005: the score is a p-value
    tail = Tail.NORMAL

    def fit(self, window: Window) -> Baseline | None:
        rows = []
        for labels in arrived(window, self._history, self.params.max_rows):
            positive = positive_class(labels.calls)
            if positive is None:
                continue
            calls = Binary.of(labels.calls, positive)
            ones = int(calls.positive.sum())
            least = 3 * self.params.min_labels
            if len(calls.scores) >= least and min(ones, len(calls.scores) - ones) >= least // 20:
                share = labels.strays / (labels.strays + len(labels.calls))
                rows.append(Known.of(calls, positive, share).row(labels.model))
        if not rows:
            needed = f"at least {3 * self.params.min_labels} labels of one model (stream label)"
            raise BaselineError(f"detector {self.id}: the history does not have {needed}")
        return Baseline({"models": pl.DataFrame(rows, SCHEMA)})

    def score(self, window: Window) -> Iterator[Score]:
        frame = window.baseline.frames["models"] if window.baseline else pl.DataFrame(schema=SCHEMA)
        if frame.is_empty():  # no labels ever: nothing is known
            return
        known = {str(row["model"]): Known.read(row) for row in frame.iter_rows(named=True)}
        tests: dict[str, list[Test]] = {name: [] for name in known}
        facts: dict[str, dict[str, Json]] = {name: {} for name in known}
        beside: list[Score] = []
        for labels in arrived(window, self._history, self.params.max_rows):
            name = _named(labels.model, known)
            if name is None:
                beside += self._unknown(labels)
                continue
            beside += self._strays(name, labels, known[name])
            labeled = Binary.of(labels.calls, known[name].positive)
            facts[name]["labels"] = len(labeled.scores)
            if len(labeled.scores) >= self.params.min_labels:
                tests[name] += known[name].realized(labeled)
        self._estimate(window, known, tests, facts)
        for name in sorted(known):
            if tests[name]:
                more: dict[str, Json] = {"baseline.labels": known[name].rows}
                yield self._score(window, known[name], name, tests[name], facts[name] | more)
        yield from beside

    @property
    def _history(self) -> timedelta:
        return self.requires.history or timedelta(0)

    def _estimate(
        self,
        window: Window,
        known: Mapping[str, Known],
        tests: Mapping[str, list[Test]],
        facts: Mapping[str, dict[str, Json]],
    ) -> None:
        for model, calls in model_rows.by_model(window, [SCORE, ANSWER]).items():
            name = _named(model, known)
            if name is None:
                continue
            rows = model_rows.thinned(calls, self.params.max_rows)
            rows = rows.with_columns(canonical_labels(rows[ANSWER]))
            answers = Binary.of(rows, known[name].positive)
            facts[name]["calls"] = len(answers.scores)
            if len(answers.scores) >= self.params.min_rows:
                tests[name].extend(known[name].estimated(answers))

    def _score(
        self, window: Window, known: Known, model: str, tests: list[Test], facts: dict[str, Json]
    ) -> Score:
        adjusted = log_benjamini_hochberg([test.log_p for test in tests]).tolist()
        log_p, worst = min(zip(adjusted, tests, strict=True), key=lambda pair: (pair[0], pair[1].log_p))
        evidence: dict[str, Json] = {
            **facts,
            "p": math.exp(log_p),
            "realized": {test.name: test.facts for test in tests if test.name in REALIZED},
            "estimated": {test.name: test.facts for test in tests if test.name in ESTIMATED},
        }
        reason = _reason(model, log_p, worst, tests)
        score = Score(Subject("model", model), log_normal_deviate(log_p), reason, evidence)
        if not is_reached(window, score):
            return score
        source = Losses(known, model, self._history, self.params.max_rows)
        shift = source.realized(window) if worst.name in REALIZED else source.estimated()
        return with_cause(score, explain(window, shift, self.params.max_rows))

    def _unknown(self, labels: Labels) -> Iterator[Score]:
        if len(labels.calls) >= self.params.min_labels:
            yield no_baseline(labels.model, f"received {count(len(labels.calls), 'label')}")

    def _strays(self, name: str, labels: Labels, known: Known) -> Iterator[Score]:
        total = labels.strays + len(labels.calls)
        days = self._history.days
        reason = f"{count(labels.strays, 'label')} of {short(name)} are of no call in {count(days, 'day')}"
        found = not_judged(
            Subject("model", name), "labels without calls", reason, labels.strays, known.strays * total
        )
        if labels.strays:
            yield found


def _named(model: str, known: Mapping[str, Known]) -> str | None:
    return model_rows.find({name: name for name in known}, model)


def _reason(model: str, log_p: float, worst: Test, tests: list[Test]) -> str:
    if log_p > _SIGNIFICANT:
        return f"{short(model)} performs as before: {worst.words}"
    if worst.name in REALIZED:
        shown = next((test for test in tests if test.name == "AUC" and test.log_p <= _SIGNIFICANT), worst)
        return f"{short(model)} performs worse by the labels that arrived: {shown.words}"
    return f"{short(model)} is expected to perform worse, an estimate without labels: {worst.words}"
