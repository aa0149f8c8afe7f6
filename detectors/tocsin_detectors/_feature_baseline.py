"""A model's features in a baseline: the sorted values of each, and its relation to the other features."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tocsin.stats.conditional import NormalScores, conditional_weights, normal_scores
from tocsin.stats.drift import Sample
from tocsin_detectors._vectors import Vectors, is_nominal

Floats = NDArray[np.float64]

SCHEMA = {
    "model": pl.String(),
    "feature": pl.String(),
    "versions": pl.List(pl.String()),
    "values": pl.List(pl.Float64()),
    "missing": pl.Int64(),
    "lacking": pl.Float64(),
    "weights": pl.List(pl.Float64()),
    "residuals": pl.List(pl.Float64()),
}

_ROWS_A_FEATURE = 20  # minimum rows per feature: with fewer rows, regressions fit noise


@dataclass(frozen=True)
class Features:
    """A model's part of the baseline. `related` are the features in `weights` and `residuals`, in order.

    `lacking` is the share of calls without a feature, which includes calls without a vector.
    """

    samples: dict[str, Sample]
    lacking: dict[str, float]
    versions: list[str]
    related: list[str]
    weights: Floats
    residuals: list[Sample]

    @classmethod
    def of(cls, rows: pl.DataFrame) -> Features:
        """Read the rows of one model."""
        features = rows["feature"].to_list()
        values = [column.to_numpy() for column in rows["values"]]
        missing = rows["missing"].to_list()
        most = max(len(sample) + nulls for sample, nulls in zip(values, missing, strict=True))
        known = rows["lacking"] if "lacking" in rows.columns else pl.repeat(None, len(rows), eager=True)
        lacking = [
            1 - (len(sample) + nulls) / most if share is None else share  # older baselines do not have it
            for share, sample, nulls in zip(known, values, missing, strict=True)
        ]
        related = rows.filter(pl.col("weights").is_not_null())
        return cls(
            {name: Sample(*sample) for name, *sample in zip(features, values, missing, strict=True)},
            dict(zip(features, lacking, strict=True)),
            rows["versions"][0].to_list(),
            related["feature"].to_list(),
            np.array([column.to_numpy() for column in related["weights"]]).T,
            [Sample(column.to_numpy()) for column in related["residuals"]],
        )

    @classmethod
    def by_model(cls, rows: pl.DataFrame) -> dict[str, Features]:
        """Read all models of a baseline."""
        parts = rows.partition_by("model", as_dict=True, maintain_order=True)
        return {str(model): cls.of(part) for (model,), part in parts.items()}

    @functools.cached_property
    def _normal(self) -> list[NormalScores]:
        return [NormalScores.of(self.samples[name].values) for name in self.related]

    def residuals_of(self, matrix: Floats) -> Floats:
        """The residuals of the related features, each predicted from the others: rows × features."""
        scores = normal_scores(matrix, self._normal)
        found: Floats = scores @ self.weights
        return found


def learn(vectors: Vectors) -> Iterator[dict[str, object]]:
    """One row of `SCHEMA` for each feature, without the columns `model` and `versions`."""
    samples = {name: Sample.of(vectors.column(name)) for name in vectors.names}
    related = related_features(vectors, samples)
    weights: dict[str, Floats] = {}
    residuals: dict[str, Floats] = {}
    if related:
        normal = [NormalScores.of(samples[name].values) for name in related]
        scores = normal_scores(vectors.matrix(related), normal)
        square = conditional_weights(scores)
        sorted_residuals = np.sort(scores @ square, axis=0)
        weights = dict(zip(related, square.T, strict=True))
        residuals = dict(zip(related, sorted_residuals.T, strict=True))
    for name, sample in samples.items():
        yield {
            "feature": name,
            "values": sample.values,
            "missing": sample.missing,
            "lacking": vectors.lacking(name) / vectors.rows,
            "weights": weights.get(name),
            "residuals": residuals.get(name),
        }


def related_features(vectors: Vectors, samples: dict[str, Sample]) -> list[str]:
    """The features whose relations are learned: those of the most frequent schema with ordered values."""
    names, _ = max(vectors.blocks, key=lambda block: len(block[1]))
    ordered = [name for name in vectors.names if name in names and _has_order(name, samples[name])]
    enough = len(vectors.matrix(ordered)) >= _ROWS_A_FEATURE * len(ordered)
    return ordered if enough and len(ordered) > 1 else []


def _has_order(name: str, sample: Sample) -> bool:
    return not is_nominal(name) or len(np.unique(sample.values)) <= 2
