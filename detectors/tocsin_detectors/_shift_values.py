"""How much each call looks like what changed: a log-likelihood ratio, summed over the features or answers that changed.

The features count as independent (naive Bayes). The ratio of a value is that of its bin's shares in the window and in
the baseline (Neyman & Pearson 1933). For a broken relation it is the surprise of the value, in a normal model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tocsin.contract.query import Condition
from tocsin.contract.streams import ID
from tocsin.contract.windows import Window
from tocsin.stats.drift import Sample
from tocsin.stats.histogram import Bins
from tocsin_detectors import _model_rows as model_rows
from tocsin_detectors._drawn_calls import Drawn
from tocsin_detectors._feature_baseline import Features
from tocsin_detectors._kept import KeptFrames
from tocsin_detectors._shift_causes import COLUMNS, EARLIER_ROWS
from tocsin_detectors._spelling import canonical
from tocsin_detectors._vectors import NAMES, VALUES, Vectors, is_nominal

Floats = NDArray[np.float64]
_HALF = 0.5  # added to each count
_SPREAD = 0.05  # the least standard deviation of a surprise: that of a nearly constant column is near 0
_MANY = 3  # times as many calls as are drawn: only the ids of all of them are read
_MOST = 5.0  # the largest term of one broken relation in one call


class OutputTerms(NamedTuple):
    """The terms of a model's answers that changed: of its numbers, by column, and of its labels."""

    numbers: Mapping[str, Term]
    labels: Mapping[str | None, float]

    def values(self, calls: pl.DataFrame, labels: pl.Series) -> Floats:
        """The sum of the terms of each call, in order. `labels` are the calls' labels, as the baseline spells them."""
        found = np.zeros(len(calls))
        for column, term in self.numbers.items():
            found += term.values(calls[column].cast(pl.Float64).fill_null(float("nan")).to_numpy())
        if self.labels:
            most = max(self.labels.values())  # of a label that neither the baseline nor the window has
            found += np.array([self.labels.get(label, most) for label in labels.to_list()])
        return found


class Term(NamedTuple):
    """The ratio of each bin of a column, centered so that its mean in the baseline is 0."""

    bins: Bins
    ratios: Floats

    @classmethod
    def of(cls, before: Sample, now: Sample, *, nominal: bool = False) -> Term:
        """Compare two samples of a column. The last bin has the missing values."""
        bins, counts = before.binned(nominal=nominal)
        return cls(bins, log_ratios(counts, now.counted(bins)))

    def values(self, column: Floats) -> Floats:
        """The ratio of each value."""
        found: Floats = self.ratios[self.bins.places(column)]
        return found


def log_ratios(before: NDArray[np.int64], now: NDArray[np.int64]) -> Floats:
    """For each bin, the logarithm of its share now divided by its share before, minus the mean of that before."""
    was, is_now = before + _HALF, now + _HALF
    found = np.log(is_now / is_now.sum()) - np.log(was / was.sum())
    centered: Floats = found - float((before / max(before.sum(), 1)) @ found)
    return centered


@dataclass(frozen=True, slots=True)
class FeatureTerms:
    """The terms of a model's features that changed: of their values, and of their relation to other features."""

    known: Sequence[str]
    columns: Mapping[str, Term]
    normal: Features
    gains: Floats | None  # of each related feature; None: no relation changed

    @classmethod
    def of(
        cls,
        normal: Features,
        samples: Mapping[str, Sample],
        vectors: Vectors,
        tests: Sequence[tuple[str, str]],
    ) -> FeatureTerms:
        """From the features and kinds of the significant tests, and the window's vectors."""
        shifted = dict.fromkeys(name for name, kind in tests if kind != "relation")
        columns = {
            name: Term.of(normal.samples[name], samples[name], nominal=is_nominal(name))
            for name in shifted
            if name in samples
        }
        broken = {name for name, kind in tests if kind == "relation"}
        gains = None
        if broken and normal.relations is not None:
            surprise = normal.relations.surprise(vectors.matrix(normal.related))
            usual, spread = (
                normal.relations.moments[:, 0],
                np.maximum(normal.relations.moments[:, 1], _SPREAD),
            )
            wanted = np.array([name in broken for name in normal.related])
            gains = np.where(wanted, (surprise.mean(axis=0) - usual) / spread**2, 0.0)
        return cls(list(normal.samples), columns, normal, gains)

    def values(self, calls: pl.DataFrame) -> Floats:
        """The sum of the terms of each call, in order; NaN for a vector that cannot be read."""
        found = np.full(len(calls), np.nan)
        rows = calls.select(NAMES, VALUES, width=pl.col(VALUES).list.len()).with_row_index("place")
        for part in rows.partition_by(NAMES, "width", maintain_order=True):
            vectors = Vectors.of(part, self.known)
            if vectors.blocks:
                found[part["place"].to_numpy()] = self._sums(vectors)
        return found

    def _sums(self, vectors: Vectors) -> Floats:
        names, matrix = vectors.blocks[0]
        total = np.zeros(len(matrix))
        for name, term in self.columns.items():
            if name in names:
                total += term.values(vectors.column(name))
        relations = self.normal.relations
        if self.gains is not None and relations is not None and set(self.normal.related) <= set(names):
            surprise = relations.surprise(vectors.matrix(self.normal.related))
            terms = (surprise - relations.moments[:, 0]) * self.gains
            total += np.clip(terms, -_MOST, _MOST).sum(axis=1)
        return total


def calls_of(window: Window, model: str, columns: Sequence[str], limit: int) -> pl.DataFrame:
    """At most `limit` calls of a model, whatever the spelling of its name, with `COLUMNS` and some others."""
    counts = window.summary(model_rows.STREAM, [model_rows.MODEL]).drop_nulls()
    own = counts.filter([canonical(name) == canonical(model) for name in counts[model_rows.MODEL]])
    where = [Condition(model_rows.MODEL, "in", own[model_rows.MODEL].to_list())]
    if own["count"].sum() > _MANY * limit:  # vectors are read only of those that are drawn
        every = window.scan(model_rows.STREAM, [ID], where).collect()
        where.append(Condition(ID, "in", model_rows.thinned(every.sort(ID), limit)[ID].to_list()))
    wanted = list(dict.fromkeys((*COLUMNS, ID, *columns)))
    return model_rows.in_order(window.scan(model_rows.STREAM, wanted, where).collect(), limit)


def reader(
    window: Window, model: str, calls: Drawn, columns: Sequence[str]
) -> Callable[[Window, int], pl.DataFrame]:
    """Reads at most so many calls of a model in a window; of `window` itself, takes those drawn if they have `COLUMNS`."""

    def read(one: Window, most: int) -> pl.DataFrame:
        if one is window and set(COLUMNS) <= set(calls.rows.columns):
            return model_rows.in_order(calls.rows, most)
        return calls_of(one, model, columns, most)

    return read


def settled_calls(
    kept: KeptFrames, window: Window, settled: Sequence[Window], model: str, columns: Sequence[str]
) -> pl.DataFrame:
    """Calls of a model in the windows of a settled change: of each, as many as of other earlier windows."""
    key = ("settled", model, *(one.start for one in settled))
    return kept.of(
        window, key, lambda: pl.concat([calls_of(one, model, columns, EARLIER_ROWS) for one in settled])
    )
