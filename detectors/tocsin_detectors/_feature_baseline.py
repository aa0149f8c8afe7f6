"""A model's features in a baseline: the sorted values of each, and its relation to the other features."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tocsin.stats.drift import Sample
from tocsin.stats.relations import Coding, Relations
from tocsin_detectors._seasons import WHOLE
from tocsin_detectors._vectors import Vectors, is_nominal

Floats = NDArray[np.float64]

SCHEMA = {
    "model": pl.String(),
    "season": pl.String(),
    "feature": pl.String(),
    "versions": pl.List(pl.String()),
    "values": pl.List(pl.Float64()),
    "missing": pl.Int64(),
    "lacking": pl.Float64(),
    "marks": pl.List(pl.Float64()),
    "exact": pl.Boolean(),
    "bins": pl.List(pl.Float64()),
    "moments": pl.List(pl.Float64()),
    "related": pl.Int64(),
}

_ROWS_A_FEATURE = 20  # minimum rows per feature: with fewer rows, regressions fit noise
_RELATED = 160  # features whose relations are learned: the first ones
_FITTED = 10_000  # rows from which relations are learned


@dataclass(frozen=True)
class Features:
    """A model's part of the baseline. `related` are the columns of `relations`, in order.

    `lacking` is the share of calls without a feature, which includes calls without a vector.
    """

    samples: dict[str, Sample]
    lacking: dict[str, float]
    versions: list[str]
    related: list[str]
    relations: Relations | None
    season: str = WHOLE

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
        related, relations = _read_relations(rows)
        return cls(
            {name: Sample(*sample) for name, *sample in zip(features, values, missing, strict=True)},
            dict(zip(features, lacking, strict=True)),
            rows["versions"][0].to_list(),
            related,
            relations,
            str(rows["season"][0]),
        )

    @classmethod
    def by_model(cls, rows: pl.DataFrame) -> dict[str, dict[str, Features]]:
        """Read all models of a baseline, each with its seasons."""
        if "season" not in rows.columns:  # older baselines do not have it
            rows = rows.with_columns(pl.lit(WHOLE).alias("season"))
        found: dict[str, dict[str, Features]] = {}
        parts = rows.partition_by("model", "season", as_dict=True, maintain_order=True)
        for (model, season), part in parts.items():
            found.setdefault(str(model), {})[str(season)] = cls.of(part)
        return found


def learn(vectors: Vectors) -> Iterator[dict[str, object]]:
    """One row of `SCHEMA` for each feature, without the columns `model`, `season` and `versions`."""
    samples = {name: Sample.of(vectors.column(name)) for name in vectors.names}
    related = _relations(vectors)
    for name, sample in samples.items():
        yield {
            "feature": name,
            "values": sample.values,
            "missing": sample.missing,
            "lacking": vectors.lacking(name) / vectors.rows,
            **related.get(name, dict.fromkeys(("marks", "exact", "bins", "moments", "related"))),
        }


def _relations(vectors: Vectors) -> dict[str, dict[str, object]]:
    """What is stored of the relations, by feature. `bins`: the columns of the weights and, last, the shares."""
    names, matrix = max(vectors.blocks, key=lambda block: len(block[1]))
    related = list(names)[:_RELATED]
    if len(set(related)) < 2 or len(matrix) < _ROWS_A_FEATURE * len(related):
        return {}
    rows = vectors.matrix(related)
    if len(rows) > _FITTED:
        rows = np.random.default_rng(0).choice(rows, _FITTED, replace=False)
    found = Relations.of(rows, [is_nominal(name) for name in related])
    table = np.vstack((found.weights, found.shares))
    ends = np.cumsum([coding.size for coding in found.codings])
    return {
        name: {
            "marks": coding.marks,
            "exact": coding.exact,
            "bins": table[:, end - coding.size : end].T.ravel(),
            "moments": moments,
            "related": found.rows,
        }
        for name, coding, end, moments in zip(
            related, found.codings, ends.tolist(), found.moments, strict=True
        )
    }


def _read_relations(rows: pl.DataFrame) -> tuple[list[str], Relations | None]:
    """The names and the relations of the related features. An older baseline has none that can be used."""
    stored = rows.filter(pl.col("marks").is_not_null()) if "marks" in rows.columns else rows.clear()
    if stored.is_empty():
        return [], None
    marks = [column.to_numpy() for column in stored["marks"]]
    codings = tuple(Coding(m, bool(e)) for m, e in zip(marks, stored["exact"], strict=True))
    width = sum(coding.size for coding in codings)
    table = np.concatenate([column.to_numpy() for column in stored["bins"]]).reshape(width, width + 1).T
    moments = np.array([column.to_numpy() for column in stored["moments"]])
    weights = np.ascontiguousarray(table[:-1])
    found = Relations(codings, weights, table[-1], moments, int(stored["related"][0]))
    return stored["feature"].to_list(), found
