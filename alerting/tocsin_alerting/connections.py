"""Connections of receivers with one deadline for a whole delivery.

The timeout of a socket is a limit for one read or write: a server that sends one byte now and then never reaches it. A
`Deadline` covers everything: the name lookup, the connection, the TLS handshake, and every read and write.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from http.client import HTTPException


class Deadline:
    """The end of one delivery, by the monotonic clock."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """The remaining seconds.

        Raises:
            TimeoutError: the time is up.
        """
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError(self.words())
        return left

    def words(self) -> str:
        """Why a delivery failed at the deadline."""
        return f"not done within {self.seconds:g} s"

    @contextlib.contextmanager
    def over(self, connection: socket.socket) -> Iterator[None]:
        """Shut the connection down at the deadline, which ends every read and write on it, also inside TLS.

        Raises:
            TimeoutError: the time was up before the block ended.
        """
        left = self.left()
        # a duplicate stays valid when TLS takes over the socket object
        watched = socket.fromfd(connection.fileno(), connection.family, connection.type)
        over = threading.Event()

        def end() -> None:
            over.set()
            with contextlib.suppress(OSError):  # the other side has closed the connection
                watched.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(left, end)
        timer.daemon = True
        timer.start()
        try:
            yield
        except (OSError, EOFError, HTTPException) as error:
            if over.is_set():
                raise TimeoutError(self.words()) from error
            raise
        finally:
            timer.cancel()
            watched.close()
        if over.is_set():  # what was read may end where the connection was shut down
            raise TimeoutError(self.words())


def connect(
    addresses: Sequence[str], port: int, deadline: Deadline, *, server_hostname: str | None = None
) -> socket.socket:
    """Connect to the first address that answers; with `server_hostname`, over TLS with that name verified.

    Each address gets an equal share of the time that is left, so that one dead address does not use it up.

    Raises:
        OSError: no address answers, or the deadline has passed.
    """
    reason: OSError = OSError("no address")
    for tried, address in enumerate(addresses):
        try:
            opened = socket.create_connection((address, port), deadline.left() / (len(addresses) - tried))
            opened.settimeout(deadline.left())
            return opened if server_hostname is None else _secured(opened, server_hostname, deadline)
        except OSError as error:
            reason = error
    raise reason


def _secured(opened: socket.socket, server_hostname: str, deadline: Deadline) -> socket.socket:
    try:
        with deadline.over(opened):
            return ssl.create_default_context().wrap_socket(opened, server_hostname=server_hostname)
    except BaseException:
        opened.close()
        raise
