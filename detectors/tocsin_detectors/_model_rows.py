"""Calls of the inference stream by model, and the chunks of calls that calibrate drift detectors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np
import polars as pl

from tocsin.contract.query import Condition
from tocsin.contract.streams import ID, TIME
from tocsin.contract.windows import Window
from tocsin_detectors import _seasons as seasons
from tocsin_detectors._spelling import canonical, changed, pooled

T = TypeVar("T")

STREAM = "inference"
MODEL = "tocsin.model.name"
VERSION = "tocsin.model.version"

#: Beyond 500 calls of a model, its next early evaluation comes when they have grown by this factor.
GROWTH = 1.05
_CHUNKS = 100
_PARTS = 28
#: A column of places of rows.
PLACE = "place"


def by_model(window: Window, columns: Sequence[str]) -> dict[str, pl.DataFrame]:
    """The window's calls of each model in event-time order, the models sorted by name.

    Calls whose model names differ only in spelling belong to one model. Its name is the commonest spelling.
    """
    named = (Condition(MODEL, "not_null"),)
    return parts_of(window.rows(STREAM, list(dict.fromkeys((TIME, ID, MODEL, *columns))), named), window)


def parts_of(rows: pl.DataFrame, window: Window) -> dict[str, pl.DataFrame]:
    """The rows of each model to judge, the models sorted by name."""
    if window.changed is not None:
        rows = rows.filter(changed(rows[MODEL], window))
    if rows[MODEL].n_unique() > 1:
        rows = rows.with_columns(_commonest(rows[MODEL]))
    parts = rows.partition_by(MODEL, as_dict=True, maintain_order=True)
    return {str(key[0]): parts[key] for key in sorted(parts)}


def in_order(rows: pl.DataFrame, limit: int) -> pl.DataFrame:
    """At most `limit` of the rows, drawn with a fixed seed, in event-time order.

    Only times and ids are sorted: to sort vectors takes several times as long.
    """
    order = rows.select(TIME, ID).with_row_index(PLACE).sort(TIME, ID, maintain_order=True)
    return rows[thinned(order, limit)[PLACE]]


def _commonest(models: pl.Series) -> pl.Series:
    counts = models.value_counts()
    counts = counts.with_columns(of=pooled(counts[MODEL])).sort("count", MODEL, descending=[True, False])
    names = counts.select(MODEL, name=pl.col(MODEL).first().over("of"))
    return models.replace_strict(names[MODEL], names["name"], return_dtype=pl.String)


def find(known: Mapping[str, T], model: str) -> T | None:
    """What is known of a model, whatever the spelling of its name."""
    if model in known:
        return known[model]
    return {canonical(name): value for name, value in known.items()}.get(canonical(model))


def chunks(
    window: Window, columns: Sequence[str], size: int, least: int, known: Mapping[str, Iterable[str]]
) -> Iterator[Window]:
    """Chunks of consecutive calls of one model each, evenly spread over the window.

    Consecutive calls preserve the differences between quiet windows: bursts, hours, days. A chunk has up to
    `size` calls, but at most a tenth of its model's calls or, if that is less than `least`, `least` calls. A
    model with fewer than `least` calls has no chunks. No chunk has calls of two of the model's `known` seasons.
    """
    models = {name: rows for name, rows in by_model(window, columns).items() if len(rows) >= least}
    for name, rows in models.items():
        length = min(size, max(least, len(rows) // 10))
        starts = np.linspace(0, len(rows) - length, -(-_CHUNKS // len(models)))
        for start in starts.round().astype(int).tolist():
            yield window.with_rows(
                {STREAM: seasons.within(known.get(name, (seasons.WHOLE,)), rows.slice(start, length))}
            )


def parts(rows: pl.DataFrame, limit: int, least: int) -> list[pl.DataFrame]:
    """Up to 28 runs of consecutive rows, evenly spread: each of a 28th of `limit` rows, but at least of `least` rows."""
    number = min(_PARTS, len(rows) // least)
    length = max(least, min(len(rows), limit) // _PARTS)
    starts = np.linspace(0, max(len(rows) - length, 0), number).round().astype(int)
    return [rows.slice(start, length) for start in starts.tolist()]


def thinned(rows: pl.DataFrame, limit: int) -> pl.DataFrame:
    """At most `limit` rows, drawn with a fixed seed, in their original order."""
    if len(rows) <= limit:
        return rows
    places = np.random.default_rng(0).choice(len(rows), limit, replace=False)
    return rows[np.sort(places)]


def versions(rows: pl.DataFrame) -> list[str]:
    """The model versions that answered these calls."""
    return sorted(rows[VERSION].drop_nulls().unique().to_list())
