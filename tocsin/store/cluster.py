"""Talking to an Elasticsearch cluster: connecting, and its errors as the store's own."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import elasticsearch
import msgspec
from elastic_transport import Serializer

from tocsin.errors import StoreAway, StoreError

#: The key of an answer's bytes.
RAW = "raw"
#: Seconds that one request may take.
TIMEOUT = 60
#: Statuses after which the same may be tried again.
BUSY = frozenset({429, 502, 503, 504})
_CONNECTIONS = 16


class _Undecoded(Serializer):
    """Leaves answers as bytes, so that JSON in documents is read back as it is, and only once."""

    mimetype: ClassVar[str] = "application/vnd.elasticsearch+json"

    def loads(self, data: bytes) -> Any:
        return {RAW: data}

    def dumps(self, data: Any) -> bytes:
        return data if isinstance(data, bytes) else msgspec.json.encode(data)


def connect(hosts: Sequence[str], *, raw: bool = False, **security: Any) -> elasticsearch.Elasticsearch:
    """A client of a cluster; `security` is `api_key`, `basic_auth`, `ca_certs`, `ssl_assert_fingerprint`.

    With `raw` every answer is the mapping `{RAW: bytes}`.

    Raises:
        StoreError: a URL or a certificate is wrong.
    """
    # Each failed attempt would be logged with its traceback; what matters of it stands in our own errors.
    logging.getLogger("elastic_transport").setLevel(logging.ERROR)
    if raw:
        security["serializers"] = {_Undecoded.mimetype: _Undecoded()}
    try:
        return elasticsearch.Elasticsearch(
            list(hosts),
            request_timeout=TIMEOUT,
            connections_per_node=_CONNECTIONS,
            **security,
        )
    except (ValueError, TypeError, OSError) as error:
        raise StoreError(f"cannot connect to Elasticsearch at {', '.join(hosts)}: {error}") from None


@contextmanager
def told(what: str) -> Iterator[None]:
    """An error of the cluster or of the way to it as a `StoreError` that says what could not be done.

    Raises:
        StoreAway: the cluster does not answer, or is too busy.
        StoreError: it refuses, or cannot be trusted.
    """
    try:
        yield
    except elasticsearch.ApiError as error:
        raise _kind(error)(f"Elasticsearch cannot {what}: {error.message}{_cause(error)}") from error
    except elasticsearch.TransportError as error:
        raise _kind(error)(f"Elasticsearch cannot {what}: {error.message}") from error


def is_away(error: Exception) -> bool:
    """Whether an error of the client says that the cluster cannot be reached now, or is too busy."""
    if isinstance(error, elasticsearch.ApiError):
        return error.status_code in BUSY
    unreachable = isinstance(error, elasticsearch.ConnectionError | elasticsearch.ConnectionTimeout)
    return unreachable and not isinstance(error, elasticsearch.SSLError)  # a certificate does not mend itself


def _kind(error: Exception) -> type[StoreError]:
    return StoreAway if is_away(error) else StoreError


def _cause(error: elasticsearch.ApiError) -> str:
    body = error.body if isinstance(error.body, dict) else {}
    reason: Any = body.get("error") or {}
    return f" ({reason['reason']})" if isinstance(reason, dict) and reason.get("reason") else ""
