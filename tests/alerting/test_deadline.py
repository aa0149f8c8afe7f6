"""One deadline covers a whole delivery, whatever the other side does; and which addresses are public."""

from __future__ import annotations

import ipaddress
import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.alerting.sinks import dripping, silent
from tests.alerting.test_receivers import Endpoint, Handler, alert, build, hook, notification, serve
from tocsin.contract.alerts import Notification
from tocsin.contract.findings import Severity
from tocsin.contract.plugin import Receiver
from tocsin.errors import DeliveryError
from tocsin_alerting.addresses import is_public
from tocsin_alerting.receivers.email import Email
from tocsin_alerting.receivers.webhook import Webhook

_OK = b"HTTP/1.1 200 OK\r\n"
_LATE = 8.0  # far more than the timeout of one second, for a busy machine


def webhook(port: int, scheme: str = "http", host: str = "127.0.0.1") -> Receiver[Any]:
    return build(Webhook, url=f"{scheme}://{host}:{port}/", allow_private=True, timeout=1.0)


def email(port: int, security: str = "none") -> Receiver[Any]:
    values = {"sender": "a@example.org", "to": ["b@example.org"], "timeout": 1.0, "security": security}
    return build(Email, host="127.0.0.1", port=port, **values)


def fails_in_time(receiver: Receiver[Any]) -> str:
    began = time.monotonic()
    with pytest.raises(DeliveryError) as error:
        receiver.send(notification())
    assert time.monotonic() - began < _LATE
    assert error.value.retry
    return error.value.reason


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (b"H", b"T"),
        (b"HTTP/1.1 20", b"0"),
        (_OK + b"X: ", b"a"),
        (_OK, b"X: a\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=["status", "status line", "header", "headers", "continue"],
)
def test_a_webhook_that_drips(first: bytes, then: bytes) -> None:
    with dripping(first, then) as port:
        fails_in_time(webhook(port))


@pytest.mark.parametrize(
    ("first", "then"),
    [(b"220-x\r\n", b"220-hello\r\n"), (b"2", b"2"), (b"220 x\r\n", b"250-a\r\n"), (b"220 x\r\n", b"2")],
    ids=["banner", "byte", "ehlo", "answer"],
)
def test_a_mail_server_that_drips(first: bytes, then: bytes) -> None:
    with dripping(first, then, reads=False) as port:
        fails_in_time(email(port))


def test_a_tls_handshake_that_does_not_end() -> None:
    with silent() as port:
        fails_in_time(webhook(port, "https"))
        fails_in_time(email(port, "ssl"))
    record = b"\x16\x03\x03\x40\x00"  # a handshake record of 16 KiB, whose content drips
    with dripping(record, b"\x02") as port:
        fails_in_time(webhook(port, "https"))


def test_a_starttls_handshake_that_does_not_end() -> None:
    first = b"220 x\r\n250-x\r\n250 STARTTLS\r\n220 go\r\n\x16\x03\x03\x40\x00"
    with dripping(first, b"\x02", reads=False) as port:
        fails_in_time(email(port, "starttls"))


def test_a_name_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: over.wait(30) and [])
    assert "cannot resolve slow.example.org: no answer within" in fails_in_time(
        webhook(80, host="slow.example.org")
    )
    over.set()


def test_the_first_address_does_not_use_up_the_time(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, 0)) for host in ("192.0.2.1", "127.0.0.1")]
    connect, look_up = socket.create_connection, socket.getaddrinfo
    waits: list[float] = []

    def dead_first(address: tuple[str, int], timeout: float) -> socket.socket:
        waits.append(timeout)
        if address[0] == "192.0.2.1":
            raise TimeoutError
        return connect(address, timeout)

    def two(host: str, *args: Any, **kwargs: Any) -> list[Any]:
        return answers if host == "two.example.org" else look_up(host, *args, **kwargs)

    monkeypatch.setattr("socket.getaddrinfo", two)
    monkeypatch.setattr("socket.create_connection", dead_first)
    webhook(endpoint.server_port, host="two.example.org").send(notification())
    assert len(endpoint.requests) == 1
    assert waits[0] <= 0.5


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    yield from serve(Endpoint())


@pytest.mark.parametrize("status", [408, 425])
def test_a_request_that_timed_out_is_tried_again(endpoint: Endpoint, status: int) -> None:
    endpoint.answer = (status, {})
    with pytest.raises(DeliveryError, match=f"answered {status}") as error:
        hook(endpoint).send(notification())
    assert error.value.retry


class Small(Endpoint):
    """Refuses a body with more than `most` alerts, or with evidence if `most` is 0."""

    most = 1

    def __init__(self) -> None:
        super().__init__()
        self.RequestHandlerClass = _Small


class _Small(Handler):
    server: Small

    def do_POST(self) -> None:  # noqa: N802
        body = self.rfile.read(int(self.headers["Content-Length"]))
        alerts = json.loads(body)["alerts"]
        large = len(alerts) > max(self.server.most, 1)
        large = large or (self.server.most == 0 and any(a["tocsin"]["evidence"] for a in alerts))
        if not large:
            self.server.requests.append((self.path, dict(self.headers), body))
        self.send_response(413 if large else 200)
        self.end_headers()


@pytest.fixture(scope="module")
def small() -> Iterator[Small]:
    yield from serve(Small())  # type: ignore[misc]


def many(count: int) -> Notification:
    severities = sorted(Severity, key=lambda s: -s.rank)
    alerts = [
        alert(id=f"{i:04}", fingerprint=f"{i:04}", severity=severities[i * 5 // count]) for i in range(count)
    ]
    return notification(*alerts)


@settings(max_examples=25, deadline=None)
@given(count=st.integers(1, 40), most=st.integers(0, 12), limit=st.integers(0, 30))
def test_what_is_too_large_is_halved_and_nothing_is_lost(
    small: Small, count: int, most: int, limit: int
) -> None:
    """Each alert arrives in exactly one part, or is counted; the worst come first; the parts have ids of their own."""
    for _ in range(2):  # a retry sends the same parts under the same ids
        small.requests.clear()
        small.most = most
        url = f"http://127.0.0.1:{small.server_port}/"
        build(Webhook, url=url, allow_private=True, max_alerts=limit, timeout=60).send(many(count))
        bodies = [json.loads(body) for _, _, body in small.requests]
        ids = [a["fingerprint"] for body in bodies for a in body["alerts"]]
        assert ids == [f"{i:04}" for i in range(min(count, limit or count))]
        assert sum(body["truncatedAlerts"] for body in bodies) == count - len(ids)
        keys = [body["tocsin"]["key"] for body in bodies]
        assert len(set(keys)) == len(keys)
        assert all(key == "5f2b7e" or key.startswith("5f2b7e-") for key in keys)


def test_one_alert_that_is_too_large_even_without_evidence(endpoint: Endpoint) -> None:
    endpoint.answer = (413, {})
    with pytest.raises(DeliveryError, match="answered 413") as error:
        hook(endpoint).send(notification())
    assert not error.value.retry
    assert len(endpoint.requests) == 2  # with the evidence, and without


# addresses


def table(text: str) -> list[str]:
    return text.split()


_PRIVATE = table(
    "0.0.0.0 0.1.2.3 10.0.0.1 100.64.0.1 100.127.255.255 127.0.0.1 127.255.255.255 168.63.129.16 "
    "169.254.169.254 172.16.0.1 172.31.255.255 192.0.0.0 192.0.0.8 192.0.0.9 192.0.0.170 192.0.0.255 "
    "192.0.2.1 192.88.99.1 192.168.0.1 198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1 224.0.0.1 "
    "239.255.255.255 240.0.0.1 255.255.255.255 "
)
_PUBLIC = table(
    "1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0 "
    "172.15.255.255 172.32.0.0 191.255.255.255 192.0.1.0 192.0.3.0 192.167.255.255 192.169.0.0 "
    "198.17.255.255 198.20.0.0 223.255.255.255 "
)


_PRIVATE_V6 = table(
    "::1 ::2 100::1 100:0:0:1::1 1fff::1 2001::1 2001:0:808:808:: 2001:2::1 2001:10::1 2001:20::1 "
    "2001:1ff::1 2001:db8::1 3fff::1 3fff:fff::1 4000::1 5f00::1 64:ff9b:1::1 64:ff9b:0:1::1 fc00::1 "
    "fe80::1 fe80::1%1 fec0::1 ff02::1 "
)


def embedded(text: str) -> list[str]:
    """The forms of IPv6 that hold an IPv4 address and lead to it."""
    high, low = divmod(int(ipaddress.IPv4Address(text)), 1 << 16)
    return [f"::ffff:{text}", f"64:ff9b::{text}", f"2002:{high:x}:{low:x}::1"]


@pytest.mark.parametrize("text", _PRIVATE)
def test_addresses_that_are_not_public(text: str) -> None:
    for form in (text, *embedded(text)):
        assert not is_public(ipaddress.ip_address(form)), form


@pytest.mark.parametrize("text", _PUBLIC)
def test_addresses_that_are_public(text: str) -> None:
    for form in (text, *embedded(text)):
        assert is_public(ipaddress.ip_address(form)), form
    for form in (f"::{text}", f"::ffff:0:{text}", f"64:ff9b:1::{text}"):
        assert not is_public(ipaddress.ip_address(form)), form


@pytest.mark.parametrize("text", _PRIVATE_V6)
def test_ipv6_addresses_that_are_not_public(text: str) -> None:
    assert not is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", ["2001:200::1", "2606:4700::1111", "2a00:1450:4001:80b::200e", "3ffe::1"])
def test_ipv6_addresses_that_are_public(text: str) -> None:
    assert is_public(ipaddress.ip_address(text))


@given(st.ip_addresses())
def test_what_python_calls_private_is_never_public(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    """Tocsin's table is at least as strict as Python's, for the address and for every form that leads to it."""
    known = {
        "64:ff9b::/96",
        "::ffff:0:0/96",
    }  # public if the embedded address is, which Python decides by version
    if any(address in ipaddress.ip_network(n) for n in known if address.version == 6):
        return
    if not address.is_global or address.is_multicast:
        assert not is_public(address)
        if address.version == 4:
            assert not any(is_public(ipaddress.ip_address(form)) for form in embedded(str(address)))


@pytest.mark.parametrize("interim", [b"100 Continue", b"102 Processing", b"103 Early Hints\r\nLink: </x>"])
def test_interim_responses_are_not_the_answer(interim: bytes) -> None:
    first = b"HTTP/1.1 " + interim + b"\r\n\r\n"
    with dripping(first * 2 + _OK + b"Content-Length: 0\r\n\r\n", b"") as port:
        webhook(port).send(notification())
    with dripping(first, first) as port:
        fails_in_time(webhook(port))
