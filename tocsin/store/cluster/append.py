"""Appends rows to a data stream. Every event is stored once, also if a response is lost or the stream rolls over.

An event from a source is identified by its source, its id and its time. Its `_id` contains only id and time, as in stores
of earlier versions. Only if the document with this `_id` is from another source, the event gets an `_id` with its source.
No source can therefore send the id of another source's next event to have that event dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import elasticsearch
import polars as pl

from tocsin.contract.frames import TIME_TYPE
from tocsin.contract.streams import ID, INGESTED, SOURCE, STREAMS
from tocsin.errors import StoreAway, StoreError
from tocsin.store.cluster.bulk import OutcomeUnknown, Patience, parts, send
from tocsin.store.cluster.connection import RAW, describe, is_away, store_errors
from tocsin.store.cluster.documents import ids, ids_with_source
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

    def find(self, keys: Sequence[str]) -> Mapping[str, str | None]:
        """The documents among `keys` that exist in a backing index of the data stream, each with its source.

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

    def sources(self, keys: Sequence[str]) -> Mapping[str, str | None]:
        """The same for documents that a `create` request found.

        Raises:
            StoreAway: the cluster did not respond.
            StoreError: the cluster refused the search.
        """
        with store_errors(f"search for documents of {self.target}"):
            return self._existing(keys, self.target)

    def before_rollover(self, keys: Sequence[str]) -> Mapping[str, str | None]:
        """The documents among `keys` that exist in an older backing index, each with its source.

        A `create` request detects conflicts only in the current write index, not in older backing indices.

        Raises:
            StoreAway: the cluster did not respond.
            StoreError: the cluster refused the search.
        """
        with store_errors(f"search for documents of {self.target}"):
            try:
                backing = sorted(self.client.indices.get(index=self.target, features=["aliases"]).body)
            except elasticsearch.NotFoundError:
                return {}
            return self._existing(keys, ",".join(backing[:-1])) if len(backing) > 1 else {}

    def _existing(self, keys: Sequence[str], index: str) -> dict[str, str | None]:
        found: dict[str, str | None] = {}
        try:
            self.client.indices.refresh(index=index)
            for part in parts(keys):
                answer = self.client.search(
                    index=index,
                    query={"ids": {"values": list(part)}},
                    size=len(part),
                    source=False,
                    fields=[{"field": SOURCE}],
                    filter_path="hits.hits._id,hits.hits.fields",
                    **WHOLE,
                )
                for hit in answer.get("hits", {}).get("hits", []):
                    found[hit["_id"]] = hit.get("fields", {}).get(SOURCE, [None])[0]
        except elasticsearch.NotFoundError:
            return {}
        return found


def create(
    writer: StreamWriter,
    stream: str,
    frame: pl.DataFrame,
    stamp: datetime,
    patience: Patience | None = None,
    note: Callable[[pl.DataFrame], None] = lambda _: None,
) -> Appended:
    """Append rows with `stamp` as their ingest time. For `patience` see `tocsin.store.cluster.bulk.send`.

    `note` is called with the rows whose id and time another source has used, before they are appended.

    Raises:
        StoreAway: the cluster did not respond or stayed too busy; some of the rows may have been written.
        StoreError: the cluster refused the request.
    """
    identity = ["_id"] if STREAMS[stream].internal else ["_id", SOURCE]
    rows = frame.with_columns(ids(stream, frame), pl.lit(stamp, dtype=TIME_TYPE).alias(INGESTED))
    rows = rows.unique(identity, keep="first", maintain_order=True)
    done, owners = _create(writer, stream, rows.unique("_id", keep="first", maintain_order=True), patience)
    if not STREAMS[stream].internal:
        by = rows["_id"].replace_strict(owners, return_dtype=pl.String)
        shared = rows.filter(rows[SOURCE].ne_missing(by))
        shared = shared.with_columns(ids_with_source(shared))
        known = writer.sources(shared["_id"].to_list()) if len(shared) else {}
        shared = shared.filter(~pl.col("_id").is_in(list(known)))
        note(shared)
        more, _ = _create(writer, stream, shared, patience)
        refused = (*done.refused, *more.refused)
        done = Appended(done.accepted + more.accepted, 0, refused, shared=more.accepted)
    return done._replace(duplicates=len(frame) - done.accepted - len(done.refused))


def _create(
    writer: StreamWriter, stream: str, rows: pl.DataFrame, patience: Patience | None
) -> tuple[Appended, Mapping[str, str | None]]:
    """Create a document for each row, and return the source of the document that has each `_id`."""
    if rows.is_empty():
        return Appended(0, 0), {}
    internal = STREAMS[stream].internal
    own = dict(rows.select("_id", SOURCE).iter_rows())
    older = writer.before_rollover(list(own))
    new = rows.filter(~pl.col("_id").is_in(list(older)))
    if new.is_empty():
        return Appended(0, 0), own | dict(older)

    def find(keys: Sequence[str]) -> set[str]:
        return {key for key, source in writer.find(keys).items() if internal or source == own[key]}

    sent = send(stream, new.drop("_id"), new["_id"], writer.post, find, wait, patience)
    refused = tuple(Refused(new[ID][failure.place], failure.reason) for failure in sent.refused)
    conflicts = [] if internal else new["_id"].gather(list(sent.existing)).to_list()
    found = writer.sources(conflicts) if conflicts else {}
    return Appended(sent.created, 0, refused), own | dict(older) | dict(found)
