"""Talking to an Elasticsearch cluster: connecting, and its errors as the store's own."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import elasticsearch
import msgspec
from elastic_transport import NodeConfig, Serializer, TlsError, Urllib3HttpNode

from tocsin.errors import StoreAway, StoreError
from tocsin.store.cluster.pinning import pinned

#: The key of an answer's bytes.
RAW = "raw"
#: Seconds that one request may take.
TIMEOUT = 60
#: Statuses after which the same may be tried again.
BUSY = frozenset({429, 502, 503, 504})
_CONNECTIONS = 16
_KEY = "check that store.api_key names the `encoded` key as Elasticsearch gave it, and that it is still valid"

for _library in (
    "elastic_transport",
    "urllib3",
):  # they log every retry with its traceback; errors are told here
    logging.getLogger(_library).setLevel(logging.ERROR)


class _Undecoded(Serializer):
    """Leaves answers as bytes, so that JSON in documents is read back as it is, and only once."""

    mimetype: ClassVar[str] = "application/vnd.elasticsearch+json"

    def loads(self, data: bytes) -> Any:
        return {RAW: data}

    def dumps(self, data: Any) -> bytes:
        return data if isinstance(data, bytes) else msgspec.json.encode(data)


class _PinnedNode(Urllib3HttpNode):
    """Trusts what its SSL context trusts; the client would add the public authorities to that."""

    def __init__(self, config: NodeConfig) -> None:
        super().__init__(config)
        self.pool.ca_certs = None  # type: ignore[attr-defined]  # an HTTPS pool has it


def connect(hosts: Sequence[str], *, raw: bool = False, **security: Any) -> elasticsearch.Elasticsearch:
    """A client of a cluster; `security` is `api_key`, `basic_auth`, `ca_certs`, `ca_fingerprint`.

    With `raw` every answer is the mapping `{RAW: bytes}`.

    Raises:
        StoreError: a URL or a certificate is wrong, or no host can be asked for one that is pinned.
    """
    if fingerprint := security.pop("ca_fingerprint", None):
        security |= {"ssl_context": pinned(hosts, fingerprint), "node_class": _PinnedNode}
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
    except (elasticsearch.ApiError, elasticsearch.TransportError) as error:
        raise _kind(error)(f"Elasticsearch cannot {what}: {described(error)}{_advice(error)}") from error


def described(error: elasticsearch.ApiError | elasticsearch.TransportError) -> str:
    """An error of the client in a line: what kind, and why."""
    return f"{_line(error)}{_cause(error)}" if isinstance(error, elasticsearch.ApiError) else error.message


def _body(error: elasticsearch.ApiError) -> Mapping[str, Any]:
    """The answer; empty where it is a page of a proxy between."""
    body: object = error.body
    if isinstance(body, dict) and RAW in body:
        try:
            body = msgspec.json.decode(body[RAW])
        except msgspec.DecodeError:
            return {}
    return body if isinstance(body, dict) else {}


def _line(error: elasticsearch.ApiError) -> str:
    """What kind of error it is; of a proxy's page only the status says anything."""
    body = _body(error)
    kind = body.get("error")
    if isinstance(kind, dict) and kind.get("type"):
        return str(kind["type"])
    if isinstance(kind, str):
        return kind
    return error.message if body else f"the answer was HTTP status {error.status_code}"


def is_away(error: Exception) -> bool:
    """Whether an error of the client says that the cluster cannot be reached now, or is too busy."""
    if isinstance(error, elasticsearch.ApiError):
        return error.status_code in BUSY
    unreachable = isinstance(error, elasticsearch.ConnectionError | elasticsearch.ConnectionTimeout)
    return unreachable and not isinstance(error, TlsError)  # a certificate does not mend itself


def _kind(error: Exception) -> type[StoreError]:
    return StoreAway if is_away(error) else StoreError


def _cause(error: elasticsearch.ApiError) -> str:
    reason: Any = _body(error).get("error") or {}
    return f" ({reason['reason']})" if isinstance(reason, dict) and reason.get("reason") else ""


def _advice(error: Exception) -> str:
    """What to do about an error that does not go away by itself."""
    if isinstance(error, elasticsearch.AuthenticationException):
        return f"; {_KEY}"
    if isinstance(error, elasticsearch.AuthorizationException):
        return "; the key of store.api_key lacks a privilege"
    if isinstance(error, TlsError):
        return "; check store.hosts, and store.ca_certs or store.ca_fingerprint"
    return ""
