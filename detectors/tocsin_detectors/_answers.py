"""How the answers of a model follow from its features: whether the values under the known names are those it answered.

A client can send usual values under the names of a baseline, and the values that the model answers under a further name.
The answers then no longer fit the known features. A linear regression on normal scores predicts the score from the
features, as in the conditional distribution tests of `feature_drift`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from tocsin.stats.conditional import NormalScores, conditional_weights, normal_scores
from tocsin.stats.drift import Sample, shift
from tocsin_detectors import _model_rows as model_rows
from tocsin_detectors._feature_baseline import Features
from tocsin_detectors._vectors import NAMES, VALUES, Vectors, is_nominal

SCORE = "tocsin.output.score"
SCHEMA = {
    "model": pl.String(),
    "features": pl.List(pl.String()),
    "weights": pl.List(pl.Float64()),
    "values": pl.List(pl.Float64()),
    "residuals": pl.List(pl.Float64()),
}
#: The answer is the first feature of each vector. A client's feature of this name comes after it and is not read.
_ANSWER = "(answer)"
_SIGNIFICANT = 0.001
_ROWS_A_FEATURE = 20  # minimum rows per feature: with fewer rows, regressions fit noise


def learn_answers(calls: pl.DataFrame, schemas: int) -> dict[str, object] | None:
    """One row of `SCHEMA` without the model. None if scores or named features are missing, or are too few.

    Args:
        calls: the calls of one model with `NAMES`, `VALUES` and `SCORE`.
        schemas: so many schemas are read, the commonest.
    """
    vectors = Vectors.of(_with_answer(calls)).commonest(schemas)
    if not vectors.blocks:
        return None
    samples = {name: Sample.of(vectors.column(name)) for name in vectors.names}
    related = _related(vectors, samples)
    if _ANSWER not in related:
        return None
    features = [name for name in related if name != _ANSWER]
    order = [_ANSWER, *features]
    scores = normal_scores(vectors.matrix(order), [NormalScores.of(samples[name].values) for name in order])
    weights = conditional_weights(scores)[:, 0]
    residuals = np.sort(scores @ weights)
    return {
        "features": features,
        "weights": weights,
        "values": samples[_ANSWER].values,
        "residuals": residuals,
    }


def answers_depart(
    known: Mapping[str, Any], calls: pl.DataFrame, normal: Features, least: int, row_limit: int
) -> bool:
    """Whether the answers of calls no longer follow from the features as in the baseline (p < 0.001).

    False for answers of a model version that the baseline does not have: its answers may follow in another way.

    Args:
        known: a row of `SCHEMA`.
        calls: as for `learn_answers`.
        normal: the features of the same baseline.
        least: with fewer calls that have these features and a score, the answer is False.
        row_limit: more calls are judged as if there were so many.
    """
    if not set(model_rows.versions(calls)) <= set(normal.versions):
        return False
    vectors = Vectors.of(_with_answer(calls), [_ANSWER, *normal.samples])
    matrix = vectors.matrix([_ANSWER, *known["features"]])
    if len(matrix) < least:
        return False
    values = [np.array(known["values"]), *(normal.samples[name].values for name in known["features"])]
    scores = normal_scores(matrix, [NormalScores.of(column) for column in values])
    now = Sample.of(scores @ np.array(known["weights"]))
    found = shift(Sample(np.array(known["residuals"])), now, row_limit=row_limit)
    return bool(found.counts_p < _SIGNIFICANT)


def _with_answer(calls: pl.DataFrame) -> pl.DataFrame:
    """The calls with a score and feature names; the score is the first value of the vector."""
    calls = calls.filter(pl.col(SCORE).is_finite(), pl.col(NAMES).is_not_null(), pl.col(VALUES).is_not_null())
    return calls.with_columns(
        pl.concat_str(pl.lit(f"{_ANSWER},"), NAMES).alias(NAMES),
        pl.concat_list(SCORE, VALUES).alias(VALUES),
    )


def _related(vectors: Vectors, samples: dict[str, Sample]) -> list[str]:
    """The columns of the regression: those of the most frequent schema with ordered values."""
    names, _ = max(vectors.blocks, key=lambda block: len(block[1]))
    ordered = [name for name in vectors.names if name in names and _has_order(name, samples[name])]
    enough = len(vectors.matrix(ordered)) >= _ROWS_A_FEATURE * len(ordered)
    return ordered if enough and len(ordered) > 1 else []


def _has_order(name: str, sample: Sample) -> bool:
    return not is_nominal(name) or len(np.unique(sample.values)) <= 2
