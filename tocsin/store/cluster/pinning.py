"""Trusting one certificate of a cluster by its fingerprint, where its file is not at hand.

The client has `ssl_assert_fingerprint` for this. It looks for the fingerprint among the certificates that a server
shows and checks no signature, so a forged certificate passes that names a pinned authority as its issuer (tried:
tests/store/test_elastic_security.py). Here the certificate that has the fingerprint becomes the only trust anchor, and
every connection is verified against it as usual, with the server's name.
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
        StoreError: no host can be reached, or none shows such a certificate.
    """
    wanted, why = bytes.fromhex(fingerprint.replace(":", "")), ""
    for host in hosts:
        try:
            shown = _shown(host)
        except OSError as error:
            why = why or f"cannot connect to Elasticsearch at {host}: {error.strerror or error}"
            continue
        for certificate in shown:
            if hmac.compare_digest(hashlib.sha256(certificate).digest(), wanted):
                return _trusting(certificate)
        why = (
            f"no certificate that {host} shows has the fingerprint of store.ca_fingerprint; compare it with"
            " `openssl x509 -noout -fingerprint -sha256 -in http_ca.crt` on the cluster"
        )
    raise StoreError(why)


def _trusting(certificate: bytes) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=certificate)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # also where it is a server's own
    return context


def _shown(host: str) -> list[bytes]:
    """The certificates (DER) that a server shows; nothing is sent to it, and nothing about them is believed yet."""
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
