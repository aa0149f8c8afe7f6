"""The store on Elasticsearch 9: data streams for events, ordinary indices for the keyed state and for files.

Delivery: an append that returned is durable (acknowledged by the primary and its replicas). A document's `_id` is
derived from its event, so a repeated append adds nothing. A checkpoint is written after its rows: after a crash in
between, the source is read again, and the rows count as duplicates. Any number of workers can share a namespace.
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
from tocsin.store import shared_ids
from tocsin.store.cluster import mappings, templates
from tocsin.store.cluster.append import StreamWriter, create
from tocsin.store.cluster.buckets import in_buckets, summarize, tumble
from tocsin.store.cluster.bulk import Patience
from tocsin.store.cluster.checkpoints import Checkpoints
from tocsin.store.cluster.connection import TIMEOUT, connect, store_errors
from tocsin.store.cluster.filters import filters
from tocsin.store.cluster.retries import WHOLE, retry
from tocsin.store.cluster.scan import read_pages
from tocsin.store.cluster.stamps import Stamps, newest_stamp
from tocsin.store.cluster.state import ElasticState
from tocsin.store.protocol import Appended, Entry, check_rows

#: Rows that other processes appended become visible after at most this many seconds.
_REFRESH_INTERVAL = 1.0
#: Attempts of an append to read the newest ingest time: few, because a spool may be waiting for the failure.
_NEWEST_ATTEMPTS = 3
#: Rows are not sent if their ingest time is more than this many seconds old. `overlap` includes this time.
_MAX_STAMP_AGE = 60.0
#: Streams that are refreshed after each append: fitting a baseline must exclude the windows of the newest findings.
_REFRESHED_STREAMS = frozenset({"finding"})


class ElasticStore:
    """Implements `tocsin.store.protocol.Store` on a cluster."""

    #: The maximum age of an ingest time when a request is sent, plus the request's timeout, plus time for a refresh.
    overlap = timedelta(seconds=_MAX_STAMP_AGE + TIMEOUT + 5)

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
        self.put_all = self._state.put_all
        self._checkpoints = Checkpoints(ElasticState(self._writing, namespace))
        self._stamps = Stamps(clock, self.newest)
        self._refreshed: dict[str, float] = {}  # by stream: monotonic time of the last refresh

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
        """Connect to a cluster. With `prepare`, create missing index templates and indices.

        `patience` is for a store with a spool: appends fail after about this time without success, and if the cluster
        is unreachable now, the templates and indices are created at the first use. `connection` are arguments of the
        client: `api_key`, `ca_certs`, `ca_fingerprint`, `basic_auth`.

        Raises:
            StoreAway: the cluster is unreachable (not with `patience`).
            StoreError: the cluster refuses a request, or a template is newer than this Tocsin.
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
        """Create or update index templates and indices. Return the state of each template before.

        Raises:
            StoreError: a template is newer than this Tocsin.
        """
        before = templates.setup(self._writing, self.templates())
        self._checkpoints.state.setup(self._replicas)
        self._is_set_up = True
        return before

    def _ensure_setup(self) -> None:
        """Run `setup` if it failed when the store was opened. Without it, a write would create an unmapped index."""
        if not self._is_set_up:
            self.setup()

    def status(self) -> dict[str, str]:
        """The state of each template: missing, current, older, newer or changed."""
        return templates.status(self._client, self.templates())

    def differences(self) -> dict[str, str]:
        """For each template that is not current: a unified diff from the cluster's template to that of `setup`."""
        return templates.differences(self._client, self.templates())

    # Streams

    def append(
        self, stream: str, frame: pl.DataFrame, checkpoint: Mapping[str, int] | None = None
    ) -> Appended:
        check_rows(stream, frame)
        self._ensure_setup()
        target, done = mappings.name(stream, self.namespace), Appended(0, 0)
        if len(frame):
            patience = None if self._patience is None else Patience(self._clock, self._patience)
            stamp, latest = self._stamps.next(stream), self._clock.monotonic() + _MAX_STAMP_AGE
            now = self._clock.monotonic
            writer = StreamWriter(self._writing, self._raw_writing, target, lambda: now() > latest)
            note = partial(shared_ids.note, self, stream, now=stamp)
            done = create(writer, stream, frame, stamp, patience, note)
            self._refreshed.pop(stream, None)
            if stream in _REFRESHED_STREAMS:
                self._refresh(stream)
        for key, number in (checkpoint or {}).items():
            self._checkpoints.put(stream, key, number)
        return done

    def checkpoint(self, stream: str, key: str) -> int | None:
        self._ensure_setup()
        return self._checkpoints.get(stream, key)

    def checkpoints(self, stream: str) -> Mapping[str, int]:
        self._ensure_setup()
        return self._checkpoints.of(stream)

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
            projection: list[str] | None, predicate: pl.Expr | None, left: int | None, _batch: int | None
        ) -> Iterator[pl.DataFrame]:
            self._refresh(stream)
            for frame in read_pages(self._client, self._raw, target, stream, projection or names, found):
                matching = frame if predicate is None else frame.filter(predicate)
                yield matching if left is None else matching.head(left)
                left = None if left is None else left - len(matching)
                if left is not None and left <= 0:
                    return

        return register_io_source(read, schema=pl.Schema({name: wanted[name] for name in names}))

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
        return summarize(stream, by, measures, filters(start, end, where), partial(self._search, stream))

    def newest(self, stream: str) -> datetime:
        self._refresh(stream, self._writing)
        with store_errors(f"read the newest ingest time of stream {stream}"):
            target = mappings.name(stream, self.namespace)
            return retry(partial(newest_stamp, self._writing, target), _NEWEST_ATTEMPTS)

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

    def _search(self, stream: str, **search: Any) -> dict[str, Any]:
        target = mappings.name(stream, self.namespace)
        with store_errors(f"summarize stream {stream}"), contextlib.suppress(elasticsearch.NotFoundError):
            return dict(retry(partial(self._client.search, index=target, **WHOLE, **search)))
        return {}

    def _refresh(self, stream: str, client: elasticsearch.Elasticsearch | None = None) -> None:
        """Make appended rows visible: this process's rows immediately, those of other processes within a second."""
        now = self._clock.monotonic()
        last = self._refreshed.get(stream)
        if last is not None and now < last + _REFRESH_INTERVAL:
            return
        with store_errors(f"refresh stream {stream}"), contextlib.suppress(elasticsearch.NotFoundError):
            (client or self._client).indices.refresh(index=mappings.name(stream, self.namespace))
        self._refreshed[stream] = now

    def get(self, kind: str, key: str) -> Entry | None:
        self._ensure_setup()
        return self._state.get(kind, key)

    def put(self, kind: str, key: str, value: Mapping[str, Any], expected: int | None = None) -> Entry | None:
        self._ensure_setup()
        return self._state.put(kind, key, value, expected)

    def delete(self, kind: str, key: str, expected: int) -> bool:
        self._ensure_setup()
        return self._state.delete(kind, key, expected)

    def entries(self, kind: str, prefix: str = "") -> list[Entry]:
        self._ensure_setup()
        return self._state.entries(kind, prefix)

    def kinds(self) -> list[str]:
        return self._state.kinds()

    def raise_versions(self, above: int) -> None:
        self._state.raise_versions(above)

    def save_file(self, name: str, write: Callable[[str], None]) -> None:
        self._ensure_setup()
        self._state.save_file(name, write)

    def file_path(self, name: str) -> AbstractContextManager[str]:
        self._ensure_setup()
        return self._state.file_path(name)

    def file_names(self) -> list[str]:
        return self._state.file_names()

    def maintain(self) -> Mapping[str, int]:
        """Do nothing: the cluster merges segments and deletes expired indices (`lifecycle` in the templates)."""
        return {"compacted": 0, "dropped": 0}

    def close(self) -> None:
        self._client.close()
        self._raw.close()
