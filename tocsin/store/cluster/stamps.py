"""Ingest times of a cluster's streams: the present, but never behind what is there."""

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
    """Gives stamps that are later than every one that is in the stream, whoever's clock gave it: rows stay in the
    sight of `ElasticStore.overlap` where clocks are set back, and where they disagree by no more than that.
    """

    def __init__(self, clock: Clock, newest: Callable[[str], datetime]) -> None:
        self._clock, self._newest = clock, newest
        self._given: dict[str, datetime] = {}
        self._mutexes: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)  # a stream's own

    def next(self, stream: str) -> datetime:
        """The next one of a stream."""
        with self._mutexes[stream]:
            last = max(self._newest(stream), self._given.get(stream, EPOCH))
            stamp = max(self._clock.now(), last + timedelta(microseconds=1))
            self._given[stream] = stamp
        return stamp


def newest_stamp(client: elasticsearch.Elasticsearch, target: str) -> datetime:
    """No earlier than the newest ingest time of a data stream, and less than a millisecond later."""
    newest = {"newest": {"max": {"field": INGESTED}}}
    try:
        found = client.search(index=target, size=0, aggs=newest, track_total_hits=False, **WHOLE)
    except elasticsearch.NotFoundError:
        return EPOCH
    value = found.get("aggregations", {}).get("newest", {}).get("value")
    return EPOCH if value is None else EPOCH + timedelta(milliseconds=int(value) + 1)
