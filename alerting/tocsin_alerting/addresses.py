"""Checks which addresses a webhook may connect to. A name is resolved once, and the connection uses that answer.

A host name in the configuration must not give an attacker access to the network that Tocsin runs in (server-side
request forgery). If the HTTP client resolved the name again after the check, a name server could answer differently
the second time (DNS rebinding).
"""

from __future__ import annotations

import ipaddress
import socket

from tocsin.errors import DeliveryError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def resolve(host: str, port: int, *, allow_private: bool) -> list[str]:
    """Return the addresses of a host, in the resolver's order. Connect to them without resolving the name again.

    Raises:
        DeliveryError: the host has no address, or one of them is not public and `allow_private` is false.
    """
    try:
        answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise DeliveryError(f"cannot resolve {host}: {error}", retry=True) from error
    found = list(dict.fromkeys(str(answer[4][0]) for answer in answers))
    if not allow_private:
        for text in found:
            if not is_public(ipaddress.ip_address(text)):
                raise DeliveryError(
                    f"{host} resolves to {text}, which is not a public address; set allow_private: true to allow it",
                    retry=False,
                )
    return found


def is_public(address: Address) -> bool:
    """Whether an address is public. An IPv4 address embedded in an IPv6 address must be public as well."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None and not is_public(inner):
            return False
        if address.ipv4_mapped is not None:
            return True
    return address.is_global and not address.is_multicast
