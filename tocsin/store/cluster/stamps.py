"""Assigns ingest times to rows of a cluster's streams: the current time, but later than all ingest times before."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime, timedelta

import elasticsearch

from tocsin.clock import EPOCH, Clock
from tocsin.contract.streams import INGESTED
from tocsin.store.cluster.retries import WHOLE


class Stamps:
    """Assigns ingest times that are later than every ingest time in the stream, which workers with other clocks may
    have assigned.

    Readers that re-read `ElasticStore.overlap` therefore miss no row if a clock is set back, or if the clocks of
    workers differ by less than the overlap.
    """

    def __init__(self, clock: Clock, newest: Callable[[str], datetime]) -> None:
        self._clock, self._newest = clock, newest
        self._last: dict[str, datetime] = {}  # by stream
        self._mutexes: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)  # by stream

    def next(self, stream: str) -> datetime:
        """The ingest time for the next append to a stream."""
        with self._mutexes[stream]:
            last = max(self._newest(stream), self._last.get(stream, EPOCH))
            stamp = max(self._clock.now(), last + timedelta(microseconds=1))
            self._last[stream] = stamp
        return stamp


def newest_stamp(client: elasticsearch.Elasticsearch, target: str) -> datetime:
    """The newest ingest time of a data stream, rounded up to the next millisecond."""
    newest = {"newest": {"max": {"field": INGESTED}}}
    try:
        found = client.search(index=target, size=0, aggs=newest, track_total_hits=False, **WHOLE)
    except elasticsearch.NotFoundError:
        return EPOCH
    value = found.get("aggregations", {}).get("newest", {}).get("value")
    return EPOCH if value is None else EPOCH + timedelta(milliseconds=int(value) + 1)
