"""Sending documents to a data stream: several connections, retries by document, nothing doubled.

A data stream only takes `create`, so a document that is there already is a conflict, and that is a duplicate. Which
of a batch's documents are there is asked for where a conflict would not tell: after an answer was lost, and in
backing indices from before a rollover, to which `create` does not look.
"""

from __future__ import annotations

import functools
import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
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
#: Bytes of one bulk request.
SIZE = 1024 * 1024
_ROWS = 10_000  # made into bodies at once
_ATTEMPTS = 8
_IDS = 5_000  # of one search


@dataclass(frozen=True, slots=True)
class Failure:
    """A document that Elasticsearch will not take: its place among the rows, and why."""

    place: int
    reason: str


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of rows: how many were created, how many were there already, and what was refused."""

    created: int
    duplicates: int
    refused: tuple[Failure, ...] = ()

    def plus(self, other: Sent) -> Sent:
        """Both together."""
        refused = (*self.refused, *other.refused)
        return Sent(self.created + other.created, self.duplicates + other.duplicates, refused)


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


class Lost(Exception):  # noqa: N818 — told to the caller by `send`, never raised to a user
    """A request may or may not have been carried out."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a request is tried again in vain before all of a send is given up."""

    clock: Clock
    length: timedelta
    over: threading.Event = field(default_factory=threading.Event)


Post = Callable[[bytes], bytes]
Find = Callable[[Sequence[str]], set[str]]


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
        stream: the stream.
        rows: rows of its schema; equal keys among them must be taken out before.
        keys: their `_id`s.
        post: sends a bulk body and gives the answer.
        find: which of some `_id`s the data stream holds, in all of its backing indices.
        pause: waits for some seconds.
        patience: gives up sooner than after all attempts; where one connection does, the others do.

    Raises:
        StoreAway: Elasticsearch did not answer, or stayed too busy.
    """
    one, chunks = _Sender(stream, rows, keys, post, find, pause, patience), _chunks(stream, rows, keys)
    first, second = next(chunks), next(chunks, None)
    if second is None:
        return one(first)
    with ThreadPoolExecutor(CONNECTIONS) as pool:  # the first are on their way while the rest is made
        return functools.reduce(Sent.plus, pool.map(one, itertools.chain((first, second), chunks)))


def _chunks(stream: str, rows: pl.DataFrame, keys: pl.Series) -> Iterator[tuple[int, int, bytes]]:
    """The place of the first row, the number of rows, and the body of each request."""
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
        left, total, why, unsure = list(range(start, start + count)), Sent(0, 0), "it does not answer", False
        for attempt, delay in enumerate(self._delays()):
            if attempt:
                self.pause(delay)
            try:
                if not unsure:
                    body = self._body(left) if attempt else body
                    sent, left = _sorted_out(left, self._results(body, len(left)))
                    total, why = total.plus(sent), "it is too busy"
            except Lost as error:
                unsure, why = True, str(error)
            if unsure:  # before anything is sent again: behind a rollover it would be created twice
                try:
                    there = self._there(left)  # ours: nobody else sends these rows at the same moment
                    total, unsure = total.plus(Sent(len(there), 0)), False
                    left = [place for place in left if place not in there]
                except Lost as error:
                    why = str(error)
            if not left:
                return total
        raise StoreAway(f"Elasticsearch did not take {len(left)} events of stream {self.stream}: {why}")

    def _delays(self) -> Iterator[float]:
        """Seconds to wait before each attempt that patience allows."""
        patience = self.patience
        end = patience.clock.monotonic() + patience.length.total_seconds() if patience else None
        for attempt in range(_ATTEMPTS):
            delay = backoff(attempt) if attempt else 0.0
            if patience and end and patience.clock.monotonic() + delay > end:
                patience.over.set()
            if patience and patience.over.is_set():
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

    def _there(self, places: Sequence[int]) -> set[int]:
        keys = {self.keys[place]: place for place in places}
        return {keys[key] for key in self.find(list(keys))}


def _sorted_out(places: Sequence[int], results: Sequence[_Result]) -> tuple[Sent, list[int]]:
    """What became of the documents at these places, and those to be sent again."""
    created, duplicates, refused, again = 0, 0, [], []
    for place, result in zip(places, results, strict=True):
        if result.status in (200, 201):
            created += 1
        elif result.status == 409:
            duplicates += 1
        elif result.status in BUSY:
            again.append(place)
        else:
            refused.append(Failure(place, _reason(result)))
    return Sent(created, duplicates, tuple(refused)), again


def parts(values: Sequence[str]) -> Iterator[Sequence[str]]:
    """As many `_id`s as one search may ask for, at a time."""
    for i in range(0, len(values), _IDS):
        yield values[i : i + _IDS]


def _reason(result: _Result) -> str:
    error: Any = result.error or _Error()
    return f"Elasticsearch refused it: {error.reason or error.type or result.status}"
