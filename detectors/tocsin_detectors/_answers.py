"""How the answers of a model follow from its features: whether the values under the known names are those it answered.

A client can send usual values under the names of a baseline, and the values that the model answers under a further name.
The answers then no longer fit the known features. A linear regression on normal scores predicts the score from the
features, as in the conditional distribution tests of `feature_drift`. Equal calls, such as those of a health checker, count
once: a repeated call does not say more about how answers follow.

Calls of one customer that differ in one feature have nearly the same residual, so a p-value for independent calls is too
small. Its logarithm is divided by an inflation factor that is learned from parts of the baseline (genomic control, Devlin &
Roeder 1999, with the median of -ln p). A client that makes fewer than half of the parts unusual hardly raises the median.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tocsin.stats.conditional import NormalScores, conditional_weights, normal_scores
from tocsin.stats.drift import Sample, log_shift
from tocsin_detectors import _model_rows as model_rows
from tocsin_detectors._feature_baseline import Features
from tocsin_detectors._vectors import NAMES, VALUES, Vectors, is_nominal

Floats = NDArray[np.float64]
SCORE = "tocsin.output.score"
SCHEMA = {
    "model": pl.String(),
    "features": pl.List(pl.String()),
    "weights": pl.List(pl.Float64()),
    "values": pl.List(pl.Float64()),
    "residuals": pl.List(pl.Float64()),
    "inflation": pl.Float64(),
}
#: The answer is the first feature of each vector. A client's feature of this name comes after it and is not read.
_ANSWER = "(answer)"
_SIGNIFICANT = 0.001
_FEWEST = 5  # parts of the baseline that are compared with the whole; with fewer, the factor is 1
_ROWS_A_FEATURE = 20  # minimum rows per feature: with fewer rows, regressions fit noise


def learn_answers(
    calls: pl.DataFrame, parts: Sequence[pl.DataFrame], schemas: int
) -> dict[str, object] | None:
    """One row of `SCHEMA` without the model. None if scores or named features are missing, or are too few.

    Args:
        calls: calls of one model with `NAMES`, `VALUES` and `SCORE`.
        parts: consecutive calls of the same model and time, as they come in windows.
        schemas: so many schemas are read, the commonest.
    """
    vectors = Vectors.of(_with_answer(calls)).commonest(schemas)
    if not vectors.blocks:
        return None
    samples = {name: Sample.of(vectors.column(name)) for name in vectors.names}
    related = _related(vectors, samples)
    if _ANSWER not in related:
        return None
    order = [_ANSWER, *(name for name in related if name != _ANSWER)]
    columns = [NormalScores.of(samples[name].values) for name in order]
    scores = normal_scores(_different(vectors.matrix(order)), columns)
    weights = conditional_weights(scores)[:, 0]
    residuals = np.sort(scores @ weights)
    found = [_residuals(part, vectors.names, order, columns, weights) for part in parts]
    return {
        "features": order[1:],
        "weights": weights,
        "values": samples[_ANSWER].values,
        "residuals": residuals,
        "inflation": _inflation(Sample(residuals), [one for one in found if len(one)]),
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
        least: with fewer different calls that have these features and a score, the answer is False.
        row_limit: more calls are judged as if there were so many.
    """
    if not set(model_rows.versions(calls)) <= set(normal.versions):
        return False
    order = [_ANSWER, *known["features"]]
    values = [np.array(known["values"]), *(normal.samples[name].values for name in known["features"])]
    columns = [NormalScores.of(column) for column in values]
    now = _residuals(calls, [_ANSWER, *normal.samples], order, columns, np.array(known["weights"]))
    if len(now) < least:
        return False
    found = log_shift(Sample(np.array(known["residuals"])), Sample.of(now), row_limit=row_limit)
    inflation = known.get("inflation") or 1.0  # an earlier baseline has none
    return found.counts_log_p < inflation * math.log(_SIGNIFICANT)


def _residuals(
    calls: pl.DataFrame,
    names: Sequence[str],
    order: list[str],
    columns: Sequence[NormalScores],
    weights: Floats,
) -> Floats:
    """The residuals of the different calls that have all features of `order`; `names` are those of the baseline."""
    matrix = _different(Vectors.of(_with_answer(calls), names).matrix(order))
    return normal_scores(matrix, columns) @ weights


def _inflation(whole: Sample, parts: Sequence[Floats]) -> float:
    """By how much -ln p of parts of the baseline exceeds that of independent calls, whose median is ln 2."""
    if len(parts) < _FEWEST:
        return 1.0
    log_p = [log_shift(whole, Sample.of(part)).counts_log_p for part in parts]
    return max(1.0, -float(np.median(log_p)) / math.log(2))


def _with_answer(calls: pl.DataFrame) -> pl.DataFrame:
    """The calls with a score and feature names; the score is the first value of the vector."""
    calls = calls.filter(pl.col(SCORE).is_finite(), pl.col(NAMES).is_not_null(), pl.col(VALUES).is_not_null())
    return calls.with_columns(
        pl.concat_str(pl.lit(f"{_ANSWER},"), NAMES).alias(NAMES),
        pl.concat_list(SCORE, VALUES).alias(VALUES),
    )


def _different(matrix: Floats) -> Floats:
    """Each different row once, in the order of its first place."""
    return pl.from_numpy(matrix).unique(maintain_order=True).to_numpy()


def _related(vectors: Vectors, samples: dict[str, Sample]) -> list[str]:
    """The columns of the regression: those of the most frequent schema with ordered values."""
    names, _ = max(vectors.blocks, key=lambda block: len(block[1]))
    ordered = [name for name in vectors.names if name in names and _has_order(name, samples[name])]
    enough = len(vectors.matrix(ordered)) >= _ROWS_A_FEATURE * len(ordered)
    return ordered if enough and len(ordered) > 1 else []


def _has_order(name: str, sample: Sample) -> bool:
    return not is_nominal(name) or len(np.unique(sample.values)) <= 2
