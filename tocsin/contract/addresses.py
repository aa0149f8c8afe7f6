"""One spelling for each IP address."""

from __future__ import annotations

import functools
import ipaddress


@functools.lru_cache(maxsize=65_536)
def canonical_address(text: str) -> str | None:
    """The address in a text, without port, brackets and zone, in its one canonical form; None if there is none.

    An IPv4 address that is written as an IPv6 one (`::ffff:192.0.2.1`, `::ffff:c000:201`) is the IPv4 address.
    """
    plain = text.strip()
    host, _, port = plain.rpartition(":")
    bracketed = host if port.isdecimal() and (host.startswith("[") or ":" not in host) else ""
    for candidate in (plain, plain.strip("[]"), bracketed.strip("[]")):
        try:
            found = ipaddress.ip_address(candidate.partition("%")[0])
        except ValueError:
            continue
        return str(getattr(found, "ipv4_mapped", None) or found)
    return None
