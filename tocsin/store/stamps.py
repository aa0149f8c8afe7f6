"""Ingest times of a cluster's streams: the present, but never behind what is there."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta

import elasticsearch

from tocsin.clock import EPOCH, Clock
from tocsin.streams import INGESTED

_CURRENT = 10.0  # seconds for which what is known of other workers' stamps is good enough


class Stamps:
    """Gives stamps that are later than every one in the stream, whoever's clock gave it: within 10 s of other
    workers', so that rows stay in the sight of `ElasticStore.overlap` also where clocks disagree or are set back.
    """

    def __init__(self, clock: Clock, newest: Callable[[str], datetime]) -> None:
        self._clock, self._newest = clock, newest
        self._given: dict[str, datetime] = {}
        self._looked: dict[str, float] = {}
        self._mutex = threading.Lock()

    def next(self, stream: str) -> datetime:
        """The next one of a stream."""
        with self._mutex:
            looked = self._looked.get(stream)
            if looked is None or self._clock.monotonic() - looked >= _CURRENT:
                self._given[stream] = max(self._newest(stream), self._given.get(stream, EPOCH))
                self._looked[stream] = self._clock.monotonic()
            stamp = max(self._clock.now(), self._given[stream] + timedelta(microseconds=1))
            self._given[stream] = stamp
        return stamp


def newest_stamp(client: elasticsearch.Elasticsearch, target: str) -> datetime:
    """No earlier than the newest ingest time of a data stream, and less than a millisecond later."""
    newest = {"newest": {"max": {"field": INGESTED}}}
    try:
        found = client.search(index=target, size=0, aggs=newest, track_total_hits=False)
    except elasticsearch.NotFoundError:
        return EPOCH
    value = found.get("aggregations", {}).get("newest", {}).get("value")
    return EPOCH if value is None else EPOCH + timedelta(milliseconds=int(value) + 1)
