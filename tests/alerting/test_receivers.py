"""Receivers against the real thing: an SMTP server and an HTTP server on loopback."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from standardwebhooks import Webhook as Verifier

from tests.alerting.conftest import Scene
from tests.conftest import missing
from tocsin.clock import SystemClock
from tocsin.config import discovery, params
from tocsin.contract.alerts import Acknowledgement, Alert, AlertState, Notification
from tocsin.contract.findings import Severity, Subject
from tocsin.contract.plugin import NoParams, Receiver
from tocsin.errors import ConfigError, DeliveryError
from tocsin_alerting.addresses import is_public, resolve
from tocsin_alerting.receivers.console import Console
from tocsin_alerting.receivers.email import Email
from tocsin_alerting.receivers.webhook import Webhook

NOW = SystemClock().now().replace(microsecond=0)
KEY = base64.b64encode(b"twenty-four bytes of key").decode()
HOSTILE = "x\r\nBcc: all@example.org\x1b[2J<script>\u202e"


def alert(**changes: Any) -> Alert:
    made = Alert(
        id="9c1f0a2b3c4d5e6f-20260302T000000",
        fingerprint="9c1f0a2b3c4d5e6f",
        namespace="default",
        detector="prediction_drift",
        subject=Subject("model", "credit"),
        state=AlertState.FIRING,
        severity=Severity.HIGH,
        started=NOW - timedelta(days=1),
        window_start=NOW - timedelta(days=1),
        window_end=NOW,
        finding="0b7e",
        score=2.9,
        threshold=1.2,
        reason="PSI 0.61 over 1d — a lot",
        evidence={"psi": 0.61},
        techniques=("AML.T0031",),
        playbook="model-drift",
        changed=NOW,
        incident="inc-123456789abc",
    )
    return replace(made, **changes)


def notification(*alerts: Alert, **changes: Any) -> Notification:
    made = Notification(
        key="5f2b7e",
        receiver="oncall",
        group_key='{}:{detector="prediction_drift"}',
        labels={"detector": "prediction_drift"},
        reason="first notification",
        alerts=alerts or (alert(),),
        thread="5f2b7e",
        created=NOW,
        sent=NOW,
    )
    return replace(made, **changes)


def build(kind: type[Receiver[Any]], **values: Any) -> Receiver[Any]:
    return kind(params.build(kind.params_type(), values))


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key and self-signed certificate of localhost, in one file."""
    if shutil.which("openssl") is None:
        missing("openssl, to make a certificate, is not installed")
    folder = tmp_path_factory.mktemp("tls")
    key, cert = folder / "key.pem", folder / "cert.pem"
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    command = ["openssl", "req", "-x509", *curve, *name, "-keyout", str(key), "-out", str(cert)]
    subprocess.run(command, check=True, capture_output=True)
    both = folder / "both.pem"
    both.write_text(key.read_text() + cert.read_text())
    return both


def test_they_are_found_by_discovery() -> None:
    found = discovery.collect(["tocsin_alerting"])
    assert not found.failures
    assert {"console", "email", "webhook"} <= found.of(Receiver).keys()  # type: ignore[type-abstract]


# console


def test_console_says_what_a_page_must_say(capsys: pytest.CaptureFixture[str]) -> None:
    over = alert(state=AlertState.RESOLVED, resolved=NOW)
    taken = alert(acknowledged=Acknowledgement("ana", NOW, "on it"))
    Console(NoParams()).send(notification(alert(), taken, over))
    out = capsys.readouterr().out
    assert "[FIRING:2] HIGH prediction_drift: model credit (+1)" in out
    assert "what: PSI 0.61 over 1d — a lot" in out
    assert "score: 2.9, 2.4 × threshold" in out
    assert "acknowledge: tocsin ack inc-123456789abc --by NAME --reason WHY" in out
    assert "acknowledged: by ana" in out
    assert "resolved: no finding in the window" in out


def test_console_shows_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    Console(NoParams()).send(notification(alert(subject=Subject("principal", HOSTILE), reason=HOSTILE)))
    out = capsys.readouterr().out
    assert all(line.isprintable() for line in out.splitlines())
    assert "Bcc" not in [line.split(":")[0].strip() for line in out.splitlines()]


def test_console_with_a_closed_output(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = open("/dev/null", "w", encoding="utf-8")  # noqa: SIM115, PTH123
    closed.close()
    monkeypatch.setattr("sys.stdout", closed)
    with pytest.raises(DeliveryError) as error:
        Console(NoParams()).send(notification())
    assert error.value.retry


# email


class Sink:
    """The mails that an SMTP server received, and the answers that it gives."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.mails: list[EmailMessage] = []
        self.recipients: list[list[str]] = []
        self.data_answer = "250 OK"
        self.refused: dict[str, str] = {}

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:  # noqa: N802
        if address in self.refused:
            return self.refused[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        if self.data_answer.startswith("250"):
            self.mails.append(message_from_bytes(envelope.content, policy=policy.default))
            self.recipients.append(envelope.rcpt_tos)
        return self.data_answer


@pytest.fixture(scope="module")
def smtp() -> Iterator[tuple[Sink, int]]:
    sink = Sink()
    port = free_port()
    server = Controller(sink, hostname="127.0.0.1", port=port)
    server.start()
    yield sink, port
    server.stop()


@pytest.fixture
def sink(smtp: tuple[Sink, int]) -> Sink:
    smtp[0].clear()
    return smtp[0]


@pytest.fixture
def email(smtp: tuple[Sink, int]) -> Receiver[Any]:
    to = ["ana@example.org", "ben@example.org"]
    values = {"sender": "Tocsin <tocsin@example.org>", "to": to, "security": "none"}
    return build(Email, host="127.0.0.1", port=smtp[1], **values)


def test_email_is_text_and_html(email: Receiver[Any], sink: Sink) -> None:
    email.send(notification())
    (mail,) = sink.mails
    assert mail["Subject"] == "[FIRING:1] HIGH prediction_drift: model credit"
    assert mail["Message-ID"] == "<5f2b7e@example.org>"
    assert mail["In-Reply-To"] is None
    assert mail["Auto-Submitted"] == "auto-generated"
    assert sink.recipients == [["ana@example.org", "ben@example.org"]]
    text, html = (mail.get_body((kind,)).get_content() for kind in ("plain", "html"))  # type: ignore[union-attr]
    assert "PSI 0.61 over 1d — a lot" in text
    assert "PSI 0.61 over 1d — a lot" in html
    assert "tocsin ack inc-123456789abc" in text


def test_email_of_a_group_is_a_thread(email: Receiver[Any], sink: Sink) -> None:
    email.send(notification(key="second"))
    assert sink.mails[0]["In-Reply-To"] == sink.mails[0]["References"] == "<5f2b7e@example.org>"


def test_email_with_hostile_text(email: Receiver[Any], sink: Sink) -> None:
    email.send(notification(alert(subject=Subject("principal", HOSTILE), reason=HOSTILE * 100)))
    (mail,) = sink.mails
    assert mail["Bcc"] is None
    assert "<script>" not in mail.get_body(("html",)).get_content()  # type: ignore[union-attr]


def test_email_of_many_alerts_is_cut(email: Receiver[Any], sink: Sink) -> None:
    email.send(notification(*[alert()] * 60))
    assert "and 10 more alerts" in sink.mails[0].get_body(("plain",)).get_content()  # type: ignore[union-attr]


@pytest.mark.parametrize(("answer", "retry"), [("451 try later", True), ("554 no", False)])
def test_email_that_the_server_does_not_take(
    email: Receiver[Any], sink: Sink, answer: str, retry: bool
) -> None:
    sink.data_answer = answer
    with pytest.raises(DeliveryError, match=answer) as error:
        email.send(notification())
    assert error.value.retry is retry


@pytest.mark.parametrize(("answer", "retry"), [("450 busy", True), ("550 unknown", False)])
def test_email_that_some_or_all_recipients_refuse(
    email: Receiver[Any], sink: Sink, answer: str, retry: bool
) -> None:
    sink.refused = {"ben@example.org": answer}
    with pytest.raises(DeliveryError, match=r"refused for ben@example\.org") as error:
        email.send(notification())
    assert error.value.retry is retry
    assert sink.recipients == [["ana@example.org"]]
    sink.refused["ana@example.org"] = answer
    with pytest.raises(DeliveryError, match=r"refused for ana@example\.org, ben@example\.org"):
        email.send(notification())


def test_email_without_a_server() -> None:
    nobody = build(Email, host="127.0.0.1", port=free_port(), sender="a@b", to=["c@d"], security="none")
    with pytest.raises(DeliveryError, match=r"127\.0\.0\.1") as error:
        nobody.send(notification())
    assert error.value.retry


def test_email_asks_for_tls_before_it_says_a_password(
    smtp: tuple[Sink, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOCSIN_TEST_PASSWORD", "s3cret")
    secret = {"env": "TOCSIN_TEST_PASSWORD"}
    values = {"host": "127.0.0.1", "port": smtp[1], "sender": "a@b", "to": ["c@d"], "username": "u"}
    with pytest.raises(DeliveryError, match="STARTTLS") as error:
        build(Email, **values, password=secret).send(notification())
    assert error.value.retry
    with pytest.raises(ConfigError, match="not sent over an unencrypted connection"):
        build(Email, **values, password=secret, security="none")
    with pytest.raises(ConfigError, match="is set without a password"):
        build(Email, **values)
    with pytest.raises(ConfigError, match="at least one"):
        build(Email, host="h", sender="a@b", to=[])


def test_email_over_starttls_with_a_password(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    sink = Sink()
    logins: list[tuple[bytes, bytes]] = []

    def authenticate(*args: Any) -> AuthResult:
        logins.append((args[-1].login, args[-1].password))
        return AuthResult(success=args[-1].password == b"s3cret", handled=False)

    port = free_port()
    controller = Controller(
        sink,
        hostname="localhost",
        port=port,
        tls_context=server,
        require_starttls=True,
        auth_required=True,
        authenticator=authenticate,
    )
    controller.start()
    try:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        monkeypatch.setenv("TOCSIN_TEST_PASSWORD", "s3cret")
        values = {"host": "localhost", "port": port, "sender": "a@b", "to": ["c@d"], "username": "u"}
        receiver = build(Email, **values, password={"env": "TOCSIN_TEST_PASSWORD"})
        receiver.send(notification())
        assert logins == [(b"u", b"s3cret")]
        assert len(sink.mails) == 1
        monkeypatch.setenv("TOCSIN_TEST_PASSWORD", "changed")
        with pytest.raises(DeliveryError, match="535") as error:
            receiver.send(notification())
        assert error.value.retry  # the problem can be fixed
    finally:
        controller.stop()


# webhook


class Endpoint(HTTPServer):
    """An HTTP server that records requests and returns configured answers."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.answer: tuple[int, dict[str, str]] = (200, {})


class Handler(BaseHTTPRequestHandler):
    server: Endpoint

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append((self.path, dict(self.headers), body))
        status, headers = self.server.answer
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


def serve(endpoint: Endpoint) -> Iterator[Endpoint]:
    thread = threading.Thread(target=endpoint.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield endpoint
    endpoint.shutdown()
    thread.join()
    endpoint.server_close()


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    yield from serve(Endpoint())


def hook(endpoint: Endpoint, **values: Any) -> Receiver[Any]:
    url = f"http://127.0.0.1:{endpoint.server_port}/tocsin?team=ml"
    return build(Webhook, **({"url": url, "allow_private": True} | values))


def test_webhook_is_signed_as_standard_webhooks_asks(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOCSIN_TEST_HOOK", f"whsec_{KEY}")
    just_now = replace(
        notification(), sent=SystemClock().now()
    )  # the verifier accepts requests up to five minutes old
    hook(endpoint, secret={"env": "TOCSIN_TEST_HOOK"}).send(just_now)
    ((path, headers, body),) = endpoint.requests
    assert path == "/tocsin?team=ml"
    assert Verifier(f"whsec_{KEY}").verify(body, headers)["tocsin"]["key"] == "5f2b7e"
    assert headers["webhook-id"] == "5f2b7e"
    with pytest.raises(Exception, match="No matching signature"):
        Verifier(f"whsec_{KEY}").verify(body + b" ", headers)


@pytest.mark.parametrize("secret", ["whsec_!", "not base64!", "whsec_a"])
def test_webhook_with_a_secret_that_is_none(endpoint: Endpoint, tmp_path: Path, secret: str) -> None:
    (tmp_path / "key").write_text(secret)
    with pytest.raises(DeliveryError, match="base64") as error:
        hook(endpoint, secret={"file": str(tmp_path / "key")}).send(notification())
    assert error.value.retry
    assert secret not in str(error.value)
    assert endpoint.requests == []


def test_webhook_whose_url_is_a_secret(endpoint: Endpoint, tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text(f"http://127.0.0.1:{endpoint.server_port}/hidden\n")
    receiver = build(Webhook, url={"file": str(file)}, allow_private=True)
    receiver.send(notification())
    assert endpoint.requests[0][0] == "/hidden"
    file.write_text("no url at all")
    with pytest.raises(DeliveryError) as caught:
        receiver.send(notification())
    assert caught.value.retry
    assert "no url at all" not in str(caught.value)


def test_webhook_body_is_alertmanagers(endpoint: Endpoint) -> None:
    over = alert(state=AlertState.RESOLVED, resolved=NOW, severity=Severity.LOW)
    hook(endpoint).send(notification(alert(), over))
    body = json.loads(endpoint.requests[0][2])
    assert body["version"] == "4"
    assert (body["status"], body["receiver"], body["truncatedAlerts"]) == ("firing", "oncall", 0)
    assert body["groupLabels"] == {"detector": "prediction_drift"}
    assert body["commonLabels"]["subject_id"] == "credit"
    assert "severity" not in body["commonLabels"]
    firing, resolved = body["alerts"]
    assert firing["labels"]["alertname"] == "prediction_drift"
    assert (firing["status"], firing["endsAt"]) == ("firing", "0001-01-01T00:00:00Z")
    assert (resolved["status"], resolved["fingerprint"]) == ("resolved", "9c1f0a2b3c4d5e6f")
    assert firing["tocsin"]["evidence"] == {"psi": 0.61}
    assert all(
        isinstance(v, str) for a in body["alerts"] for v in {**a["labels"], **a["annotations"]}.values()
    )


def test_webhook_may_be_shortened(endpoint: Endpoint) -> None:
    hook(endpoint, max_alerts=2).send(notification(*[alert()] * 5))
    body = json.loads(endpoint.requests[0][2])
    assert (len(body["alerts"]), body["truncatedAlerts"]) == (2, 3)


@pytest.mark.parametrize(
    ("status", "headers", "retry", "after"),
    [
        (500, {}, True, None),
        (503, {"Retry-After": "120"}, True, 120.0),
        (429, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, True, 0.0),
        (429, {"Retry-After": "soon²"}, True, None),
        (500, {"Retry-After": "120"}, True, None),
        (400, {}, False, None),
        (404, {}, False, None),
        (410, {}, False, None),
        (302, {"Location": "http://127.0.0.1:1/"}, False, None),
        (307, {"Location": "/elsewhere"}, False, None),
    ],
)
def test_webhook_answers(
    endpoint: Endpoint, status: int, headers: dict[str, str], retry: bool, after: float | None
) -> None:
    endpoint.answer = (status, headers)
    with pytest.raises(DeliveryError, match=f"answered {status}") as error:
        hook(endpoint).send(notification())
    assert (error.value.retry, error.value.after) == (retry, after)
    assert len(endpoint.requests) == 1  # redirects are not followed
    assert "team=ml" not in str(error.value)  # an address may hold a secret


def test_webhook_without_a_server_or_an_answer(endpoint: Endpoint) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        with pytest.raises(DeliveryError) as error:
            hook(endpoint, url=url, timeout=1.0).send(notification())
        assert error.value.retry
    with pytest.raises(DeliveryError, match="cannot connect") as error:
        hook(endpoint, url=url).send(notification())
    assert error.value.retry


def test_webhook_over_tls(endpoint: Endpoint, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    endpoint.socket = server.wrap_socket(endpoint.socket, server_side=True)
    url = f"https://localhost:{endpoint.server_port}/"
    with pytest.raises(DeliveryError, match="CERTIFICATE_VERIFY_FAILED"):
        hook(endpoint, url=url).send(notification())
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    hook(endpoint, url=url).send(notification())
    assert len(endpoint.requests) == 1
    with pytest.raises(DeliveryError, match="IP address mismatch"):  # the certificate is localhost's
        hook(endpoint, url=url.replace("localhost", "127.0.0.1")).send(notification())


def test_webhook_where_there_is_no_tls(endpoint: Endpoint) -> None:
    url = f"https://127.0.0.1:{endpoint.server_port}/"  # the server does not use TLS
    with pytest.raises(DeliveryError, match="cannot connect") as error:
        hook(endpoint, url=url).send(notification())
    assert error.value.retry
    assert isinstance(error.value.__cause__, ssl.SSLError)


@pytest.mark.parametrize(
    "url",
    ["example.org", "ftp://example.org/", "http://", "https://u:p@example.org/", "http://example.org:x/"],
)
def test_webhook_addresses_that_are_none(url: str) -> None:
    with pytest.raises(ConfigError) as error:
        build(Webhook, url=url)
    assert error.value.key == "url"


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0"]
)
def test_webhook_refuses_private_addresses(endpoint: Endpoint, host: str) -> None:
    url = f"http://{host}:{endpoint.server_port}/"
    with pytest.raises(DeliveryError, match="not a public address") as error:
        hook(endpoint, url=url, allow_private=False).send(notification())
    assert not error.value.retry
    assert endpoint.requests == []


def test_webhook_connects_to_the_address_that_was_checked(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name server that answers differently the second time (DNS rebinding) is not queried again."""
    answers = iter(["93.184.215.14", "127.0.0.1"])
    asked: list[Any] = []
    connected: list[Any] = []

    def rebinding(host: str, port: int, *args: Any, **kwargs: Any) -> list[Any]:
        asked.append(host)
        address = next(answers) if host == "rebind.example.org" else host
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    def connect(address: tuple[str, int], timeout: float) -> socket.socket:
        connected.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr("socket.getaddrinfo", rebinding)
    monkeypatch.setattr("socket.create_connection", connect)
    url = f"http://rebind.example.org:{endpoint.server_port}/"
    with pytest.raises(DeliveryError, match="cannot connect"):
        hook(endpoint, url=url, allow_private=False).send(notification())
    assert asked == ["rebind.example.org"]
    assert connected == [("93.184.215.14", endpoint.server_port)]


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("::ffff:8.8.8.8", True),
        ("10.0.0.1", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("224.0.0.1", False),
        ("240.0.0.1", False),
        ("255.255.255.255", False),
        ("::", False),
        ("fe80::1", False),
        ("fd00::1", False),
        ("ff0e::1", False),
        ("::ffff:10.0.0.1", False),
        ("::ffff:169.254.169.254", False),
        ("64:ff9b::a00:1", False),
        ("2002:a00:1::", False),
    ],
)
def test_public_addresses(address: str, public: bool) -> None:
    import ipaddress

    assert is_public(ipaddress.ip_address(address)) is public


def test_a_name_that_cannot_be_resolved_is_tried_again() -> None:
    with pytest.raises(DeliveryError, match="cannot resolve") as error:
        resolve("no-such-host.invalid", 443, allow_private=False)
    assert error.value.retry


def test_from_finding_to_a_signed_request(
    scene: Scene, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOCSIN_TEST_HOOK", f"whsec_{KEY}")
    scene.receivers["oncall"] = hook(endpoint, secret={"env": "TOCSIN_TEST_HOOK"})  # type: ignore[assignment]
    endpoint.answer = (503, {"Retry-After": "60"})
    scene.finding(0)
    assert scene.tick(last=True).retried == 1
    endpoint.answer = (204, {})
    assert scene.tick("1m").notified == 1
    first, second = (headers["webhook-id"] for _, headers, _ in endpoint.requests)
    assert first == second
