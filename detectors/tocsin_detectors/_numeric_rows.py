"""The numeric rows that `pyod` judges, and the rows that it cannot judge by all values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import polars as pl

from tocsin.contract.aspects import THRESHOLD, not_judged, unusual
from tocsin.contract.findings import Score, Subject
from tocsin.contract.windows import Baseline, Window
from tocsin.words import count, short
from tocsin_detectors._alignment import Shape, align
from tocsin_detectors._spelling import pooled
from tocsin_detectors._vectors import NAMES, VALUES

_LEAST = 10  # fewer unclear rows of a subject are not reported


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a window that have numeric values.

    `values`: the canonical subject (`pool`) and the numeric `columns` of each row. `unclear`: by subject, its name
    (`who`; null for rows without a subject), the number of its rows, and of those that lack a value or have another form.
    `shape`: that of the vectors.
    """

    values: pl.DataFrame
    columns: list[str]
    unclear: pl.DataFrame
    shape: Shape

    @classmethod
    def read(
        cls, window: Window, stream: str, subject: str, columns: Sequence[str], shape: Shape | None = None
    ) -> Rows:
        """Read rows in a stable order, so that row order cannot matter.

        Args:
            window: the rows' window.
            stream: name of their stream.
            subject: the column that contains the subject's id.
            columns: numeric columns, or that of the feature vectors alone.
            shape: the vectors' shape in a baseline. Default: the shape that most vectors have.
        """
        vector = tuple(columns) == (VALUES,)
        raw = window.rows(stream, [subject, *((NAMES, VALUES) if vector else columns)]).with_row_index("row")
        raw = raw.with_columns(pl.col(subject).cast(pl.String).alias("who"))
        raw = raw.with_columns(pool=pooled(raw["who"]))
        if vector:
            vectors = raw.filter(pl.col(VALUES).list.len() > 0)
            shape = shape or _commonest(vectors)
            found = align(vectors, shape)
            places = [pl.col(VALUES).list.get(i).alias(f"{i}") for i in range(shape.width)]
            values, other = found.calls.select("row", "pool", *places), found.rest["row"]
        else:
            shape = Shape(None, len(columns))
            values = raw.select("row", "pool", *(pl.col(c).cast(pl.Float64) for c in columns))
            values = values.filter(pl.any_horizontal(pl.col(c).is_not_null() for c in columns))
            other = values["row"].clear()
        numeric = [name for name in values.columns if name not in ("row", "pool")]
        clear = values.filter(~lacking(values.select(numeric)), ~pl.col("row").is_in(other.implode()))["row"]
        unclear = raw.group_by("pool").agg(
            pl.len().alias("rows"),
            (~pl.col("row").is_in(clear.implode())).sum().alias("unclear"),
            pl.col("who").drop_nulls().mode().min(),
        )
        return cls(values, numeric, unclear.sort("pool"), shape)


def lacking(values: pl.DataFrame) -> pl.Series:
    """Whether a row lacks a value."""
    if not values.width:
        return pl.Series("lacking", [], pl.Boolean)
    lacks = pl.any_horizontal(~pl.all().is_finite().fill_null(value=False))
    return values.select(lacks.alias("lacking"))["lacking"]


def unclear_rows(rows: Rows, baseline: Baseline, subject_type: str, least: int) -> Iterator[Score]:
    """Subjects with more rows that lack values or have another form than they have in the baseline.

    Args:
        rows: those of a window.
        baseline: its frame `unclear` has the share of such rows by subject.
        subject_type: type of the subjects.
        least: a subject with fewer rows is not reported.
    """
    known = baseline.frames.get("unclear")
    if known is None:  # an older baseline: its rows that lack a value, of all subjects
        share = float(lacking(baseline.frames["rows"]).mean() or 0.0)  # type: ignore[arg-type]
        known = rows.unclear.select("pool", share=pl.lit(share))
    found = rows.unclear.join(known, on="pool", how="left").with_columns(pl.col("share").fill_null(0.0))
    found = found.filter(pl.col("unclear") >= _LEAST, pl.col("rows") >= least).sort("pool")
    for name, number, unclear, share in found.select("who", "rows", "unclear", "share").iter_rows():
        who = f"(no {subject_type})" if name is None else name
        reason = f"{unclear:,} of {count(number, 'row')} of {short(who)} lack values or have another form"
        score = not_judged(Subject(subject_type, who), "unclear rows", reason, unclear, share * number)
        if score.value >= THRESHOLD:  # then the share decides: a busy subject has more rows of every kind
            yield replace(score, value=unusual(100 * (unclear / number - share), 0.0))


def _commonest(vectors: pl.DataFrame) -> Shape:
    shapes = vectors.group_by(NAMES, pl.col(VALUES).list.len().alias("width")).len()
    if shapes.is_empty():
        return Shape(None, 0)
    ranked = shapes.sort("len", "width", NAMES, descending=[True, False, False], nulls_last=True)
    return Shape(ranked[NAMES][0], int(ranked["width"][0]))
