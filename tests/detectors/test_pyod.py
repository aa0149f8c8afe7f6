"""pyod: any estimator from configuration alone, and clear words where the configuration is wrong."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.generators.vectors import START, durations
from tocsin import ConfigError
from tocsin.config import discovery
from tocsin.config import params as settings
from tocsin.contract.plugin import Detector
from tocsin.testing import evaluate
from tocsin.testing.evaluate import Evaluation

COLUMNS = ["event.duration", "tocsin.output.score"]


@functools.cache
def history() -> pl.DataFrame:
    return durations(0, 20)


def judged(slow: float, **given: Any) -> Evaluation:
    given = {"columns": COLUMNS, **given}
    return evaluate(
        "pyod", {"inference": durations(22, 1, slow)}, params=given, baseline={"inference": history()}
    )


def made(**given: Any) -> Detector[Any]:
    plugin = discovery.discover().get(Detector, "pyod")  # type: ignore[type-abstract]
    detector: Detector[Any] = plugin(settings.build(plugin.params_type(), {"columns": COLUMNS, **given}))
    return detector


@pytest.mark.parametrize(
    ("estimator", "arguments"),
    [
        ("pyod.models.ecod.ECOD", {}),
        ("pyod.models.iforest.IForest", {"n_estimators": 20}),
        ("pyod.models.copod.COPOD", {}),
        ("pyod.models.knn.KNN", {}),
        ("sklearn.ensemble.IsolationForest", {"n_estimators": 20}),
        ("sklearn.neighbors.LocalOutlierFactor", {"novelty": True}),
        ("sklearn.covariance.EllipticEnvelope", {}),
    ],
)
def test_any_estimator_sees_slow_calls(estimator: str, arguments: dict[str, Any]) -> None:
    result = judged(0.25, estimator=estimator, arguments=arguments, top=0.2)
    assert [finding.subject.id for finding in result.findings] == ["credit"]
    assert judged(0.0, estimator=estimator, arguments=arguments, top=0.2).findings == []


@pytest.mark.parametrize("estimator", ["ecod.ECOD", "copod.COPOD", "iforest.IForest"])
def test_a_window_of_outliers_does_not_hide_them(estimator: str) -> None:
    result = judged(1.0, estimator=f"pyod.models.{estimator}")
    assert [finding.subject.id for finding in result.findings] == ["credit"]


def test_forests_are_the_same_twice() -> None:
    first, second = (judged(0.1, estimator="pyod.models.iforest.IForest").scores for _ in range(2))
    assert first.equals(second)


def test_vectors() -> None:
    def calls(day: int, days: int, shift: float = 0.0) -> pl.DataFrame:
        rng = np.random.default_rng(day)
        rows = durations(day, days)
        vectors = rng.normal(size=(len(rows), 4)) + shift * (rng.random((len(rows), 1)) < 0.2)
        return rows.with_columns(pl.Series("tocsin.features.values", vectors.tolist()))

    given = {"columns": ["tocsin.features.values"], "top": 0.2}
    for shift, findings in ((6.0, 1), (0.0, 0)):
        result = evaluate(
            "pyod", {"inference": calls(22, 1, shift)}, params=given, baseline={"inference": calls(0, 20)}
        )
        assert len(result.findings) == findings


def test_missing_values_are_no_outliers() -> None:
    empty = durations(22, 1).with_columns(
        pl.when(pl.int_range(pl.len()) % 2 == 0).then("event.duration").alias("event.duration")
    )
    result = evaluate(
        "pyod", {"inference": empty}, params={"columns": COLUMNS}, baseline={"inference": history()}
    )
    assert [finding for finding in result.findings if not finding.aspect] == []
    assert [(f.aspect, f.severity.value) for f in result.findings] == [("unclear rows", "medium")]


def test_a_column_that_is_always_missing_is_no_reason_to_fail() -> None:
    rows = {"inference": history().drop("event.duration")}
    result = evaluate("pyod", {"inference": durations(22, 1)}, params={"columns": COLUMNS}, baseline=rows)
    assert len(result.scores) == 1


def test_another_stream_and_subject() -> None:
    def accesses(day: int, days: int, size: int) -> pl.DataFrame:
        rows = durations(day, days)
        sizes = np.random.default_rng(day).poisson(size, len(rows))
        return rows.select(
            "@timestamp", "event.id", pl.Series("http.response.bytes", sizes), pl.lit("ana").alias("user.id")
        )

    result = evaluate(
        "pyod",
        {"access": accesses(22, 1, 9000)},
        params={
            "stream": "access",
            "columns": ["http.response.bytes"],
            "subject_type": "principal",
            "subject_column": "user.id",
        },
        baseline={"access": accesses(0, 20, 2000)},
    )
    assert [tuple(finding.subject) for finding in result.findings] == [("principal", "ana")]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"estimator": "os.system"}, "neither below pyod.models nor below sklearn"),
        ({"estimator": "sklearn_evil.Thing"}, "neither below"),
        ({"estimator": "pyod.models.ecod.ECODD"}, "no estimator"),
        ({"estimator": "pyod.models.nothing.Nothing"}, "no estimator"),
        ({"estimator": "sklearn.linear_model.LogisticRegression"}, "no outlier estimator"),
        ({"estimator": "sklearn.utils.check_array"}, "no outlier estimator"),
        ({"arguments": {"trees": 3}}, "does not take these arguments"),
        ({"estimator": "sklearn.neighbors.LocalOutlierFactor"}, "novelty: true"),
        ({"columns": []}, "columns is empty"),
        ({"columns": ["event.durations"]}, "did you mean 'event.duration'"),
        ({"columns": ["user.id"]}, "is no number"),
        ({"columns": ["tocsin.features.values", "event.duration"]}, "must stand alone"),
        ({"stream": "inferences"}, "no stream"),
        ({"stream": "finding"}, "no stream"),
        ({"subject_column": "model"}, "unknown column 'model'"),
    ],
)
def test_what_is_wrong_is_said(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        made(**given)


def test_it_reads_the_stream_that_it_is_told() -> None:
    assert made(stream="inference").requires.streams == ("inference",)
    assert START.tzinfo is not None
