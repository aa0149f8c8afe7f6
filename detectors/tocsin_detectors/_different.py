"""Which queries are different: expressions over the columns of the stream `inference`."""

from __future__ import annotations

import polars as pl

NAMES, VALUES = "tocsin.features.names", "tocsin.features.values"


def is_bare() -> pl.Expr:
    """Whether a call lacks a feature vector or most of its values: nothing shows whether it repeats another one."""
    vector = pl.col(VALUES)
    present = vector.list.eval(pl.element().is_finite().fill_null(value=False)).list.sum().fill_null(0)
    return (vector.list.len().fill_null(0) == 0) | (2 * present < vector.list.len())


def query() -> pl.Expr:
    """A hash of the vector and of the names of its features, which can contain values (`income=52000`)."""
    return pl.col(VALUES).hash(0) ^ pl.col(NAMES).hash(1)
