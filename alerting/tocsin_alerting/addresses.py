"""Which addresses a webhook may connect to: a name is resolved once, and that answer is what is used.

A configuration that names a host in good faith must not become a way into the network that Tocsin runs
in (server-side request forgery). Checking a name and letting the HTTP client resolve it again would
leave that way open to a name server that answers differently the second time (DNS rebinding).
"""

from __future__ import annotations

import ipaddress
import socket

from tocsin.errors import DeliveryError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def resolve(host: str, port: int, *, allow_private: bool) -> list[str]:
    """The addresses of a host, in the resolver's order, to be connected to as they are.

    Raises:
        DeliveryError: it has none, or one of them is not public and private ones are not allowed.
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
                    f"{host} is {text}, which is no public address; set allow_private: true if it is meant",
                    retry=False,
                )
    return found


def is_public(address: Address) -> bool:
    """Whether an address is one of the public Internet, also where IPv6 only wraps an IPv4 address."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None and not is_public(inner):
            return False
        if address.ipv4_mapped is not None:
            return True
    return address.is_global and not address.is_multicast
