"""The address at which a worker is watched: /metrics for Prometheus, /healthz and /readyz for whoever keeps it running."""

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
    """200 where there is no trouble, 503 with its words where there is."""
    return (
        (503, "text/plain; charset=utf-8", f"{trouble}\n".encode())
        if trouble
        else (200, "text/plain", b"ok\n")
    )


class _Server6(ThreadingHTTPServer):
    address_family = socket.AF_INET6


@contextmanager
def endpoint(address: str, routes: Mapping[str, Callable[[], Answer]]) -> Iterator[str]:
    """Serve answers at an address (`127.0.0.1:9464`; port 0 chooses one) on threads of its own.

    Yields:
        The URL.

    Raises:
        StoreError: the address cannot be listened on.
    """

    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            route = routes.get(self.path.partition("?")[0])
            status, kind, body = route() if route else (404, "text/plain", b"not here\n")
            with contextlib.suppress(ConnectionError):  # whoever asked did not wait
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Whoever watches asks often: no line for each."""

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
