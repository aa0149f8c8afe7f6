"""The answers of one model in a baseline or a window, and the ones that changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tocsin.contract.windows import Baseline
from tocsin.datasets.labels import canonical_labels
from tocsin.stats.drift import Sample
from tocsin_detectors import _model_rows as model_rows
from tocsin_detectors._label_spelling import merged
from tocsin_detectors._seasons import WHOLE, at
from tocsin_detectors._shift_values import OutputTerms, Term, log_ratios

LABEL = "tocsin.output.label"
NUMBERS = {"score": "tocsin.output.score", "confidence": "tocsin.output.confidence"}


@dataclass(frozen=True, slots=True)
class Outputs:
    """The answers of one model: its numbers by name, and how often it returned each label (None: no label)."""

    versions: list[str]
    numbers: Mapping[str, Sample]
    labels: Mapping[str | None, int]
    season: str = WHOLE

    @classmethod
    def of(cls, calls: pl.DataFrame) -> Outputs:
        numbers = {name: Sample.of(calls[column].to_numpy()) for name, column in NUMBERS.items()}
        labels = calls.group_by(canonical_labels(calls[LABEL])).len().sort(LABEL)
        return cls(model_rows.versions(calls), numbers, dict(labels.iter_rows()))

    @classmethod
    def read(cls, baseline: Baseline, model: str, calls: pl.DataFrame) -> Outputs | None:
        """The answers of a model in the season of some calls; None if the baseline does not know the model."""
        models = baseline.frames["numbers"]["model"].unique().to_list()
        known = model_rows.find({name: name for name in models}, model)
        if known is None:
            return None
        numbers, labels = (
            _of_season(baseline.frames[name].filter(pl.col("model") == known), calls)
            for name in ("numbers", "labels")
        )
        labels = labels.group_by(canonical_labels(labels["label"]).alias("label")).agg(pl.col("count").sum())
        columns = zip(numbers["output"], numbers["values"], numbers["missing"], strict=True)
        return cls(
            numbers["versions"][0].to_list(),
            {name: Sample(values.to_numpy(), missing) for name, values, missing in columns},
            dict(labels.select("label", "count").iter_rows()),
            str(numbers["season"][0]) if "season" in numbers.columns else WHOLE,
        )

    def spelled(self, words: Mapping[str, str]) -> Outputs:
        """The same answers; a label that is a key of `words` is counted under its value."""
        given = {label: count for label, count in self.labels.items() if label is not None}
        labels: dict[str | None, int] = {}
        labels.update(merged(given, words).items())
        if None in self.labels:
            labels[None] = self.labels[None]
        return replace(self, labels=labels)

    @property
    def rows(self) -> int:
        return sum(self.labels.values())

    def label_counts(self, labels: Sequence[str | None]) -> NDArray[np.int64]:
        return np.array([self.labels.get(label, 0) for label in labels], dtype=np.int64)


def _of_season(rows: pl.DataFrame, calls: pl.DataFrame) -> pl.DataFrame:
    """The rows of a season. Older baselines have no seasons."""
    if "season" not in rows.columns or rows.is_empty():
        return rows
    parts = rows.partition_by("season", as_dict=True, maintain_order=True)
    return at({str(season): part for (season,), part in parts.items()}, calls)


def numbers_of(calls: pl.DataFrame) -> NDArray[np.float64]:
    """The answers as numbers, of shape (calls, 3): score, confidence and the place of the label among the sorted labels."""
    labels = canonical_labels(calls[LABEL]).rank("dense").alias(LABEL)
    columns = [*(calls[name] for name in NUMBERS.values()), labels]
    return pl.DataFrame(columns).cast(pl.Float64).fill_null(float("nan")).to_numpy()


def all_labels(before: Outputs, now: Outputs) -> list[str | None]:
    return sorted(before.labels.keys() | now.labels.keys(), key=lambda label: label or "")


def terms_of(before: Outputs, now: Outputs, moved: AbstractSet[str]) -> OutputTerms:
    """The terms of the outputs that moved: `labels`, and the names of numbers."""
    numbers = {
        NUMBERS[name]: Term.of(before.numbers[name], sample)
        for name, sample in now.numbers.items()
        if name in moved
    }
    labels = all_labels(before, now) if "labels" in moved else []
    ratios = log_ratios(before.label_counts(labels), now.label_counts(labels))
    return OutputTerms(numbers, dict(zip(labels, ratios.tolist(), strict=True)))
