"""A cluster that is sometimes too busy for a search: a real cluster behind a proxy that returns the errors."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest

from tests.store.conformance import accesses
from tocsin.contract.query import COUNT
from tocsin.errors import StoreAway, StoreError
from tocsin.store.cluster import retries
from tocsin.store.cluster.elastic import ElasticStore

BUSY = {"type": "circuit_breaking_exception", "reason": "[parent] Data too large", "durability": "TRANSIENT"}
AT_ONCE = 4  # how often the official client itself asks, without a pause
NOT_STARTED = {"type": "search_phase_execution_exception", "reason": "all shards failed"}


class Between(ThreadingHTTPServer):
    """A proxy that returns an error for a number of searches and forwards all other requests."""

    daemon_threads = True

    def __init__(self, url: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.node, self.refusals, self.status, self.error = urlsplit(url).netloc, 0, 429, BUSY
        self.half = False  # one of two shards is silent
        self.url = f"http://127.0.0.1:{self.server_port}"

    def refuse(self, times: int, status: int = 429, error: dict[str, str] = BUSY) -> None:
        self.refusals, self.status, self.error = times, status, error


class _Handler(BaseHTTPRequestHandler):
    server: Between
    protocol_version = "HTTP/1.1"

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        search = "_search" in self.path or "_pit" in self.path
        whole = "allow_partial_search_results=false" in self.path
        if search and self.server.half and not whole:
            self.path += ("&" if "?" in self.path else "?") + "preference=_shards:0"
        if search and (self.server.refusals or (self.server.half and whole)):
            self.server.refusals -= not self.server.half
            error = {"error": self.server.error, "status": self.server.status}
            kind, answer, status = self.headers["Accept"], json.dumps(error).encode(), self.server.status
        else:
            way = http.client.HTTPConnection(self.server.node)
            way.request(self.command, self.path, body, dict(self.headers))
            found = way.getresponse()
            kind, answer, status = found.headers["Content-Type"], found.read(), found.status
            way.close()
        self.send_response(status)
        self.send_header("X-Elastic-Product", "Elasticsearch")
        self.send_header("Content-Type", kind or "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _pass  # noqa: N815 — the names that the server calls

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def between(elasticsearch_url: str) -> Iterator[Between]:
    server = Between(elasticsearch_url)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def store(between: Between, namespace: str) -> Iterator[ElasticStore]:
    opened = ElasticStore.open(between.url, namespace, replicas=0)
    opened.append("access", accesses(30))
    yield opened
    opened.close()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    made: list[float] = []
    monkeypatch.setattr(retries, "wait", made.append)
    return made


@pytest.mark.parametrize(("status", "error"), [(429, BUSY), (503, NOT_STARTED)])
def test_a_read_is_done_again(
    store: ElasticStore, between: Between, waits: list[float], status: int, error: dict[str, str]
) -> None:
    between.refuse(4 * AT_ONCE, status, error)
    assert store.scan("access").collect().height == 30
    between.refuse(3 * AT_ONCE, status, error)
    assert store.summarize("access", None, None, ["user.id"], [COUNT])["count"].sum() == 30
    between.refuse(2 * AT_ONCE, status, error)
    assert store.append("access", accesses(5, "later")).accepted == 5
    assert len(waits) == 4 + 3 + 2


def test_the_error_of_a_cluster_that_stays_busy_is_reported(
    store: ElasticStore, between: Between, waits: list[float]
) -> None:
    between.refuse(100)
    with pytest.raises(StoreAway) as caught:
        store.scan("access").collect()
    assert str(caught.value) == (
        "Elasticsearch cannot read stream access: circuit_breaking_exception ([parent] Data too large)"
    )
    assert len(waits) == 5


def test_what_is_refused_is_not_asked_again(
    store: ElasticStore, between: Between, waits: list[float]
) -> None:
    between.refuse(1, 400, {"type": "illegal_argument_exception", "reason": "no such thing"})
    with pytest.raises(StoreError, match=r"illegal_argument_exception \(no such thing\)"):
        store.scan("access").collect()
    assert waits == []


def test_half_an_answer_is_none(
    between: Between, namespace: str, waits: list[float], elasticsearch_url: str
) -> None:
    """If a shard does not respond, Elasticsearch returns a partial result, unless the request forbids it."""
    there = ElasticStore.open(elasticsearch_url, namespace, replicas=0, shards=2)
    there.append("access", accesses(30))
    there.close()
    store = ElasticStore.open(between.url, namespace, replicas=0, shards=2)
    between.half, between.status, between.error = True, 503, NOT_STARTED
    asked: list[Callable[[], object]] = [
        lambda: store.newest("access"),
        lambda: store.windows("access", timedelta(hours=1)),
        lambda: store.summarize("access", None, None, ["user.id"], [COUNT]),
        lambda: store.summarize("access", None, None, [], [COUNT]),
        lambda: store.append("access", accesses(30)),
    ]
    for ask in asked:
        with pytest.raises(StoreAway, match="all shards failed"):
            ask()
    between.half = False
    assert store.append("access", accesses(30)).duplicates == 30
    store.close()
