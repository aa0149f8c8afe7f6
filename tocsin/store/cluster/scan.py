"""Reads all matching rows of a data stream page by page, at one point in time and with bounded memory."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import elasticsearch
import msgspec
import polars as pl

from tocsin.errors import StoreError
from tocsin.store.cluster import pages
from tocsin.store.cluster.connection import RAW, store_errors
from tocsin.store.cluster.filters import SCATTERED
from tocsin.store.cluster.mappings import COUNT, SLOTS, VECTOR
from tocsin.store.cluster.retries import retry

_KEEP_ALIVE = "5m"
_SLICES = 2


def read_pages(
    client: elasticsearch.Elasticsearch,
    raw: elasticsearch.Elasticsearch,
    target: str,
    stream: str,
    columns: Sequence[str],
    filters: list[Any],
) -> Iterator[pl.DataFrame]:
    """The rows of a data stream that match the filters; no rows if the data stream does not exist yet.

    If possible, columns are read from doc values, which is faster than reading documents. A page with a value that is
    too long for doc values is read again from the documents. Vectors are read from doc values if the filters select
    documents by their values: such documents are scattered, and Elasticsearch decompresses a block of documents for each
    of them. If there are more than two pages, several slices of the data stream are read in parallel.

    Raises:
        StoreError: the cluster did not respond, or could not read all rows.
    """
    yield pages.empty(stream, columns)
    with store_errors(f"read stream {stream}"):
        try:
            pit = retry(partial(client.open_point_in_time, index=target, keep_alive=_KEEP_ALIVE))
        except elasticsearch.NotFoundError:
            return
        try:
            for part in _parts(_Slice(raw, pit["id"], stream, columns, filters)):
                first = part.page(None)
                if first.total > 2 * pages.PAGE:
                    yield from _in_parallel([replace(part, number=number) for number in range(_SLICES)])
                    continue
                yield first.rows
                if first.total > len(first.rows):
                    yield part.page(first.after).rows
        finally:
            with contextlib.suppress(elasticsearch.ApiError, elasticsearch.TransportError):
                client.close_point_in_time(id=pit["id"])


@dataclass(frozen=True, slots=True)
class _Slice:
    """One slice of the rows at a point in time; all rows if `number` is None."""

    raw: elasticsearch.Elasticsearch
    pit: str
    stream: str
    columns: Sequence[str]
    filters: list[Any]
    number: int | None = None
    width: int = 0  # of the vectors, if they are read from their slots

    def page(self, after: list[Any] | None) -> pages.Page:
        """The page of rows after the sort value `after`; the first page if it is None."""
        found = self._page(
            after, whole=not self.width and not pages.all_in_doc_values(self.stream, self.columns)
        )
        return self._page(after, whole=True) if found.incomplete else found

    def _page(self, after: list[Any] | None, *, whole: bool) -> pages.Page:
        search = pages.request(self.columns, self.filters, whole=whole, width=self.width)
        if after is not None:
            search |= {"search_after": after, "track_total_hits": False}
        if self.number is not None:
            search["slice"] = {"id": self.number, "max": _SLICES}
        search["pit"] = {"id": self.pit, "keep_alive": _KEEP_ALIVE}
        answer: bytes = retry(partial(self.raw.search, **search)).body[RAW]
        page = pages.page(self.stream, self.columns, answer, whole=whole, width=self.width)
        if page.partial:
            raise self.partial()
        return page

    def partial(self) -> StoreError:
        return StoreError(
            f"Elasticsearch could not read all rows of stream {self.stream}: a shard did not respond; try again, "
            "and check the cluster's health if it happens repeatedly"
        )

    def widest(self) -> int:
        """The number of values of the longest vector; 0 if there are none."""
        search: dict[str, Any] = {
            "size": 0,
            "query": {"bool": {"filter": self.filters}},
            "aggs": {"widest": {"max": {"field": COUNT}}},
            "pit": {"id": self.pit, "keep_alive": _KEEP_ALIVE},
        }
        found = msgspec.json.decode(retry(partial(self.raw.search, **search)).body[RAW])
        if found["timed_out"] or found["_shards"]["failed"]:
            raise self.partial()
        return int(found["aggregations"]["widest"]["value"] or 0)


def _parts(whole: _Slice) -> list[_Slice]:
    """The documents with vectors in doc values, and the others: those without a vector, or of another writer."""
    others = [name for name in whole.columns if name != VECTOR]
    if len(others) == len(whole.columns) or not pages.all_in_doc_values(whole.stream, others):
        return [whole]
    if not any(kind in SCATTERED for one in whole.filters for kind in one):
        return [whole]
    width = whole.widest()
    if not 0 < width <= SLOTS:
        return [whole]
    known = {"exists": {"field": COUNT}}
    there = replace(whole, filters=[*whole.filters, known], width=width)
    if known in whole.filters:
        return [there]
    return [there, replace(whole, filters=[*whole.filters, {"bool": {"must_not": known}}])]


def _in_parallel(slices: Sequence[_Slice]) -> Iterator[pl.DataFrame]:
    """The pages of all slices in order of arrival. One page of each slice is requested at a time."""
    pool = ThreadPoolExecutor(len(slices))
    try:
        waiting = {pool.submit(part.page, None): part for part in slices}
        while waiting:
            done, _ = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                part, page = waiting.pop(future), future.result()
                if len(page.rows):
                    waiting[pool.submit(part.page, page.after)] = part
                    yield page.rows
    finally:  # do not wait: an unfinished scan may be garbage-collected on one of the pool's own threads
        pool.shutdown(wait=False, cancel_futures=True)
