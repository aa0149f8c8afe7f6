"""Gives a window access to the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl

from tocsin.contract.query import Condition, Measure, Where
from tocsin.contract.streams import INGESTED, TIME
from tocsin.contract.windows import aggregate
from tocsin.datasets.digest import verified_snapshot
from tocsin.datasets.forms import form_of
from tocsin.errors import SnapshotError
from tocsin.store.protocol import Store

_MOST_PATHS = 100  # paths of one snapshot that are tried


@dataclass(frozen=True, slots=True)
class StoreSource:
    """Binds a `tocsin.contract.windows.Window` to a store.

    `without` are intervals of event time to exclude. They contain findings; a rolling baseline fitted on them would treat
    an attack as normal.
    """

    store: Store
    without: tuple[tuple[datetime, datetime], ...] = ()

    def scan(
        self,
        stream: str,
        start: datetime,
        end: datetime,
        columns: Sequence[str] | None = None,
        where: Where = (),
    ) -> pl.LazyFrame:
        if not self.without:
            return self.store.scan(stream, start, end, columns, where)
        rows = self.store.scan(stream, start, end, None, where)
        for begin, stop in self.without:
            rows = rows.filter((pl.col(TIME) < begin) | (pl.col(TIME) >= stop))
        return rows if columns is None else rows.select(columns)

    def summarize(
        self,
        stream: str,
        start: datetime,
        end: datetime,
        by: Sequence[str],
        measures: Sequence[Measure],
        where: Where = (),
    ) -> pl.DataFrame:
        if not self.without:
            return self.store.summarize(stream, start, end, by, measures, where)
        return aggregate(self.scan(stream, start, end, where=where), by, measures)

    def snapshot(self, digest: str) -> pl.LazyFrame:
        keys = ["tocsin.dataset.path", "tocsin.dataset.form"]
        where = [Condition("tocsin.dataset.digest", "==", digest)]
        found = (
            self.store.scan("dataset", columns=[*keys, "tocsin.source.id", INGESTED], where=where)
            .drop_nulls(keys[0])
            .with_columns(pl.col("tocsin.source.id").str.starts_with("dataset:").fill_null(value=False))
            .sort(
                "tocsin.source.id", INGESTED, descending=True
            )  # paths that the dataset collector found come first
            .unique(keys, keep="first", maintain_order=True)
            .head(_MOST_PATHS)
            .collect()
        )
        if found.is_empty():
            raise SnapshotError(
                f"dataset snapshot {digest} has no recorded path, so its rows cannot be read; "
                "ingest its dataset event with tocsin.dataset.path"
            )
        first: SnapshotError | None = None
        for (
            path,
            form,
            *_,
        ) in found.iter_rows():  # anybody may name a path; the digest shows which one has the rows
            try:
                return verified_snapshot(Path(path), digest, form_of(form))
            except SnapshotError as error:
                first = first or error
        assert first is not None
        raise first
