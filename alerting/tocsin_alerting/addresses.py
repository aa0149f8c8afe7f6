"""Checks which addresses a webhook may connect to. A name is resolved once, and the connection uses that answer.

A host name in the configuration must not give an attacker access to the network that Tocsin runs in (server-side
request forgery). If the HTTP client resolved the name again after the check, a name server could answer differently
the second time (DNS rebinding).

The tables below are Tocsin's own: the answers of Python's `is_global` differ between Python versions. Sources: IANA IPv4
Special-Purpose Address Registry, IANA IPv6 Special-Purpose Address Registry (RFC 6890 and its updates), IANA IPv6 Address
Space.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
from concurrent.futures import Future
from typing import Any

from tocsin.errors import DeliveryError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_PRIVATE_V4 = tuple(
    map(
        ipaddress.IPv4Network,
        (
            "0.0.0.0/8",  # this network
            "10.0.0.0/8",  # private use
            "100.64.0.0/10",  # shared address space
            "127.0.0.0/8",  # loopback
            "168.63.129.16/32",  # Azure's wire server: reachable from within a virtual machine only
            "169.254.0.0/16",  # link local, metadata services of clouds
            "172.16.0.0/12",  # private use
            "192.0.0.0/24",  # IETF protocol assignments, with all their parts
            "192.0.2.0/24",  # documentation
            "192.88.99.0/24",  # 6to4 relays, deprecated
            "192.168.0.0/16",  # private use
            "198.18.0.0/15",  # benchmarking
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, broadcast
        ),
    )
)
#: The only global unicast space that IANA assigns from. All other IPv6 addresses are not public, also future ones.
_GLOBAL_V6 = ipaddress.IPv6Network("2000::/3")
_PRIVATE_V6 = tuple(
    map(
        ipaddress.IPv6Network,
        (
            "2001::/23",  # IETF protocol assignments, with all their parts: Teredo, benchmarking, ORCHID
            "2001:db8::/32",  # documentation
            "3fff::/20",  # documentation
        ),
    )
)
#: Prefixes with an embedded IPv4 address, and how many bits follow that address.
_EMBEDDED = (
    (ipaddress.IPv6Network("::ffff:0:0/96"), 0),  # IPv4-mapped, RFC 4291
    (ipaddress.IPv6Network("64:ff9b::/96"), 0),  # NAT64, RFC 6052
    (ipaddress.IPv6Network("2002::/16"), 80),  # 6to4, RFC 3056
)


def resolve(host: str, port: int, *, allow_private: bool, seconds: float | None = None) -> list[str]:
    """Return the addresses of a host, in the resolver's order. Connect to them without resolving the name again.

    Raises:
        DeliveryError: the host has no address, the answer takes longer than `seconds`, or one of the addresses is not
            public and `allow_private` is false.
    """
    try:
        answers = _look_up(host, port).result(seconds)
    except TimeoutError as error:
        raise DeliveryError(f"cannot resolve {host}: no answer within {seconds:.1f} s", retry=True) from error
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


def _look_up(host: str, port: int) -> Future[list[Any]]:
    """Ask the system's resolver in a thread of its own: the resolver has no time limit that a caller can set."""
    answer: Future[list[Any]] = Future()

    def ask() -> None:
        try:
            answer.set_result(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            answer.set_exception(error)

    threading.Thread(target=ask, name=f"resolve {host}", daemon=True).start()
    return answer


def is_public(address: Address) -> bool:
    """Whether an address is public. An IPv4 address embedded in an IPv6 address must be public as well."""
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _PRIVATE_V4)
    for network, behind in _EMBEDDED:
        if address in network:
            return is_public(ipaddress.IPv4Address(int(address) >> behind & 0xFFFFFFFF))
    return address in _GLOBAL_V6 and not any(address in network for network in _PRIVATE_V6)
