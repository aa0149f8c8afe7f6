"""Addresses of clients as servers write them: with a port, in brackets, as a list of a proxy."""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Sequence

_INTERNAL = tuple(
    map(
        ipaddress.ip_network,
        ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
         "::1/128", "fc00::/7", "fe80::/10"),
    )
)  # fmt: skip


@functools.lru_cache(maxsize=65_536)
def address(text: str) -> str | None:
    """The address in a text, without port, brackets and zone, in its one canonical form; None if there is none.

    An IPv4 address that is written as an IPv6 one (`::ffff:192.0.2.1`) is the IPv4 address.
    """
    host, _, port = text.rpartition(":")
    for candidate in (text, text.strip("[]"), host.strip("[]") if port.isdecimal() else ""):
        try:
            found = ipaddress.ip_address(candidate.partition("%")[0])
        except ValueError:
            continue
        return str(getattr(found, "ipv4_mapped", None) or found)
    return None


def is_address(text: str) -> bool:
    """Whether a text is an address, also with a port."""
    return len(text) <= 80 and address(text) is not None


def client_of(forwarded: str) -> tuple[str | None, str | None]:
    """The client of a list in X-Forwarded-For, and the first address of the list, which the client may have invented.

    The client is the last address that is not internal, because each proxy appends the address that it saw; in a list
    of internal addresses it is the first one.
    """
    known: Sequence[str] = [found for item in forwarded.split(",") if (found := address(item.strip()[:80]))]
    if not known:
        return None, None
    outside = [item for item in known if not _internal(item)]
    return (outside[-1] if outside else known[0]), known[0]


def _internal(text: str) -> bool:
    found = ipaddress.ip_address(text)
    return any(found in network for network in _INTERNAL if network.version == found.version)
