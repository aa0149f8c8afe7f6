"""A model performs worse than in its baseline: by labels that arrived, or by an estimate without labels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta

import polars as pl

from tocsin.contract.findings import Family, Json, Score, Subject
from tocsin.contract.plugin import Detector, Requires, Stability, param
from tocsin.contract.severities import Tail
from tocsin.contract.windows import Baseline, Window
from tocsin.datasets.labels import canonical_labels
from tocsin.errors import BaselineError
from tocsin.stats.multiplicity import log_benjamini_hochberg, log_normal_deviate
from tocsin.words import short
from tocsin_detectors import _model_rows as model_rows
from tocsin_detectors._drawn_calls import drawn
from tocsin_detectors._known_losses import Losses
from tocsin_detectors._known_performance import ESTIMATED, REALIZED, SCHEMA, Known, Test
from tocsin_detectors._label_aspects import (
    contradiction,
    missing_labels,
    odd_labels,
    unknown_models,
    without_scores,
)
from tocsin_detectors._labeled_calls import (
    ANSWER,
    SCORE,
    Binary,
    Labels,
    arrived,
    positive_class,
    unjudged,
)
from tocsin_detectors._reached import is_reached
from tocsin_detectors._shift_causes import explain, with_cause
from tocsin_detectors._spelling import canonical

_SIGNIFICANT = math.log(0.01)


@dataclass(frozen=True, slots=True)
class Params:
    """Settings of performance."""

    min_labels: int = param(
        100,
        ge=50,
        doc="fewer labeled calls of a model, in the window and in windows before with as few, are not judged; "
        "a baseline needs three times as many",
    )
    min_rows: int = param(200, ge=50, doc="for a model with fewer calls in the window, nothing is estimated")
    max_rows: int = param(20_000, ge=200, doc="maximum number of labels or calls of each model that are read")


class Performance(Detector[Params]):
    """A model performs worse than in its baseline.

    What it sees
        Labels that arrived in the window (stream `label`) and contradict the model's answers more often than in the
        baseline: concept drift, a broken or manipulated model, wrong labels. Without labels: calls whose scores say
        that fewer answers will be right. Such a result is an estimate, and the evidence states its error. A label
        belongs to the model that answered its call, whatever model the label names. Separate findings report what is
        not judged: labels of no call, labels that a later one contradicts, an id of different calls, calls without a
        score, missing labels (less than half of each of the four weeks before), and models without a baseline.
    Method
        Realized: the mean log loss of calibrated scores, the error rate and the AUC (its error after Hanley & McNeil
        1982) of the labeled calls, whenever the calls were. Estimated: the expected accuracy and AUC (CBPE,
        confidence-based performance estimation), after isotonic regression of the baseline's labels on its scores.
        Each figure is compared with that of the baseline, one-sided. If chunks of the baseline scatter more than
        independent calls would, the errors grow accordingly. If a window has fewer than `min_labels` labels, those of
        the windows before that also had too few are judged with them. The error rate needs no scores. If no figure is
        worse, a separate finding reports a group of scores whose labels contradict it (binomial test, p < 0.00001),
        or answers that are right far more often than their scores say: right answers may have been added, or labels
        left out. The score is the smallest p-value, adjusted after Benjamini and Hochberg (1995) and expressed as a
        normal deviate. A finding names the likely cause, as in feature_drift. The time grows linearly with the
        labels, up to 20,000 for each model, and with the number of models that labels name.
    Blind spots
        A model with more than two classes, or without scores. A baseline without labels. Concept drift before its
        labels arrive: the estimate holds only as long as the scores stay calibrated. Labels of calls that are older
        than `history` (90 days). Labels that stop arriving for less than four days, or where earlier weeks had none.
    False alarms
        Labels that arrive sooner for one class than for the other. A new version that is better than its scores say.
        A season in which the calls are harder to judge. A baseline with few days.
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
            calls = Binary.of(labels.calls, positive).scored
            ones = int(calls.positive.sum())
            least = 3 * self.params.min_labels
            if len(calls.scores) >= least and min(ones, len(calls.scores) - ones) >= least // 20:
                shares = labels.strays / labels.total, labels.revised / labels.total
                unscored = 1 - len(calls.scores) / len(labels.calls)
                rows.append(Known.of(calls, positive, *shares, unscored).row(labels.model))
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
        beside = list(missing_labels(window, sorted(known), self.params.min_labels))
        contradicted: dict[str, str | None] = {}
        for name, labels in self._arrived(window, known, beside):
            labeled = Binary.of(labels.calls, known[name].positive)
            facts[name]["labels"] = len(labeled.scores)
            if len(labeled.scores) >= self.params.min_labels:
                tests[name] += known[name].realized(labeled)
                contradicted[name] = known[name].contradicted(labeled)
        beside += self._estimate(window, known, tests, facts)
        for name in sorted(known):
            if not tests[name]:
                continue
            more: dict[str, Json] = {"baseline.labels": known[name].rows}
            score = self._score(window, known[name], name, tests[name], facts[name] | more)
            yield score
            words = contradicted.get(name)
            if words and not is_reached(window, score):
                beside.append(contradiction(name, words))
        yield from beside

    def _arrived(
        self, window: Window, known: Mapping[str, Known], beside: list[Score]
    ) -> Iterator[tuple[str, Labels]]:
        """The labels of the known models, with earlier ones if they are too few. Aspects are appended to `beside`."""
        least, names = self.params.min_labels, {canonical(name): name for name in known}
        found, unknown = {}, []
        for labels in arrived(window, self._history, self.params.max_rows, names):
            name = names.get(canonical(labels.model))
            if name is None:
                unknown.append(labels)
            else:
                found[name] = labels
                beside += odd_labels(name, labels, known[name], self._history.days)
        beside += unknown_models(window, self.id, unknown, least)
        few = [canonical(name) for name, labels in found.items() if 0 < len(labels.calls) < least]
        earlier = unjudged(window, few, self._history, least) if few else {}
        for name, labels in found.items():
            before = earlier.get(canonical(name))
            yield name, labels if before is None else labels.after(before)

    @property
    def _history(self) -> timedelta:
        return self.requires.history or timedelta(0)

    def _estimate(
        self,
        window: Window,
        known: Mapping[str, Known],
        tests: Mapping[str, list[Test]],
        facts: Mapping[str, dict[str, Json]],
    ) -> Iterator[Score]:
        """Adds the tests that need no labels; yields the calls without a score."""
        for model, calls in drawn(window, [SCORE, ANSWER], self.params.max_rows).items():
            name = _named(model, known)
            if name is None:
                continue
            rows = calls.rows.with_columns(canonical_labels(calls.rows[ANSWER]))
            answers = Binary.of(rows, known[name].positive).scored
            yield from without_scores(name, len(rows) - len(answers.scores), len(rows), known[name])
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


def _named(model: str, known: Mapping[str, Known]) -> str | None:
    return model_rows.find({name: name for name in known}, model)


def _reason(model: str, log_p: float, worst: Test, tests: list[Test]) -> str:
    if log_p > _SIGNIFICANT:
        return f"{short(model)} performs as before: {worst.words}"
    if worst.name in REALIZED:
        shown = next((test for test in tests if test.name == "AUC" and test.log_p <= _SIGNIFICANT), worst)
        return f"{short(model)} performs worse by the labels that arrived: {shown.words}"
    return f"{short(model)} is expected to perform worse, an estimate without labels: {worst.words}"
