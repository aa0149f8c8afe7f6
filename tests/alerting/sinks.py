"""Servers on loopback that misbehave: they drip bytes, say nothing, or refuse what is large."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

_PACE = 0.05  # seconds between two dripped bytes: each is well within a read's timeout


@contextlib.contextmanager
def dripping(first: bytes, then: bytes, *, reads: bool = True) -> Iterator[int]:
    """A server that answers each connection with `first`, then with `then` again and again. Yields its port."""
    over = threading.Event()

    def answer(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            if reads:
                connection.recv(65_536)
            connection.sendall(first)
            while not over.wait(_PACE):
                connection.sendall(then)

    with _serving(answer, over) as port:
        yield port


@contextlib.contextmanager
def silent() -> Iterator[int]:
    """A server that accepts connections and says nothing: no TLS handshake ends. Yields its port."""
    over = threading.Event()

    def answer(connection: socket.socket) -> None:
        with connection:
            over.wait()

    with _serving(answer, over) as port:
        yield port


@contextlib.contextmanager
def _serving(answer: Callable[[socket.socket], None], over: threading.Event) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    threading.Thread(target=answer, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield server.getsockname()[1]
        finally:
            over.set()
            server.shutdown(socket.SHUT_RDWR)
