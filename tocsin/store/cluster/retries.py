"""Retries requests to a busy cluster, with exponential backoff."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import elasticsearch

from tocsin.store.cluster.connection import BUSY

#: Search argument: return an error instead of a partial result if a shard does not respond.
WHOLE: Mapping[str, Any] = {"allow_partial_search_results": False}
_LONGEST_WAIT = 20.0
_READS = 6
_Response = TypeVar("_Response")


def backoff(attempt: int) -> float:
    """Seconds to wait before an attempt: doubled each time, half of it random, so that clients do not retry together."""
    seconds: float = min(0.25 * 2**attempt, _LONGEST_WAIT)
    return seconds * random.uniform(0.5, 1.0)  # noqa: S311 — no secret


def wait(seconds: float) -> None:
    """Sleep. Tests replace this function."""
    time.sleep(seconds)


def retry(request: Callable[[], _Response], attempts: int = _READS) -> _Response:
    """Send a read request, and retry it if the cluster is busy. Only for requests that change nothing.

    Busy means that the cluster has too many requests or too little memory at the moment, or that no shard of a new
    index has started yet.

    Raises:
        ApiError: the last attempt failed, or an attempt failed with an error that a retry does not fix.
        TransportError: there was no response.
    """
    for attempt in range(1, attempts):
        try:
            return request()
        except elasticsearch.ApiError as error:
            if error.status_code not in BUSY:
                raise
        wait(backoff(attempt))
    return request()
