"""Appends rows to a data stream. Every event is stored once, also if a response is lost or the stream rolls over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import elasticsearch
import polars as pl

from tocsin.contract.frames import TIME_TYPE
from tocsin.contract.streams import ID, INGESTED
from tocsin.errors import StoreAway, StoreError
from tocsin.store.cluster.bulk import OutcomeUnknown, Patience, parts, send
from tocsin.store.cluster.connection import RAW, describe, is_away, store_errors
from tocsin.store.cluster.documents import ids
from tocsin.store.cluster.retries import WHOLE, wait
from tocsin.store.protocol import Appended, Refused


@dataclass(frozen=True, slots=True)
class StreamWriter:
    """Sends requests about one data stream to the cluster.

    `expired` returns whether the ingest time of the rows is so old that readers may already have read past it.
    """

    client: elasticsearch.Elasticsearch
    raw: elasticsearch.Elasticsearch
    target: str
    expired: Callable[[], bool] = lambda: False

    def post(self, body: bytes) -> bytes:
        """Send a bulk request and return the body of the response.

        Raises:
            OutcomeUnknown: there was no response; the request may or may not have been executed.
            StoreAway: the ingest time of the rows is too old; they must be appended again with a new one.
            StoreError: the cluster refused the request.
        """
        if self.expired():
            raise StoreAway(f"an append to {self.target} took too long; it is retried with a new ingest time")
        try:
            answer = self.raw.options(max_retries=0).bulk(
                index=self.target,
                operations=[body],  # type: ignore[list-item]  # the client sends bytes unchanged
                require_data_stream=True,
                filter_path="errors,items.create.status,items.create.error",
            )
        except (elasticsearch.ApiError, elasticsearch.TransportError) as error:
            if is_away(error):
                raise OutcomeUnknown(describe(error)) from None
            raise StoreError(f"Elasticsearch refused a bulk request: {describe(error)}") from None
        found: bytes = answer.body[RAW]
        return found

    def find(self, keys: Sequence[str]) -> set[str]:
        """The documents among `keys` that exist in a backing index of the data stream.

        Raises:
            OutcomeUnknown: the cluster did not respond.
            StoreError: the cluster refused the search.
        """
        try:
            return self._existing(keys, self.target)
        except (elasticsearch.ApiError, elasticsearch.TransportError) as error:
            if is_away(error):
                raise OutcomeUnknown(describe(error)) from None
            raise StoreError(
                f"Elasticsearch cannot search for documents of {self.target}: {describe(error)}"
            ) from None

    def before_rollover(self, keys: Sequence[str]) -> set[str]:
        """The documents among `keys` that exist in an older backing index.

        A `create` request detects conflicts only in the current write index, not in older backing indices.

        Raises:
            StoreAway: the cluster did not respond.
            StoreError: the cluster refused the search.
        """
        with store_errors(f"search for documents of {self.target}"):
            try:
                backing = sorted(self.client.indices.get(index=self.target, features=["aliases"]).body)
            except elasticsearch.NotFoundError:
                return set()
            return self._existing(keys, ",".join(backing[:-1])) if len(backing) > 1 else set()

    def _existing(self, keys: Sequence[str], index: str) -> set[str]:
        found: set[str] = set()
        try:
            self.client.indices.refresh(index=index)
            for part in parts(keys):
                answer = self.client.search(
                    index=index,
                    query={"ids": {"values": list(part)}},
                    size=len(part),
                    source=False,
                    filter_path="hits.hits._id",
                    **WHOLE,
                )
                found |= {hit["_id"] for hit in answer.get("hits", {}).get("hits", [])}
        except elasticsearch.NotFoundError:
            return set()
        return found


def create(
    writer: StreamWriter,
    stream: str,
    frame: pl.DataFrame,
    stamp: datetime,
    patience: Patience | None = None,
) -> Appended:
    """Append rows with `stamp` as their ingest time. For `patience` see `tocsin.store.cluster.bulk.send`.

    Raises:
        StoreAway: the cluster did not respond or stayed too busy; some of the rows may have been written.
        StoreError: the cluster refused the request.
    """
    keyed = frame.with_columns(ids(stream, frame)).unique("_id", keep="first", maintain_order=True)
    older = writer.before_rollover(keyed["_id"].to_list())
    duplicates = len(frame) - len(keyed) + len(older)
    if older:
        keyed = keyed.filter(~pl.col("_id").is_in(list(older)))
    if keyed.is_empty():
        return Appended(0, duplicates)
    rows = keyed.drop("_id").with_columns(pl.lit(stamp, dtype=TIME_TYPE).alias(INGESTED))
    sent = send(stream, rows, keyed["_id"], writer.post, writer.find, wait, patience)
    refused = tuple(Refused(rows[ID][failure.place], failure.reason) for failure in sent.refused)
    return Appended(sent.created, duplicates + sent.duplicates, refused)
