"""Addresses of clients as servers write them: with a port, in brackets, as a list of a proxy."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from tocsin.contract.addresses import canonical_address

_INTERNAL = tuple(
    map(
        ipaddress.ip_network,
        ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
         "::1/128", "fc00::/7", "fe80::/10"),
    )
)  # fmt: skip


def is_address(text: str) -> bool:
    """Whether a text is an address, also with a port."""
    return len(text) <= 80 and canonical_address(text) is not None


def client_of(forwarded: str) -> tuple[str | None, str | None]:
    """The client of a list in X-Forwarded-For, and the first address of the list, which the client may have invented.

    The client is the last address that is not internal, because each proxy appends the address that it saw; in a list
    of internal addresses it is the first one.
    """
    known: Sequence[str] = [
        found for item in forwarded.split(",") if (found := canonical_address(item.strip()[:80]))
    ]
    if not known:
        return None, None
    outside = [item for item in known if not _internal(item)]
    return (outside[-1] if outside else known[0]), known[0]


def _internal(text: str) -> bool:
    found = ipaddress.ip_address(text)
    return any(found in network for network in _INTERNAL if network.version == found.version)
