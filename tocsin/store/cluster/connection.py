"""Connects to an Elasticsearch cluster, and converts its errors to `StoreError`."""

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

#: The key of the bytes of a raw response.
RAW = "raw"
#: Timeout of one request, in seconds.
TIMEOUT = 60
#: HTTP statuses after which a request can be retried.
BUSY = frozenset({429, 502, 503, 504})
_CONNECTIONS = 16
_KEY = "check that store.api_key names the `encoded` key as Elasticsearch gave it, and that it is still valid"

# These libraries log every retry with a traceback. Tocsin reports the final error itself.
for _library in ("elastic_transport", "urllib3"):
    logging.getLogger(_library).setLevel(logging.ERROR)


class _Undecoded(Serializer):
    """Returns responses as bytes, so that JSON text in documents is not changed and is decoded only once."""

    mimetype: ClassVar[str] = "application/vnd.elasticsearch+json"

    def loads(self, data: bytes) -> Any:
        return {RAW: data}

    def dumps(self, data: Any) -> bytes:
        return data if isinstance(data, bytes) else msgspec.json.encode(data)


class _PinnedNode(Urllib3HttpNode):
    """A node that trusts only its SSL context. The client by default also trusts the public certificate authorities."""

    def __init__(self, config: NodeConfig) -> None:
        super().__init__(config)
        self.pool.ca_certs = None  # type: ignore[attr-defined]  # only HTTPS pools have this attribute


def connect(hosts: Sequence[str], *, raw: bool = False, **security: Any) -> elasticsearch.Elasticsearch:
    """A client for a cluster. `security` can be `api_key`, `basic_auth`, `ca_certs` and `ca_fingerprint`.

    With `raw`, every response is the mapping `{RAW: bytes}`.

    Raises:
        StoreError: a URL or certificate is invalid, or no host presents the certificate of `ca_fingerprint`.
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
        raise StoreError(
            f"cannot connect to Elasticsearch at {', '.join(hosts)}: {error}; check store.hosts and the certificates"
        ) from None


@contextmanager
def store_errors(what: str) -> Iterator[None]:
    """Convert errors of the Elasticsearch client to `StoreError`: "Elasticsearch cannot <what>: <reason>".

    Raises:
        StoreAway: the cluster does not respond or is too busy.
        StoreError: the cluster refused the request, or its certificate is not trusted.
    """
    try:
        yield
    except (elasticsearch.ApiError, elasticsearch.TransportError) as error:
        raise _kind(error)(f"Elasticsearch cannot {what}: {describe(error)}{_advice(error)}") from error


def describe(error: elasticsearch.ApiError | elasticsearch.TransportError) -> str:
    """The type and reason of a client error, in one line."""
    return f"{_line(error)}{_cause(error)}" if isinstance(error, elasticsearch.ApiError) else error.message


def _body(error: elasticsearch.ApiError) -> Mapping[str, Any]:
    """The JSON body of an error response; empty if it is not JSON, such as the error page of a proxy."""
    body: object = error.body
    if isinstance(body, dict) and RAW in body:
        try:
            body = msgspec.json.decode(body[RAW])
        except msgspec.DecodeError:
            return {}
    return body if isinstance(body, dict) else {}


def _line(error: elasticsearch.ApiError) -> str:
    """The type of an error; the HTTP status if the response is not JSON, such as the error page of a proxy."""
    body = _body(error)
    kind = body.get("error")
    if isinstance(kind, dict) and kind.get("type"):
        return str(kind["type"])
    if isinstance(kind, str):
        return kind
    return error.message if body else f"the response was HTTP status {error.status_code}"


def is_away(error: Exception) -> bool:
    """Whether a client error means that the cluster is unreachable or too busy, so that a retry can succeed."""
    if isinstance(error, elasticsearch.ApiError):
        return error.status_code in BUSY
    unreachable = isinstance(error, elasticsearch.ConnectionError | elasticsearch.ConnectionTimeout)
    return unreachable and not isinstance(error, TlsError)  # a retry does not fix a certificate


def _kind(error: Exception) -> type[StoreError]:
    return StoreAway if is_away(error) else StoreError


def _cause(error: elasticsearch.ApiError) -> str:
    reason: Any = _body(error).get("error") or {}
    return f" ({reason['reason']})" if isinstance(reason, dict) and reason.get("reason") else ""


def _advice(error: Exception) -> str:
    """What the user can do about an error that a retry does not fix."""
    if isinstance(error, elasticsearch.AuthenticationException):
        return f"; {_KEY}"
    if isinstance(error, elasticsearch.AuthorizationException):
        return "; grant the missing privilege to the key of store.api_key"
    if isinstance(error, TlsError):
        return "; check store.hosts, and store.ca_certs or store.ca_fingerprint"
    return ""
