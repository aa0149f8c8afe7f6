"""Reading a data stream whole: one point in time, page after page, in bounded memory."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import elasticsearch
import polars as pl

from tocsin.errors import StoreError
from tocsin.store import pages
from tocsin.store.cluster import RAW, told

_KEEP_ALIVE = "5m"


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
    value that is too long for those is read again.

    Raises:
        StoreError: the cluster did not answer, or could not read all of it.
    """
    yield pages.nothing(stream, columns)
    with told(f"read stream {stream}"):
        try:
            pit = client.open_point_in_time(index=target, keep_alive=_KEEP_ALIVE)["id"]
        except elasticsearch.NotFoundError:
            return
        try:
            whole, after = not pages.light(stream, columns), None
            while True:
                page = _page(raw, pit, stream, columns, filters, after, whole=whole)
                if page.incomplete:
                    page = _page(raw, pit, stream, columns, filters, after, whole=True)
                if not len(page.rows):
                    return
                yield page.rows
                after = page.after
        finally:
            with contextlib.suppress(elasticsearch.ApiError, elasticsearch.TransportError):
                client.close_point_in_time(id=pit)


def _page(
    raw: elasticsearch.Elasticsearch,
    pit: str,
    stream: str,
    columns: Sequence[str],
    filters: list[Any],
    after: Any,
    *,
    whole: bool,
) -> pages.Page:
    asked = pages.request(columns, filters, whole=whole)
    if after is not None:
        asked["search_after"] = after
    answer: bytes = raw.search(pit={"id": pit, "keep_alive": _KEEP_ALIVE}, **asked).body[RAW]
    page = pages.page(stream, columns, answer, whole=whole)
    if page.partial:
        raise StoreError(f"Elasticsearch could not read all of stream {stream}; try again")
    return page
