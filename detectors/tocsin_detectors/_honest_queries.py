"""The baseline of honest queries to models: made from calls of the inference stream, stored as frames."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tocsin.contract.query import COUNT, Condition, Where
from tocsin.contract.streams import ID, INGESTED, TIME
from tocsin.contract.windows import Baseline, Window
from tocsin.stats.dependence import Dependence, Pair
from tocsin.stats.extraction import DOUBT, SIZES, Honest, Norm, Queries, drawn_in_turn, learn, parts
from tocsin.stats.geometry import CONTEXT, Domain, Reference, domains, edits, filled
from tocsin.stats.tails import Tail
from tocsin_detectors._alignment import Aligned, Shape
from tocsin_detectors._query_shapes import KEY, aligned_to, commonest_shape, of_shape
from tocsin_detectors._spelling import pooled

STREAM = "inference"
USER, MODEL = "user.id", "tocsin.model.name"
NAMES, VALUES, CONFIDENCE = "tocsin.features.names", "tocsin.features.values", "tocsin.output.confidence"
KNOWN = (Condition(MODEL, "not_null"), Condition(VALUES, "not_null"))
#: The principal as the event names it. `user.id` holds the canonical form, under which queries are pooled.
SPELLING = "spelling"

SCORE, LABEL = "tocsin.output.score", "tocsin.output.label"

COLUMNS = (TIME, ID, INGESTED, USER, MODEL, NAMES, VALUES, CONFIDENCE, SCORE, LABEL)
#: The confidence of a classifier that returns only a probability: the probability of the more probable class.
SURE = pl.when(pl.col(LABEL).is_not_null() & pl.col(SCORE).is_between(0, 1)).then(
    pl.max_horizontal(SCORE, 1 - pl.col(SCORE))
)
_MODELS = pl.Schema(
    {
        "names": pl.String(),
        "width": pl.Int64(),
        "doubt": pl.Float64(),
        "unaligned": pl.Float64(),
        "rare": pl.Float64(),
    }
)
_DOMAINS = pl.Schema(
    {"low": pl.Float64(), "high": pl.Float64(), "whole": pl.Boolean(), "closed": pl.List(pl.Float64())}
)
_CUTS = pl.Schema({"cuts": pl.List(pl.Float64())})
_PAIRS = pl.Schema({"first": pl.Int64(), "second": pl.Int64(), "surprise": pl.List(pl.Float64())})
_NORMS = pl.Schema(
    {
        "size": pl.Int64(),
        "statistic": pl.String(),
        "limit": pl.Float64(),
        "start": pl.Float64(),
        "excess": pl.Float64(),
        "principals": pl.List(pl.String()),
        "values": pl.List(pl.Float64()),
    }
)

#: The dependence of features is learned from at most this many queries.
_DEPENDENCE_ROWS = 20_000
#: About this number of queries get their coordinates in one call.
_BATCH = 20_000

Matrix = NDArray[np.float64]


def distinct(window: Window, length: timedelta | None = None, where: Where = ()) -> pl.DataFrame:
    """A window's calls by principal and model, in order, without calls that repeat the principal's own vectors.

    With `length`, repetitions are removed only within intervals of this length, as in a detector's windows. The
    spellings of one principal are pooled, and so are calls without a principal.
    """
    calls = window.rows(STREAM, COLUMNS, (*KNOWN, *where))
    calls = calls.with_columns(pl.col(USER).alias(SPELLING), pooled(calls[USER]).alias(USER))
    interval = (
        pl.lit(0) if length is None else pl.col(TIME).dt.epoch("us") // (length // timedelta(microseconds=1))
    )
    return (
        calls.with_columns(pl.coalesce(CONFIDENCE, SURE), interval=interval, key=KEY)
        .unique([USER, MODEL, "interval", "key"], keep="first", maintain_order=True)
        .drop("key")
        .sort(USER, MODEL, maintain_order=True)
    )


def as_events(calls: pl.DataFrame) -> pl.DataFrame:
    """Calls with the principals' names as the events have them."""
    return calls.with_columns(pl.col(SPELLING).alias(USER))


def sampled(window: Window, limit: int) -> Where:
    """The condition that selects at most `limit` calls, all of some principals; empty if there are no more calls.

    Principals are selected in the order of a hash. One with more than a fifth of `limit` calls is not selected.
    """
    counts = window.summary(STREAM, [USER], [COUNT], KNOWN).sort(pl.col(USER).hash(seed=0), USER)
    if counts["count"].sum() <= limit:
        return ()
    fits = counts.filter(pl.col(USER).is_not_null(), pl.col("count") <= limit // 5)
    chosen = fits.filter(pl.col("count").cum_sum() <= limit)[USER].to_list()
    return (Condition(USER, "in", chosen),)


@dataclass(frozen=True)
class HonestQueries:
    """Honest queries to one model. `unaligned` is the share of calls whose vectors do not fit the shape."""

    names: str | None
    width: int
    unaligned: float
    honest: Honest
    reference: Reference
    rows: pl.DataFrame
    domains: list[Domain]
    dependence: Dependence

    @classmethod
    def fit(cls, calls: pl.DataFrame, limit: int) -> HonestQueries:
        """Learn from the distinct calls of one model that have the schema of most principals.

        Edits of earlier queries are excluded from the features' domains and from the reference rows.
        """
        shape = commonest_shape(calls)
        everything, calls = calls, of_shape(calls, shape)
        unaligned = len(aligned_to(everything, shape).rest) / len(everything)
        plain = _without_edits(calls)
        rows = plain[drawn_in_turn(plain[USER].to_list(), limit)]
        known = domains(matrix(plain))
        many = plain[drawn_in_turn(plain[USER].to_list(), _DEPENDENCE_ROWS)]
        dependence = Dependence.of(filled(matrix(many)))
        reference = Reference(matrix(rows), rows[USER].to_list(), known, dependence)
        doubt = rows[CONFIDENCE].quantile(DOUBT, "lower")
        honest = learn([queries for queries, _ in _placed(calls, reference)], doubt or 0.0)
        return cls(
            shape.names,
            shape.width,
            unaligned,
            honest,
            reference,
            rows.select(USER, VALUES),
            known,
            dependence,
        )

    def frames(self, model: str) -> dict[str, pl.DataFrame]:
        """The frames to store, each with the model's name as a column."""
        known = [(d.low, d.high, d.whole, None if d.closed is None else list(d.closed)) for d in self.domains]
        norms = [
            (
                size,
                statistic,
                norm.limit,
                norm.tail.start,
                norm.tail.excess,
                [*norm.own],
                [*norm.own.values()],
            )
            for size, of_size in self.honest.norms.items()
            for statistic, norm in of_size.items()
        ]
        frames = {
            "models": pl.DataFrame(
                [(self.names, self.width, self.honest.doubt, self.unaligned, self.dependence.limit)],
                _MODELS,
                orient="row",
            ),
            "reference": self.rows,
            "domains": pl.DataFrame(known, _DOMAINS, orient="row"),
            "norms": pl.DataFrame(norms, _NORMS, orient="row"),
            "cuts": pl.DataFrame([(cut.tolist(),) for cut in self.dependence.cuts], _CUTS, orient="row"),
            "pairs": pl.DataFrame(
                [(pair.first, pair.second, pair.surprise.tolist()) for pair in self.dependence.pairs],
                _PAIRS,
                orient="row",
            ),
        }
        return {name: frame.with_columns(pl.lit(model).alias(MODEL)) for name, frame in frames.items()}

    @classmethod
    def read(cls, baseline: Baseline) -> Iterator[tuple[str, HonestQueries]]:
        """The models and their honest queries, from a baseline with the frames of `frames`."""
        for row in baseline.frames["models"].iter_rows(named=True):
            model = row[MODEL]
            part = {name: f.filter(pl.col(MODEL) == model).drop(MODEL) for name, f in baseline.frames.items()}
            known = [
                Domain(low, high, whole, None if closed is None else tuple(closed))
                for low, high, whole, closed in part["domains"].iter_rows()
            ]
            norms: dict[int, dict[str, Norm]] = {}
            for size, statistic, limit, start, excess, principals, values in part["norms"].iter_rows():
                own = dict(zip(principals, values, strict=True))
                norms.setdefault(size, {})[statistic] = Norm(limit, Tail(start, excess), own)
            rows = part["reference"].with_columns(pooled(part["reference"][USER]).alias(USER))
            dependence = _dependence(part, row.get("rare"))
            reference = Reference(matrix(rows), rows[USER].to_list(), known, dependence)
            honest = Honest(row["doubt"], norms)
            unaligned = row.get("unaligned") or 0.0  # older baselines do not have it
            yield (
                model,
                cls(row["names"], row["width"], unaligned, honest, reference, rows, known, dependence),
            )

    def aligned(self, calls: pl.DataFrame) -> Aligned:
        """The distinct calls of this model in the baseline's shape, and those that cannot be judged by it."""
        return aligned_to(calls, Shape(self.names, self.width))

    def queries(self, calls: pl.DataFrame, runs: int) -> Iterator[tuple[Queries, pl.DataFrame]]:
        """Calls of this model by principal: as `Queries`, and the rows of these queries.

        Args:
            calls: distinct calls in the baseline's shape, sorted by principal.
            runs: maximum number of runs of 500 calls that are used of a principal with more calls.
        """
        rows = [
            start + np.arange(run.start, run.stop)
            for start, stop in _runs(calls[USER])
            for run in parts(stop - start, min(stop - start, SIZES[-1]), runs)
        ]
        yield from _placed(calls[np.concatenate(rows)] if rows else calls, self.reference)


def _dependence(part: Mapping[str, pl.DataFrame], limit: float | None) -> Dependence:
    """The dependence of a model's features; empty if an older baseline does not have it."""
    cuts = [
        np.asarray(cut, dtype=np.float64)
        for (cut,) in part.get("cuts", pl.DataFrame(schema=_CUTS)).iter_rows()
    ]
    pairs = part.get("pairs", pl.DataFrame(schema=_PAIRS)).iter_rows()
    return Dependence(
        cuts, [Pair(i, j, np.asarray(values)) for i, j, values in pairs], np.inf if limit is None else limit
    )


def _runs(column: pl.Series) -> list[tuple[int, int]]:
    """The start and end of each run of equal values."""
    cuts = (np.flatnonzero((column != column.shift()).fill_null(value=False).to_numpy())).tolist()
    return list(itertools.pairwise([0, *cuts, len(column)])) if len(column) else []


def _without_edits(calls: pl.DataFrame) -> pl.DataFrame:
    """The calls without those that edit an earlier query of the same principal."""
    values, edit = matrix(calls), np.zeros(len(calls), dtype=np.bool_)
    for first, last in _runs(calls[USER]):
        for start in range(first, last, 2 * CONTEXT):
            before, stop = max(first, start - CONTEXT), min(start + 2 * CONTEXT, last)
            edit[start:stop] = edits(values[before:stop], start - before)[1]
    return calls.filter(~edit)


def _placed(calls: pl.DataFrame, reference: Reference) -> Iterator[tuple[Queries, pl.DataFrame]]:
    """The queries of each principal with coordinates, computed for several principals at once to save time."""
    runs = _runs(calls[USER])
    while runs:
        last = next((k for k, (_, stop) in enumerate(runs) if stop - runs[0][0] >= _BATCH), len(runs) - 1)
        batch, runs = runs[: last + 1], runs[last + 1 :]
        rows = calls[batch[0][0] : batch[-1][1]]
        placed = reference.place(matrix(rows), rows[USER].to_list())
        confidence = rows[CONFIDENCE].fill_null(np.nan).to_numpy()
        for start, stop in batch:
            part = slice(start - batch[0][0], stop - batch[0][0])
            owner = owner_of(calls[SPELLING][start:stop].unique(), calls[USER][start])
            yield Queries(owner, placed.part(part), confidence[part]), calls[start:stop]


def owner_of(spellings: Iterable[str | None], canonical: str) -> str:
    """The name whose history counts: the spelling, or all different ones. A new spelling inherits no history."""
    ordered = sorted(spellings, key=lambda name: (name is not None, name or ""))
    return "\n".join(canonical if name is None else name for name in ordered)


def matrix(calls: pl.DataFrame) -> Matrix:
    return np.asarray(calls[VALUES].explode().to_numpy().reshape(len(calls), -1), dtype=np.float64)
