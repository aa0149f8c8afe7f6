"""A worker's HTTP endpoint: /metrics for Prometheus, /healthz and /readyz for the service that runs the worker."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tocsin.errors import StoreError

Answer = tuple[int, str, bytes]


def plain(trouble: str) -> Answer:
    """200 if `trouble` is empty, otherwise 503 with `trouble` as text."""
    return (
        (503, "text/plain; charset=utf-8", f"{trouble}\n".encode())
        if trouble
        else (200, "text/plain", b"ok\n")
    )


class _Server6(ThreadingHTTPServer):
    address_family = socket.AF_INET6


@contextmanager
def endpoint(address: str, routes: Mapping[str, Callable[[], Answer]]) -> Iterator[str]:
    """Serve routes at an address (`127.0.0.1:9464`; port 0 chooses a free port) on separate threads.

    Yields:
        The URL.

    Raises:
        StoreError: the server cannot listen on the address.
    """

    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            route = routes.get(self.path.partition("?")[0])
            status, kind, body = route() if route else (404, "text/plain", b"not found\n")
            with contextlib.suppress(ConnectionError):  # the client closed the connection
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Log nothing: monitoring sends requests often."""

    host, _, port = address.rpartition(":")
    try:
        server = (_Server6 if ":" in host else ThreadingHTTPServer)((host.strip("[]"), int(port)), Handler)
    except (OSError, OverflowError) as error:
        raise StoreError(f"monitoring.listen: cannot listen on {address}: {error}") from None
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://{host}:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
