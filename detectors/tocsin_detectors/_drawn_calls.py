"""At most so many calls of each model, drawn at random: what the drift detectors judge.

Early evaluations of one window share a sample, so that each reads only the calls that arrived since the one before.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from tocsin.contract.query import COUNT, Condition
from tocsin.contract.streams import ID, INGESTED, TIME
from tocsin.contract.windows import Window
from tocsin_detectors import _model_rows as model_rows
from tocsin_detectors._model_rows import MODEL, PLACE, STREAM, VERSION, thinned
from tocsin_detectors._spelling import changed, pooled

_NAMED = Condition(MODEL, "not_null")
#: Early evaluations keep a sample of at most so many bytes. A larger one is drawn again by each of them.
_MOST = 100_000_000
_NUMBER = "number"


class Drawn(NamedTuple):
    """Calls of one model: how many the window has, the versions that answered them, and those drawn, in any order."""

    number: int
    versions: list[str]
    rows: pl.DataFrame


def drawn(window: Window, columns: Sequence[str], limit: int) -> dict[str, Drawn]:
    """At most `limit` calls of each model, those that `thinned` keeps of `by_model`, and the facts of all its calls."""
    found = {}
    rows = window.scan(STREAM, _columns(columns), (_NAMED,)).collect()
    light = rows.select(TIME, ID, MODEL, VERSION).with_row_index(PLACE).sort(TIME, ID, maintain_order=True)
    for model, calls in model_rows.parts_of(light, window).items():
        kept = thinned(calls, limit)[PLACE]
        found[model] = Drawn(len(calls), model_rows.versions(calls), rows[kept])
    return found


class _Sample(NamedTuple):
    """Of each spelling of a model, the calls with the smallest random numbers, and how many calls each version answered.

    The calls with the smallest numbers are a simple random sample, to which calls can be added (Vitter 1985).
    """

    rows: pl.DataFrame
    counts: pl.DataFrame
    until: datetime | None  # the newest ingest time; None: unknown, because a call has none
    random: np.random.Generator

    def with_calls(self, new: pl.DataFrame, limit: int) -> _Sample:
        numbers = pl.Series(_NUMBER, self.random.random(len(new)))
        counts = pl.concat([self.counts, new.group_by(MODEL, VERSION).len()])
        newest: Any = new[INGESTED].max()
        until = None if new[INGESTED].null_count() else newest or self.until
        rows = pl.concat([self.rows, new.with_columns(numbers)])
        if len(rows) > limit:
            rows = rows.filter(pl.col(_NUMBER).rank("ordinal").over(MODEL) <= limit)
        return _Sample(rows, counts.group_by(MODEL, VERSION).agg(pl.col("len").sum()), until, self.random)


class Draws:
    """The calls of each model that the evaluations of a detector draw."""

    def __init__(self) -> None:
        self._key: Any = None
        self._sample: _Sample | None = None

    def of(
        self, window: Window, columns: Sequence[str], limit: int, early: Sequence[str] = ()
    ) -> dict[str, Drawn]:
        """At most `limit` calls of each model with some columns; in early evaluations, with the columns `early`, too."""
        if window.changed is None:
            return drawn(window, columns, limit)
        key, names = (window.start, window.end), [*_columns([*columns, *early]), INGESTED]
        sample = self._grown(window, names, limit) if key == self._key else None
        sample = sample or _read(window, names, limit)
        small = sample.rows.estimated_size() <= _MOST
        self._key, self._sample = key, sample if small and sample.until else None
        return _by_model(sample, window, limit)

    def _grown(self, window: Window, names: Sequence[str], limit: int) -> _Sample | None:
        """The sample with the calls since. None if the window has others, too: some that became visible later."""
        if self._sample is None or self._sample.until is None:
            return None
        upto = Condition(INGESTED, "<=", self._sample.until)
        there = window.summary(STREAM, [], [COUNT], [_NAMED, upto])[COUNT.name].sum()
        if there != self._sample.counts["len"].sum():
            return None
        since = Condition(INGESTED, ">", self._sample.until)
        new = window.scan(STREAM, names, [_NAMED, since]).select(names).collect()
        return self._sample.with_calls(new, limit) if len(new) else self._sample


def _read(window: Window, names: Sequence[str], limit: int) -> _Sample:
    rows = window.scan(STREAM, names, [_NAMED]).select(names).collect()
    none = rows.clear()
    counts = none.group_by(MODEL, VERSION).len()
    empty = none.with_columns(pl.Series(_NUMBER, [], pl.Float64))
    return _Sample(empty, counts, None, np.random.default_rng(0)).with_calls(rows, limit)


def _by_model(sample: _Sample, window: Window, limit: int) -> dict[str, Drawn]:
    """The models to judge, sorted by name: the commonest spelling."""
    pool = pooled(sample.counts[MODEL]).alias("pool")
    counts = sample.counts.with_columns(pool).filter(changed(sample.counts[MODEL], window))
    of = sample.rows.with_columns(pooled(sample.rows[MODEL]).alias("pool"))
    of = of.filter(pl.col("pool").is_in(counts["pool"].unique().implode()))
    found, parts = {}, of.partition_by("pool", as_dict=True, include_key=False)
    for key, part in counts.partition_by("pool", as_dict=True).items():
        rows = parts[key]
        names = part.group_by(MODEL).agg(pl.col("len").sum()).sort("len", MODEL, descending=[True, False])
        rows = rows.bottom_k(limit, by=_NUMBER) if len(rows) > limit else rows
        versions = sorted(part[VERSION].drop_nulls().unique().to_list())
        found[str(names[MODEL][0])] = Drawn(int(part["len"].sum()), versions, rows.drop(_NUMBER))
    return dict(sorted(found.items()))


def _columns(columns: Sequence[str]) -> list[str]:
    return list(dict.fromkeys((TIME, ID, MODEL, VERSION, *columns)))
