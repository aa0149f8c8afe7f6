"""Sends documents to a data stream over several connections, and retries single documents without duplicates.

A data stream accepts only `create` requests, so a document that already exists causes a conflict and counts as a
duplicate. If the response to a request is lost, the sender does not know which documents the request created. A simple
retry would count these documents as duplicates. After a rollover, it would even create them again, in the new backing
index. Before such a retry, `send` therefore searches all backing indices for the documents.
"""

from __future__ import annotations

import functools
import itertools
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import msgspec
import polars as pl

from tocsin.clock import Clock
from tocsin.errors import StoreAway
from tocsin.store.cluster.connection import BUSY
from tocsin.store.cluster.documents import bodies
from tocsin.store.cluster.retries import backoff

CONNECTIONS = 4
#: Target size of a bulk request in bytes.
SIZE = 1024 * 1024
_ROWS = 10_000  # rows that are converted to request bodies at once
_ATTEMPTS = 8
_IDS = 5_000  # ids in one search


@dataclass(frozen=True, slots=True)
class Failure:
    """A document that Elasticsearch rejected: its index among the rows, and the reason."""

    place: int
    reason: str


@dataclass(frozen=True, slots=True)
class Sent:
    """The result for some rows: the number created, the number that already existed, and the rejected documents.

    `existing` are the indexes of the rows that already existed.
    """

    created: int
    duplicates: int
    refused: tuple[Failure, ...] = ()
    existing: tuple[int, ...] = field(default=(), compare=False)

    def plus(self, other: Sent) -> Sent:
        """The sum of both results."""
        refused, existing = (*self.refused, *other.refused), (*self.existing, *other.existing)
        return Sent(self.created + other.created, self.duplicates + other.duplicates, refused, existing)


class _Error(msgspec.Struct, gc=False):
    type: str = ""
    reason: str | None = None


class _Result(msgspec.Struct, gc=False):
    status: int
    error: _Error | None = None


class _Item(msgspec.Struct, gc=False):
    create: _Result


class _Answer(msgspec.Struct):
    errors: bool
    items: list[_Item] = []


_DECODER = msgspec.json.Decoder(_Answer)


class OutcomeUnknown(Exception):  # noqa: N818 — a state; `send` handles it and never raises it
    """No response was received: the request may or may not have been executed."""


@dataclass(frozen=True, slots=True)
class Patience:
    """A time limit for retries. If one request exceeds the limit, `given_up` is set, and all requests of the call stop."""

    clock: Clock
    length: timedelta
    given_up: threading.Event = field(default_factory=threading.Event)


Post = Callable[[bytes], bytes]
Find = Callable[[Sequence[str]], Collection[str]]


def send(
    stream: str,
    rows: pl.DataFrame,
    keys: pl.Series,
    post: Post,
    find: Find,
    pause: Callable[[float], None],
    patience: Patience | None = None,
) -> Sent:
    """Create a document for each row.

    Args:
        stream: name of the stream.
        rows: rows with the stream's schema, without duplicate keys.
        keys: the `_id` of each row.
        post: sends the body of a bulk request and returns the body of the response.
        find: returns the `_id`s among its argument that exist in a backing index of the data stream.
        pause: sleeps for a number of seconds.
        patience: time limit for retries, in addition to the limit of eight attempts for each request.

    Raises:
        StoreAway: Elasticsearch did not respond or stayed too busy.
    """
    sender, chunks = _Sender(stream, rows, keys, post, find, pause, patience), _chunks(stream, rows, keys)
    first, second = next(chunks), next(chunks, None)
    if second is None:
        return sender(first)
    with ThreadPoolExecutor(CONNECTIONS) as pool:  # requests are sent while the next bodies are built
        return functools.reduce(Sent.plus, pool.map(sender, itertools.chain((first, second), chunks)))


def _chunks(stream: str, rows: pl.DataFrame, keys: pl.Series) -> Iterator[tuple[int, int, bytes]]:
    """For each request: the index of its first row, its number of rows, and its body."""
    start = 0
    for part in rows.iter_slices(_ROWS):
        for count, body in bodies(stream, part, keys[start : start + len(part)], SIZE):
            yield start, count, body
            start += count


@dataclass(frozen=True, slots=True)
class _Sender:
    stream: str
    rows: pl.DataFrame
    keys: pl.Series
    post: Post
    find: Find
    pause: Callable[[float], None]
    patience: Patience | None

    def __call__(self, chunk: tuple[int, int, bytes]) -> Sent:
        start, count, body = chunk
        left, total, why, unknown = (
            list(range(start, start + count)),
            Sent(0, 0),
            "it does not respond",
            False,
        )
        for attempt, delay in enumerate(self._delays()):
            if attempt:
                self.pause(delay)
            try:
                if not unknown:
                    body = self._body(left) if attempt else body
                    sent, left = _classify(left, self._results(body, len(left)))
                    total, why = total.plus(sent), "it is too busy"
            except OutcomeUnknown as error:
                unknown, why = True, str(error)
            if unknown:  # search before a retry, which would create the documents twice after a rollover
                try:
                    # The documents that exist were created by this request, because no other process sends these rows.
                    existing = self._existing(left)
                    total, unknown = total.plus(Sent(len(existing), 0)), False
                    left = [place for place in left if place not in existing]
                except OutcomeUnknown as error:
                    why = str(error)
            if not left:
                return total
        raise StoreAway(f"Elasticsearch did not accept {len(left)} events of stream {self.stream}: {why}")

    def _delays(self) -> Iterator[float]:
        """The seconds to wait before each attempt, until the attempts or the patience are exhausted."""
        patience = self.patience
        end = patience.clock.monotonic() + patience.length.total_seconds() if patience else None
        for attempt in range(_ATTEMPTS):
            delay = backoff(attempt) if attempt else 0.0
            if patience and end and patience.clock.monotonic() + delay > end:
                patience.given_up.set()
            if patience and patience.given_up.is_set():
                return
            yield delay

    def _body(self, places: Sequence[int]) -> bytes:
        rows, keys = self.rows[list(places)], self.keys[list(places)]
        return b"\n".join(lines for _, lines in bodies(self.stream, rows, keys, SIZE))

    def _results(self, body: bytes, count: int) -> list[_Result]:
        answer = _DECODER.decode(self.post(body))
        if not answer.errors:
            return [_Result(201)] * count
        return [item.create for item in answer.items]

    def _existing(self, places: Sequence[int]) -> set[int]:
        keys = {self.keys[place]: place for place in places}
        return {keys[key] for key in self.find(list(keys))}


def _classify(places: Sequence[int], results: Sequence[_Result]) -> tuple[Sent, list[int]]:
    """The result for the documents at these places, and the places of documents to retry."""
    created, existing, refused, retry = 0, list[int](), list[Failure](), list[int]()
    for place, result in zip(places, results, strict=True):
        if result.status in (200, 201):
            created += 1
        elif result.status == 409:
            existing.append(place)
        elif result.status in BUSY:
            retry.append(place)
        else:
            refused.append(Failure(place, _reason(result)))
    return Sent(created, len(existing), tuple(refused), tuple(existing)), retry


def parts(values: Sequence[str]) -> Iterator[Sequence[str]]:
    """Divide `_id`s into parts that are small enough for one search."""
    for i in range(0, len(values), _IDS):
        yield values[i : i + _IDS]


def _reason(result: _Result) -> str:
    error: Any = result.error or _Error()
    return f"Elasticsearch refused it: {error.reason or error.type or result.status}"
