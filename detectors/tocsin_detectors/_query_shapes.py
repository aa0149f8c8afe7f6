"""The shapes of queries to one model: which is the commonest, and the queries in the shape of a baseline."""

from __future__ import annotations

import polars as pl

from tocsin.contract.streams import ID, TIME
from tocsin_detectors._alignment import FURTHER, Aligned, Shape, align
from tocsin_detectors._vectors import NAMES, VALUES

USER = "user.id"
WIDTH = pl.col(VALUES).list.len()
PRESENT = pl.col(VALUES).list.eval(pl.element().is_finite().fill_null(value=False)).list.sum().fill_null(0)
#: Equal vectors are one query; a call with a vector without values is a query of its own.
KEY = pl.when(PRESENT > 0).then(pl.col(VALUES).hash()).otherwise(pl.col(ID).hash())


def commonest_shape(calls: pl.DataFrame) -> Shape:
    """The shape of the vectors of most principals, of distinct calls of one model."""
    shapes = calls.group_by(NAMES, WIDTH.alias("width")).agg(pl.col(USER).n_unique().alias("users"), pl.len())
    return Shape(*shapes.sort("users", "len", NAMES, "width").select(NAMES, "width").row(-1))


def of_shape(calls: pl.DataFrame, shape: Shape) -> pl.DataFrame:
    return calls.filter(pl.col(NAMES).eq_missing(pl.lit(shape.names, pl.String)), WIDTH.eq(shape.width))


def aligned_to(calls: pl.DataFrame, shape: Shape) -> Aligned:
    """The distinct calls of a model in a shape, and those that cannot be judged.

    The latter include calls that lack most values, which are judged by the values that they have, and calls that
    differ from others only in features that the shape lacks.
    """
    found = align(calls.with_row_index("row"), shape)
    unclear = [found.rest, found.calls.filter(2 * PRESENT < WIDTH)]
    known = found.calls
    if found.reshaped:
        known = known.sort(USER, TIME, ID).with_columns(key=KEY)
        repeated = ~pl.struct(USER, "interval", "key").is_first_distinct()
        unclear.append(known.filter(repeated, pl.col(FURTHER) > 0))
        known = known.filter(~repeated).drop("key")
    rest = pl.concat([frame.select(found.rest.columns) for frame in unclear])
    rest = rest.unique("row", keep="first", maintain_order=True)
    return Aligned(known.drop("row"), found.reshaped, rest.drop("row"))
