"""Reading a data stream whole: one point in time, page after page, in bounded memory."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import elasticsearch
import polars as pl

from tocsin.errors import StoreError
from tocsin.store.cluster import pages
from tocsin.store.cluster.connection import RAW, store_errors
from tocsin.store.cluster.retries import patiently

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
    """The rows of a data stream that pass the filters; none where there is no such data stream yet.

    Columns of one plain value are read from doc values, which is faster than from the documents. A page with a
    value that is too long for those is read again. What fills more than one page is read in slices at once.

    Raises:
        StoreError: the cluster did not answer, or could not read all of it.
    """
    yield pages.nothing(stream, columns)
    with store_errors(f"read stream {stream}"):
        try:
            pit = patiently(partial(client.open_point_in_time, index=target, keep_alive=_KEEP_ALIVE))
        except elasticsearch.NotFoundError:
            return
        try:
            whole = _Slice(raw, pit["id"], stream, columns, filters)
            first = whole.page(None)
            if len(first.rows) < pages.PAGE:
                yield first.rows
                return
            yield from _together([replace(whole, number=number) for number in range(_SLICES)])
        finally:
            with contextlib.suppress(elasticsearch.ApiError, elasticsearch.TransportError):
                client.close_point_in_time(id=pit["id"])


@dataclass(frozen=True, slots=True)
class _Slice:
    """A part of what a point in time holds; without a number all of it."""

    raw: elasticsearch.Elasticsearch
    pit: str
    stream: str
    columns: Sequence[str]
    filters: list[Any]
    number: int | None = None

    def page(self, after: list[Any] | None) -> pages.Page:
        """The page that follows."""
        found = self._page(after, whole=not pages.light(self.stream, self.columns))
        return self._page(after, whole=True) if found.incomplete else found

    def _page(self, after: list[Any] | None, *, whole: bool) -> pages.Page:
        asked = pages.request(self.columns, self.filters, whole=whole)
        if after is not None:
            asked["search_after"] = after
        if self.number is not None:
            asked["slice"] = {"id": self.number, "max": _SLICES}
        asked["pit"] = {"id": self.pit, "keep_alive": _KEEP_ALIVE}
        answer: bytes = patiently(partial(self.raw.search, **asked)).body[RAW]
        page = pages.page(self.stream, self.columns, answer, whole=whole)
        if page.partial:
            raise StoreError(f"Elasticsearch could not read all of stream {self.stream}; try again")
        return page


def _together(slices: Sequence[_Slice]) -> Iterator[pl.DataFrame]:
    """The pages of all slices as they come; of each slice one is on its way."""
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
    finally:  # a scan that is cut short may be dropped on one of these threads, which cannot wait for itself
        pool.shutdown(wait=False, cancel_futures=True)
