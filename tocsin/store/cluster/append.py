"""Appending rows to a data stream: every event once, also after a lost answer and behind a rollover."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import elasticsearch
import polars as pl

from tocsin.contract.frames import TIME_TYPE
from tocsin.contract.streams import ID, INGESTED
from tocsin.errors import StoreAway, StoreError
from tocsin.store.cluster.bulk import Lost, Patience, parts, send
from tocsin.store.cluster.connection import RAW, described, is_away, told
from tocsin.store.cluster.documents import ids
from tocsin.store.cluster.retries import WHOLE, wait
from tocsin.store.protocol import Appended, Refused


@dataclass(frozen=True, slots=True)
class Way:
    """The way to one data stream."""

    client: elasticsearch.Elasticsearch
    raw: elasticsearch.Elasticsearch
    target: str
    late: Callable[[], bool] = lambda: (
        False
    )  # whether the rows' stamp is so old that readers may have gone past it

    def post(self, body: bytes) -> bytes:
        """Send a bulk body.

        Raises:
            Lost: it may or may not have been carried out.
            StoreAway: its rows were stamped too long ago; they must be appended anew.
            StoreError: it was refused as a whole.
        """
        if self.late():
            raise StoreAway(
                f"an append to {self.target} took too long; it is done again with a new ingest time"
            )
        try:
            answer = self.raw.options(max_retries=0).bulk(
                index=self.target,
                operations=[body],  # type: ignore[list-item]  # lines are passed on as they are
                require_data_stream=True,
                filter_path="errors,items.create.status,items.create.error",
            )
        except (elasticsearch.ApiError, elasticsearch.TransportError) as error:
            if is_away(error):
                raise Lost(described(error)) from None
            raise StoreError(f"Elasticsearch refused a bulk request: {described(error)}") from None
        found: bytes = answer.body[RAW]
        return found

    def find(self, keys: Sequence[str]) -> set[str]:
        """Which documents the data stream holds, in all of its backing indices.

        Raises:
            Lost: the cluster did not answer.
            StoreError: it refused to tell.
        """
        try:
            return self._held(keys, self.target)
        except (elasticsearch.ApiError, elasticsearch.TransportError) as error:
            if is_away(error):
                raise Lost(described(error)) from None
            raise StoreError(
                f"Elasticsearch does not tell what {self.target} holds: {described(error)}"
            ) from None

    def before_rollover(self, keys: Sequence[str]) -> set[str]:
        """Those of the documents that stand in a backing index to which `create` does not look any more.

        Raises:
            StoreAway: the cluster did not answer.
            StoreError: it refused to tell.
        """
        with told(f"look what {self.target} holds"):
            try:
                backing = sorted(self.client.indices.get(index=self.target, features=["aliases"]).body)
            except elasticsearch.NotFoundError:
                return set()
            return self._held(keys, ",".join(backing[:-1])) if len(backing) > 1 else set()

    def _held(self, keys: Sequence[str], index: str) -> set[str]:
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
    way: Way, stream: str, frame: pl.DataFrame, stamp: datetime, patience: Patience | None = None
) -> Appended:
    """Append rows, with `stamp` as their ingest time; `patience` is as `tocsin.store.cluster.bulk.send` says.

    Raises:
        StoreAway: the cluster did not answer, or stayed too busy; some of the rows may be there.
        StoreError: it refused them all.
    """
    keyed = frame.with_columns(ids(stream, frame)).unique("_id", keep="first", maintain_order=True)
    before = way.before_rollover(keyed["_id"].to_list())
    known = len(frame) - len(keyed) + len(before)
    if before:
        keyed = keyed.filter(~pl.col("_id").is_in(list(before)))
    if keyed.is_empty():
        return Appended(0, known)
    rows = keyed.drop("_id").with_columns(pl.lit(stamp, dtype=TIME_TYPE).alias(INGESTED))
    sent = send(stream, rows, keyed["_id"], way.post, way.find, wait, patience)
    refused = tuple(Refused(rows[ID][failure.place], failure.reason) for failure in sent.refused)
    return Appended(sent.created, known + sent.duplicates, refused)
