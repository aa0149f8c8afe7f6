"""Trusts one certificate of a cluster by its fingerprint, for configurations without the certificate's file.

The client's own option `ssl_assert_fingerprint` is not safe. It only searches the fingerprint among the certificates
that a server presents and verifies no signature, so it accepts a forged certificate that names the pinned authority as
its issuer (see tests/store/test_elastic_security.py). Here the certificate with the fingerprint becomes the only trust
anchor, and every connection is verified against it as usual, including the server's name.
"""

from __future__ import annotations

import hashlib
import hmac
import socket
import ssl
import sys
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from tocsin.errors import StoreError

_TIMEOUT = 10.0  # seconds


def pinned(hosts: Sequence[str], fingerprint: str) -> ssl.SSLContext:
    """A context that trusts the certificate with this SHA-256 fingerprint and no other.

    Raises:
        StoreError: no host can be reached, or no host presents a certificate with this fingerprint.
    """
    wanted, why = bytes.fromhex(fingerprint.replace(":", "")), ""
    for host in hosts:
        try:
            presented = _presented(host)
        except OSError as error:
            why = why or f"cannot connect to Elasticsearch at {host}: {error.strerror or error}"
            continue
        for certificate in presented:
            if hmac.compare_digest(hashlib.sha256(certificate).digest(), wanted):
                return _trusting(certificate)
        why = (
            f"no certificate that {host} presents has the fingerprint of store.ca_fingerprint; compare it with the"
            " output of `openssl x509 -noout -fingerprint -sha256 -in http_ca.crt` on the cluster"
        )
    raise StoreError(why)


def _trusting(certificate: bytes) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=certificate)
    context.verify_flags |= (
        ssl.VERIFY_X509_PARTIAL_CHAIN
    )  # the certificate may be a server's, not an authority's
    return context


def _presented(host: str) -> list[bytes]:
    """The certificates (DER) that a server presents. They are not verified, and no request is sent to the server."""
    parts = urlsplit(host)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    address = (parts.hostname or "", parts.port or 443)
    with (
        socket.create_connection(address, _TIMEOUT) as plain,
        context.wrap_socket(plain, server_hostname=parts.hostname) as secure,
    ):
        if sys.version_info >= (3, 13):
            return list(secure.get_unverified_chain())
        inner: Any = secure._sslobj  # type: ignore[attr-defined]
        return [
            ssl.PEM_cert_to_DER_cert(found.public_bytes()) for found in inner.get_unverified_chain() or ()
        ]
