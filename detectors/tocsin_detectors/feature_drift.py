"""The inputs of a model have drifted away from the model's baseline."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast
from weakref import WeakKeyDictionary

import numpy as np
import polars as pl

from tocsin.contract.early import Early
from tocsin.contract.findings import Family, Json, Score, Subject
from tocsin.contract.plugin import Detector, Requires, Stability, param
from tocsin.contract.severities import Tail
from tocsin.contract.windows import Baseline, Window
from tocsin.stats.drift import Sample, log_shift
from tocsin.stats.multiplicity import log_benjamini_hochberg, log_normal_deviate
from tocsin.words import count, short
from tocsin_detectors import _answers as answers
from tocsin_detectors import _model_rows as model_rows
from tocsin_detectors import _seasons as seasons
from tocsin_detectors._answers import SCORE
from tocsin_detectors._callers import VALUE
from tocsin_detectors._drawn_calls import Drawn, Draws
from tocsin_detectors._feature_baseline import SCHEMA, Features, learn
from tocsin_detectors._feature_tests import SIGNIFICANT, Test, Tested, describe, reason_of
from tocsin_detectors._kept import KeptFrames, KeptWhile
from tocsin_detectors._reached import is_reached
from tocsin_detectors._schema_changes import no_baseline, schema_changes, small_models
from tocsin_detectors._shift_causes import (
    CALLS,
    HISTORY,
    Cause,
    Shift,
    explain,
    since_settled,
    with_cause,
)
from tocsin_detectors._shift_values import FeatureTerms, reader, settled_calls
from tocsin_detectors._vectors import NAMES, VALUES, Vectors, is_nominal, plain

_COLUMNS = (model_rows.VERSION, NAMES, VALUES, SCORE)
_SCHEMAS = 100  # schemas of a model that a baseline learns: the commonest
_LISTED = 50  # added features in the evidence
_TOP = 5  # features that the evidence describes
_SHOWN = 0.5  # features with a larger adjusted p-value are not described
#: The baseline's value that lists the models whose calls carry too few vectors.
_WITHOUT = "without vectors"


@dataclass(frozen=True, slots=True)
class Params:
    """Settings of feature_drift."""

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


class FeatureDrift(Detector[Params]):
    """The inputs of a model have another distribution than in the model's baseline.

    What it sees
        Features whose values shift, or that have new, vanished or missing values (another unit, a broken join,
        a new kind of client). Features whose values are usual but no longer fit the values of the other
        features (shuffled, shifted or forged columns). New features in the calls of a model, and features of
        the baseline that calls lack, cause separate findings. Calls with several new features are also reported
        as "not judged". If the answers no longer follow from the known features, a new feature is `medium`.
    Method
        The detector compares each feature's values with the baseline by a Kolmogorov-Smirnov test, and by a
        chi-squared test of the counts in the baseline's quantile bins. For a categorical feature it uses only
        the chi-squared test, over the codes. Ridge regression over the bins of all features (categories too)
        predicts the share of each feature's bins from the other features, and a one-sided test compares the mean
        surprise, -log of the predicted share, with the baseline's (conditional distribution tests: Kulinski, Bagchi
        & Inouye, NeurIPS 2020). Relations are learned from 10,000 calls and the first 160 features. The score is
        the smallest p-value of all tests, adjusted after Benjamini and Hochberg (1995) and expressed as a normal
        deviate. A window with more than `row_limit` calls is judged as if it had `row_limit` calls, so that a
        tiny change in a large window raises no alert. For a finding, the detector reads up to 18 earlier windows: the
        likely cause is weighed from who sends the changed calls, what was deployed, and when. It never changes the
        score. After a change that began at once and lasted for 14 windows in the calls of all callers, a window is
        compared with the first of these windows instead. If two days of the week differ from the others in the
        baseline, as a weekend may, a window is compared with its own kind of days. Time: linear in calls.
    Blind spots
        Concept drift: the relation between inputs and truth changes while the inputs do not; relations of three
        or more features that no sum of two-feature relations shows; changes in a few calls out of a thousand; a baseline
        that already contains the drift; usual values in one or two of the baseline's features, if the true values
        stand in further ones and the answers hardly depend on these features or are those of a new version. A party that
        controls the calls of all callers is judged by the new state after 14 windows with findings.
    False alarms
        Seasons and campaigns that the baseline does not contain; a model that serves several populations whose
        mix changes; a new version with another schema, until a new baseline is fitted. All models share one
        threshold.
    Respond
        For each feature in the evidence, compare the counts in `baseline` and `window`. Find out whether the
        change began with a release of the upstream pipeline, or with a new principal. If the change is
        intended, fit a new baseline. If not, hold the model's decisions and find who sends these rows.
    """

    id = "feature_drift"
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
        self._read: WeakKeyDictionary[Baseline, dict[str, dict[str, Features]]] = WeakKeyDictionary()
        self._draws = Draws()
        self._frames = KeptFrames()
        self._causes: KeptWhile[Cause] = KeptWhile()

    def split(self, window: Window) -> tuple[Window, Window]:
        # The score is a p-value, which is exact for independent calls. Chunks only raise the threshold if
        # calls are not independent. A chunk of a tenth shows this dependence against the whole baseline too.
        return window, window

    def chunks(self, window: Window) -> Iterator[Window]:
        known = seasons.by_model(window.baseline, "features")
        return model_rows.chunks(window, _COLUMNS, self.params.chunk_rows, self.params.min_rows, known)

    def fit(self, window: Window) -> Baseline | None:
        rows: list[dict[str, object]] = []
        answered: list[dict[str, object]] = []
        without: list[str] = []
        for model, calls in model_rows.by_model(window, _COLUMNS).items():
            kept, versions = model_rows.thinned(calls, self.params.max_rows), model_rows.versions(calls)
            vectors = Vectors.of(kept).commonest(_SCHEMAS)
            if vectors.rows - vectors.malformed >= self.params.min_rows:
                numbers = seasons.feature_values(calls)
                for season, part in seasons.parts(calls, numbers, self.requires.window, self.params.min_rows):
                    some = vectors
                    if season != seasons.WHOLE:
                        some = Vectors.of(model_rows.thinned(part, self.params.max_rows)).commonest(_SCHEMAS)
                    facts = {"model": model, "season": season, "versions": versions}
                    rows += [facts | row for row in learn(some)]
                parts = model_rows.parts(calls, self.params.max_rows, self.params.min_rows)
                answer = answers.learn_answers(kept, parts, _SCHEMAS)
                answered += [{"model": model, **answer}] if answer else []
            elif len(calls) >= self.params.min_rows:
                without.append(model)
        values: dict[str, Json] = {_WITHOUT: without} if without else {}
        frames = {"features": pl.DataFrame(rows, SCHEMA), "answers": pl.DataFrame(answered, answers.SCHEMA)}
        return Baseline(frames, values) if rows else None

    def score(self, window: Window) -> Iterator[Score]:
        if window.baseline is None:
            return
        if window.baseline not in self._read:
            self._read[window.baseline] = Features.by_model(window.baseline.frames["features"])
        known = self._read[window.baseline]
        models = self._draws.of(window, _COLUMNS, self.params.max_rows, CALLS)
        for model, calls in models.items():
            if calls.number < self.params.min_rows:
                continue
            by_season = model_rows.find(known, model)
            if by_season is None:
                if not self._is_without_vectors(model, calls, window.baseline):
                    yield no_baseline(model, f"answered {count(calls.number, 'call')}")
                continue
            normal = seasons.at(by_season, calls.rows)
            vectors = Vectors.of(calls.rows, list(normal.samples))
            tested = self._tested(vectors, normal)
            score = self._judge(model, calls, vectors, normal, tested)
            yield self._explained(window, score, vectors, normal, tested, calls)
            if window.calibrating:
                continue
            departs = functools.partial(self._answers_depart, window.baseline, model, calls.rows, normal)
            yield from schema_changes(model, vectors, normal, departs)
        if window.changed is None and not window.calibrating:
            yield from small_models(window, self.id, models, known, self.params.min_rows)

    def _answers_depart(self, baseline: Baseline, model: str, calls: pl.DataFrame, normal: Features) -> bool:
        """Whether the answers no longer follow from the features; False if the baseline does not say how they do."""
        frame = baseline.frames.get("answers")  # version 0.2 has none
        known = {row["model"]: row for row in frame.iter_rows(named=True)} if frame is not None else {}
        row = model_rows.find(known, model)
        least, limit = self.params.min_rows, self.params.row_limit
        return row is not None and answers.answers_depart(row, calls, normal, least, limit)

    def _is_without_vectors(self, model: str, calls: Drawn, baseline: Baseline) -> bool:
        """Whether a model's calls carry too few vectors to be judged, both in the baseline and now."""
        names: Any = baseline.values.get(_WITHOUT, ())
        if model_rows.find(dict.fromkeys(names, True), model) is None:
            return False
        vectors = Vectors.of(calls.rows)
        return vectors.rows - vectors.malformed < self.params.min_rows

    def _tested(self, vectors: Vectors, normal: Features) -> Tested:
        samples = {name: Sample.of(vectors.column(name)) for name in vectors.names if name in normal.samples}
        samples = {name: sample for name, sample in samples.items() if sample.rows >= self.params.min_rows}
        tests = [*self._shifts(samples, normal), *self._relations(vectors, normal)]
        adjusted = log_benjamini_hochberg([test.log_p for test in tests]).tolist()
        pairs = zip(adjusted, tests, strict=True)
        return Tested(samples, sorted(pairs, key=lambda pair: pair[0]))  # ties: the schema's order

    def _judge(self, model: str, calls: Drawn, vectors: Vectors, normal: Features, tested: Tested) -> Score:
        samples, ranked = tested
        if not ranked:
            words = f"{short(model)} has too few vectors with the baseline's features"
            return Score(Subject("model", model), 0.0, words)
        smallest, worst = ranked[0]
        moved = {test.feature for log_p, test in ranked if log_p <= math.log(SIGNIFICANT)}
        top = dict.fromkeys(test.feature for log_p, test in ranked if log_p <= math.log(_SHOWN))
        evidence: dict[str, Json] = {
            "rows": calls.number,
            "rows.judged": vectors.rows,
            "baseline.rows": max(sample.rows for sample in normal.samples.values()),
            "p": math.exp(smallest),
            "tests": len(ranked),
            "moved": sorted(plain(name) for name in moved),
            "features": [
                describe(name, samples.get(name), normal.samples[name], ranked) for name in list(top)[:_TOP]
            ],
            "added": [plain(name) for name in vectors.names if name not in normal.samples][:_LISTED],
            "removed": [plain(name) for name in normal.samples if name not in vectors.names],
            "malformed": vectors.malformed,
            "versions": calls.versions,
            "baseline.versions": normal.versions,
        }
        reason = reason_of(model, worst, len(moved), len(samples))
        return Score(Subject("model", model), log_normal_deviate(smallest), reason, evidence)

    def _explained(
        self,
        window: Window,
        score: Score,
        vectors: Vectors,
        normal: Features,
        tested: Tested,
        calls: Drawn,
        settled: bool = False,
    ) -> Score:
        """The score with its likely cause, if it may be a finding. After a settled change, the score since then."""
        if not is_reached(window, score):
            return score
        model, moved = score.subject.id, cast("list[str]", score.evidence["moved"])
        read = reader(window, model, calls, (NAMES, VALUES))

        def why() -> Cause:
            terms = FeatureTerms.of(normal, tested.samples, vectors, tested.significant)

            def values(rows: pl.DataFrame) -> pl.DataFrame:
                return rows.with_columns(pl.Series(VALUE, terms.values(rows))).drop(NAMES, VALUES)

            shift = Shift("inputs", model, 0.0, read, values, self._frames, normal.season)
            return explain(window, shift, self.params.max_rows)

        cause = self._causes.of(window, (model, settled, *moved), calls.number, why)
        if settled or not cause.settled:
            return with_cause(score, cause)
        known = Vectors.of(
            settled_calls(self._frames, window, cause.settled, model, _COLUMNS), list(normal.samples)
        )
        since = Features.of(
            pl.DataFrame(
                [{"model": model, "season": seasons.WHOLE, "versions": [], **row} for row in learn(known)],
                SCHEMA,
            )
        )
        again = self._tested(vectors, since)
        anew = self._judge(model, calls, vectors, since, again)
        anew = self._explained(window, anew, vectors, since, again, calls, settled=True)
        return since_settled(score, anew, cause.settled)

    def _shifts(self, samples: dict[str, Sample], normal: Features) -> Iterator[Test]:
        for name, sample in samples.items():
            nominal = is_nominal(name)
            found = log_shift(normal.samples[name], sample, nominal=nominal, row_limit=self.params.row_limit)
            yield Test(found.counts_log_p, name, "counts")
            if not nominal:
                yield Test(found.ks_log_p, name, "values")

    def _relations(self, vectors: Vectors, normal: Features) -> Iterator[Test]:
        if normal.relations is None:
            return
        matrix = vectors.matrix(normal.related)  # a call that lacks a feature predicts the others worse
        if len(matrix) < self.params.min_rows:
            return
        if len(matrix) > self.params.row_limit:
            matrix = np.random.default_rng(0).choice(matrix, self.params.row_limit, replace=False)
        found = normal.relations.log_p(normal.relations.surprise(matrix))
        for name, log_p in zip(normal.related, found, strict=True):
            yield Test(log_p, name, "relation")
