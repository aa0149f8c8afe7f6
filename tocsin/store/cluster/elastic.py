"""Elasticsearch 9 as the store: data streams for events, ordinary indices for the keyed state and kept files.

Delivery: an append that returned is durable (acknowledged by the primary and its replicas). A document's `_id`
follows from its event, so that doing an append again adds nothing. A checkpoint is written after its rows: a crash in
between reads them again, and they count as duplicates. Every worker of a cluster may use one namespace at once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Self

import elasticsearch
import polars as pl
from polars.io.plugins import register_io_source

from tocsin.clock import Clock, SystemClock, parse_length
from tocsin.contract.frames import schema
from tocsin.contract.query import Measure, Where
from tocsin.contract.streams import STREAMS
from tocsin.contract.windows import aggregate
from tocsin.errors import StoreAway
from tocsin.store.cluster import mappings, templates
from tocsin.store.cluster.append import Way, create
from tocsin.store.cluster.buckets import in_buckets, summarize, tumble
from tocsin.store.cluster.bulk import Patience
from tocsin.store.cluster.connection import TIMEOUT, connect, store_errors
from tocsin.store.cluster.filters import filters
from tocsin.store.cluster.marks import Marks
from tocsin.store.cluster.retries import WHOLE, patiently
from tocsin.store.cluster.scan import read_pages
from tocsin.store.cluster.stamps import Stamps, newest_stamp
from tocsin.store.cluster.state import ElasticState
from tocsin.store.protocol import Appended, Entry, check_rows

_FRESH = 1.0
_FEW = 3  # times that an append asks for the newest stamp: a spool may stand before it
_OLDEST = 60.0  # seconds after its stamp that a row is still sent: in `overlap`, with the request's own time
#: What baselines are fitted without must be in the sight of every process as soon as it is written.
_SEEN_AT_ONCE = frozenset({"finding"})


class ElasticStore:
    """Implements `tocsin.store.protocol.Store` on a cluster."""

    #: Rows may appear this much behind the newest ingest time: the last request, its time, and a refresh.
    overlap = timedelta(seconds=_OLDEST + TIMEOUT + 5)

    def __init__(
        self,
        client: elasticsearch.Elasticsearch,
        raw: elasticsearch.Elasticsearch,
        namespace: str,
        clock: Clock,
        retention: Mapping[str, timedelta],
        shards: int = 1,
        replicas: int = 1,
        patience: timedelta | None = None,
    ) -> None:
        self.namespace, self._client, self._raw, self._clock = namespace, client, raw, clock
        self._retention = {s.name: parse_length(s.retention) for s in STREAMS.values()} | dict(retention)
        self._shards, self._replicas = shards, replicas
        self._patience, self._is_set_up = patience, True
        timeout = TIMEOUT if patience is None else patience.total_seconds()
        self._writing = client.options(request_timeout=timeout)
        self._raw_writing = raw.options(request_timeout=timeout)
        self._state = ElasticState(client, namespace)
        self._marks = Marks(ElasticState(self._writing, namespace))
        self._stamps = Stamps(clock, self.newest)
        self._refreshed: dict[str, float] = {}  # monotonic

    @property
    def place(self) -> str:
        nodes = self._client.transport.node_pool.all()
        return ", ".join(f"{n.config.scheme}://{n.config.host}:{n.config.port}" for n in nodes)

    @classmethod
    def open(
        cls,
        url: str | Sequence[str],
        namespace: str = "default",
        clock: Clock | None = None,
        retention: Mapping[str, timedelta] | None = None,
        *,
        shards: int = 1,
        replicas: int = 1,
        prepare: bool = True,
        patience: timedelta | None = None,
        **connection: Any,
    ) -> Self:
        """Connect to a cluster and, with `prepare`, set up what is missing of templates and indices.

        With `patience` an append, and each request of it, is given up after about so long without success, and
        a cluster that is away is set up as soon as it is there: for where a spool stands before it.
        `connection` goes to the client: `api_key`, `ca_certs`, `basic_auth`.

        Raises:
            StoreAway: the cluster cannot be reached (not with `patience`).
            StoreError: it refuses, or its templates are newer than this Tocsin.
        """
        hosts = [url] if isinstance(url, str) else url
        client, raw = connect(hosts, **connection), connect(hosts, raw=True, **connection)
        clock = clock or SystemClock()
        store = cls(client, raw, namespace, clock, retention or {}, shards, replicas, patience)
        if prepare:
            try:
                store.setup()
            except StoreAway:
                if patience is None:
                    raise
                store._is_set_up = False
        return store

    def templates(self) -> dict[str, dict[str, Any]]:
        """The index template of each stream, by its name."""
        return {
            f"tocsin.{stream}-{self.namespace}": mappings.template(
                stream, self.namespace, self._retention[stream], self._shards, self._replicas
            )
            for stream in STREAMS
        }

    def setup(self) -> dict[str, str]:
        """Put the templates and make the indices that are not there as they should be.

        Raises:
            StoreError: a template is newer than this Tocsin.
        """
        before = templates.setup(self._writing, self.templates())
        self._marks.state.setup(self._replicas)
        self._is_set_up = True
        return before

    def _ready(self) -> None:
        """Set up what could not be when the store was opened: no index may be made by a write alone."""
        if not self._is_set_up:
            self.setup()

    def status(self) -> dict[str, str]:
        """For each template: missing, current, older, newer or changed."""
        return templates.status(self._client, self.templates())

    def differences(self) -> dict[str, str]:
        """For each template that is not current: a unified diff to what `setup` would put."""
        return templates.differences(self._client, self.templates())

    # Streams

    def append(
        self, stream: str, frame: pl.DataFrame, checkpoint: Mapping[str, int] | None = None
    ) -> Appended:
        check_rows(stream, frame)
        self._ready()
        target, done = mappings.name(stream, self.namespace), Appended(0, 0)
        if len(frame):
            patience = None if self._patience is None else Patience(self._clock, self._patience)
            stamp, given = self._stamps.next(stream), self._clock.monotonic()
            way = Way(
                self._writing, self._raw_writing, target, lambda: self._clock.monotonic() - given > _OLDEST
            )
            done = create(way, stream, frame, stamp, patience)
            self._refreshed.pop(stream, None)
            if stream in _SEEN_AT_ONCE:
                self._refresh(stream)
        for key, number in (checkpoint or {}).items():
            self._marks.put(stream, key, number)
        return done

    def checkpoint(self, stream: str, key: str) -> int | None:
        self._ready()
        return self._marks.get(stream, key)

    def checkpoints(self, stream: str) -> Mapping[str, int]:
        self._ready()
        return self._marks.of(stream)

    def scan(
        self,
        stream: str,
        start: datetime | None = None,
        end: datetime | None = None,
        columns: Sequence[str] | None = None,
        where: Where = (),
    ) -> pl.LazyFrame:
        wanted = schema(stream)
        names = list(columns or wanted)
        found, target = filters(start, end, where), mappings.name(stream, self.namespace)

        def read(
            projection: list[str] | None, predicate: pl.Expr | None, rows: int | None, _batch: int | None
        ) -> Iterator[pl.DataFrame]:
            left = rows
            self._refresh(stream)
            for frame in read_pages(self._client, self._raw, target, stream, projection or names, found):
                kept = frame if predicate is None else frame.filter(predicate)
                yield kept if left is None else kept.head(left)
                if left is not None:
                    left -= len(kept)
                    if left <= 0:
                        return

        shape = pl.Schema({name: wanted[name] for name in names})
        return register_io_source(read, schema=shape)

    def summarize(
        self,
        stream: str,
        start: datetime | None,
        end: datetime | None,
        by: Sequence[str],
        measures: Sequence[Measure],
        where: Where = (),
    ) -> pl.DataFrame:
        if not in_buckets(stream, by, measures):
            return aggregate(self.scan(stream, start, end, where=where), by, measures)
        self._refresh(stream)
        search = partial(self._search, stream)
        return summarize(stream, by, measures, filters(start, end, where), search)

    def newest(self, stream: str) -> datetime:
        self._refresh(stream, self._writing)
        with store_errors(f"look how far stream {stream} is"):
            target = mappings.name(stream, self.namespace)
            return patiently(partial(newest_stamp, self._writing, target), _FEW)

    def windows(
        self,
        stream: str,
        length: timedelta,
        start: datetime | None = None,
        end: datetime | None = None,
        where: Where = (),
        after: Mapping[str, datetime] | None = None,
    ) -> pl.DataFrame:
        self._refresh(stream)
        return tumble(length, after or {}, filters(start, end, where), partial(self._search, stream))

    def _search(self, stream: str, **asked: Any) -> dict[str, Any]:
        target = mappings.name(stream, self.namespace)
        with store_errors(f"summarize stream {stream}"), contextlib.suppress(elasticsearch.NotFoundError):
            return dict(patiently(partial(self._client.search, index=target, **WHOLE, **asked)))
        return {}

    def _refresh(self, stream: str, client: elasticsearch.Elasticsearch | None = None) -> None:
        """Make what was appended visible: at once what this process wrote, within a second what others did."""
        now = self._clock.monotonic()
        last = self._refreshed.get(stream)
        if last is not None and now < last + _FRESH:
            return
        with store_errors(f"refresh stream {stream}"), contextlib.suppress(elasticsearch.NotFoundError):
            (client or self._client).indices.refresh(index=mappings.name(stream, self.namespace))
        self._refreshed[stream] = now

    # Keyed state and files

    def get(self, kind: str, key: str) -> Entry | None:
        self._ready()
        return self._state.get(kind, key)

    def put(self, kind: str, key: str, value: Mapping[str, Any], expected: int | None = None) -> Entry | None:
        self._ready()
        return self._state.put(kind, key, value, expected)

    def delete(self, kind: str, key: str, expected: int) -> bool:
        self._ready()
        return self._state.delete(kind, key, expected)

    def entries(self, kind: str, prefix: str = "") -> list[Entry]:
        self._ready()
        return self._state.entries(kind, prefix)

    def kinds(self) -> list[str]:
        return self._state.kinds()

    def raise_versions(self, above: int) -> None:
        self._state.raise_versions(above)

    def keep(self, name: str, write: Callable[[str], None]) -> None:
        self._ready()
        self._state.keep(name, write)

    def kept(self, name: str) -> AbstractContextManager[str]:
        self._ready()
        return self._state.kept(name)

    def kept_names(self) -> list[str]:
        return self._state.kept_names()

    def maintain(self) -> Mapping[str, int]:
        """Nothing: merging and retention are the cluster's own work (`lifecycle` in the templates)."""
        return {"compacted": 0, "dropped": 0}

    def close(self) -> None:
        self._client.close()
        self._raw.close()
