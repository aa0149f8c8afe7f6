"""The baseline of `evasion`: known queries to each model, and how many variants of one input are usual for a principal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tocsin.contract.windows import Baseline
from tocsin.stats.extraction import drawn_in_turn
from tocsin.stats.variants import Family, Variants
from tocsin_detectors._alignment import Shape
from tocsin_detectors._honest_queries import MODEL, SPELLING, USER, VALUES, matrix
from tocsin_detectors._query_shapes import aligned_to, commonest_shape

#: Known queries of a model that are stored, drawn from each principal in turn.
_KNOWN_ROWS = 10_000
#: The score that is usual for a principal: this quantile of its days, of at least so many days.
_USUAL, _DAYS = 0.9, 3
#: A principal's own past explains at most this multiple of the variants that are usual for others.
_OWN = 8.0

_MODELS = pl.Schema({"names": pl.String(), "width": pl.Int64(), "most": pl.Float64()})
_DAY = pl.Schema({"principal": pl.String(), "score": pl.Float64(), "typical": pl.Float64()})
_USUAL_SCORES = pl.Schema({"principal": pl.String(), "score": pl.Float64()})


@dataclass(frozen=True)
class OfPrincipal:
    """The largest set of variants that a principal sent to a model.

    Attributes:
        calls: the calls of the principal, without repeated ones, in the baseline's shape.
        family: the largest set of variants, by places in `calls`.
        score: the logarithm of its size, in multiples of the typical size of the principal's other sets of variants.
    """

    calls: pl.DataFrame
    family: Family
    score: float


class KnownInputs:
    """What is known of a model's inputs."""

    def __init__(self, shape: Shape, known: NDArray[np.float64]) -> None:
        self.shape = shape
        self._known, self._variants = known, Variants(known)
        self._usual: dict[str, float] = {}
        self._most = float("inf")  # the largest size that is typical of a known principal's sets of variants

    @classmethod
    def fit(cls, calls: pl.DataFrame) -> KnownInputs | None:
        """Learn from the distinct calls of one model; None if no call has features."""
        calls = calls.filter(pl.col(VALUES).list.len() > 0)
        if calls.is_empty():
            return None
        shape = commonest_shape(calls)
        calls = aligned_to(calls, shape).calls
        found = cls(shape, matrix(calls[drawn_in_turn(calls[USER].to_list(), _KNOWN_ROWS)]))
        rows = [
            (spelling, one.score, one.family.typical)
            for _, day in calls.group_by("interval", maintain_order=True)
            for one in found.largest(day)
            for spelling in one.calls[SPELLING].drop_nulls().unique().to_list()
        ]
        principals = pl.DataFrame(rows, _DAY, orient="row").group_by("principal")
        usual = principals.agg(pl.col("score").quantile(_USUAL), pl.col("typical").median(), pl.len())
        usual = usual.filter(pl.col("len") >= _DAYS)
        beyond = (pl.col("score") - pl.col("score").median()).clip(0, float(np.log(_OWN)))
        found._usual = dict(usual.select("principal", beyond).iter_rows())
        found._most = max(usual["typical"].to_list(), default=1.0)
        return found

    def largest(self, calls: pl.DataFrame) -> Iterator[OfPrincipal]:
        """The largest set of variants of each principal.

        Args:
            calls: distinct calls of the model, of any shape; those of a principal together, in the order of time.
        """
        calls = aligned_to(calls, self.shape).calls.sort(USER, maintain_order=True)
        if calls.is_empty():
            return
        sizes = calls.group_by(USER, maintain_order=True).len()["len"].to_numpy()
        starts = (np.cumsum(sizes) - sizes).astype(np.intp)
        families = self._variants.families(matrix(calls), starts)
        for start, size, family in zip(starts.tolist(), sizes.tolist(), families, strict=True):
            own = calls[start : start + size]
            spellings = own[SPELLING].drop_nulls().unique().to_list()
            usual = min((self._usual.get(name, 0.0) for name in spellings), default=0.0)
            typical = min(max(family.typical, 1.0), max(self._most, 1.0))
            score = float(np.log(family.size / typical)) - usual
            yield OfPrincipal(own, replace(family, rows=family.rows - start), max(score, 0.0))

    def frames(self, model: str) -> dict[str, pl.DataFrame]:
        """The frames to store, each with the model's name as a column."""
        frames = {
            "models": pl.DataFrame([(self.shape.names, self.shape.width, self._most)], _MODELS, orient="row"),
            "known": pl.DataFrame({VALUES: self._known}, {VALUES: pl.List(pl.Float64)}),
            "usual": pl.DataFrame(sorted(self._usual.items()), _USUAL_SCORES, orient="row"),
        }
        return {name: frame.with_columns(pl.lit(model).alias(MODEL)) for name, frame in frames.items()}

    @classmethod
    def read(cls, baseline: Baseline) -> Iterator[tuple[str, KnownInputs]]:
        """The models of a baseline with the frames of `frames`."""
        for model, names, width, most in baseline.frames["models"].select(MODEL, *_MODELS).iter_rows():
            known, usual = (
                baseline.frames[name].filter(pl.col(MODEL) == model).drop(MODEL)
                for name in ("known", "usual")
            )
            found = cls(Shape(names, width), matrix(known))
            found._usual, found._most = dict(usual.iter_rows()), most
            yield model, found
