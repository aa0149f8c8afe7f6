"""Asking a busy cluster again: after how long, and what."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import elasticsearch

from tocsin.store.cluster.connection import BUSY

#: How a search is asked whose answer must be of every shard: where one is silent there is no answer, but an error.
WHOLE: Mapping[str, Any] = {"allow_partial_search_results": False}
_LONGEST_WAIT = 20.0
_READS = 6
_Answer = TypeVar("_Answer")


def backoff(attempt: int) -> float:
    """Seconds to wait before an attempt: doubling, half of it at random, so that clients do not come back at once."""
    wait: float = min(0.25 * 2**attempt, _LONGEST_WAIT)
    return wait * random.uniform(0.5, 1.0)  # noqa: S311 — no secret


def wait(seconds: float) -> None:
    """Let some time pass."""
    time.sleep(seconds)


def patiently(ask: Callable[[], _Answer], attempts: int = _READS) -> _Answer:
    """What a search answers, which may be asked as often as one likes: it changes nothing.

    It is asked again where the cluster is too busy or out of memory for a moment, and where an index was only just
    made and none of its shards has started.

    Raises:
        ApiError: the answer to the last attempt, or one that would not be another the next time.
        TransportError: there was no answer.
    """
    for attempt in range(1, attempts):
        try:
            return ask()
        except elasticsearch.ApiError as error:
            if error.status_code not in BUSY:
                raise
        wait(backoff(attempt))
    return ask()
