"""The nginx configuration for MLflow: the bodies of the registry's routes are logged, and no others."""

from __future__ import annotations

import http.client
import http.server
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.nodes.nginx import PROGRAM, nginx
from tocsin_collectors.access_log import AccessLog, Params

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="nginx is not installed")

SECRET = "hunter2-s3cret"
GRANT = {"name": "credit", "username": "m", "permission": "MANAGE"}
ALIAS = {"name": "credit", "alias": "champion", "version": "4"}


class _Answer(http.server.BaseHTTPRequestHandler):
    """Reads the body of any request, and answers 200."""

    def _do(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _do  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Front:
    """An nginx before a server, and its log."""

    def __init__(self, port: int, log: Path) -> None:
        self._port, self.log = port, log

    def ask(self, method: str, path: str, body: object = None, text: bytes | None = None) -> int:
        """The status of a request. nginx writes the line of a request after its answer, so this waits for the line."""
        before, until = len(self.text().splitlines()), time.monotonic() + 10
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        given = text if text is not None else None if body is None else json.dumps(body).encode()
        connection.request(
            method, path, given, {"Content-Type": "application/json", "Authorization": "Basic bWFyaWE6eA=="}
        )
        answer = connection.getresponse()
        answer.read()
        connection.close()
        while len(self.text().splitlines()) == before and time.monotonic() < until:
            time.sleep(0.01)
        return answer.status

    def events(self) -> list[dict[str, Any]]:
        collector = AccessLog(Params(paths=("-",)))
        return [collector._event("x", at, line) for at, line in enumerate(self.text().splitlines())]

    def text(self) -> str:
        return self.log.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def upstream() -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answer)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join(5)


@pytest.fixture
def front(upstream: int, tmp_path: Path) -> Iterator[Front]:
    with nginx(tmp_path, upstream) as (port, log):
        yield Front(port, log)


@pytest.mark.parametrize("api", ["/api/2.0", "/ajax-api/2.0", "/api/3.0"])
@pytest.mark.parametrize(
    ("method", "route", "body", "expected"),
    [
        ("DELETE", "model-versions/delete", {"name": "credit", "version": "3"}, ("delete", "credit", "3")),
        ("DELETE", "registered-models/delete", {"name": 'größe "x"'}, ("delete", 'größe "x"', None)),
        ("POST", "registered-models/alias", ALIAS, ("promote", "credit", "champion")),
        ("DELETE", "registered-models/alias", {"name": "credit", "alias": "prod"}, ("delete_alias", "credit", "prod")),
        ("POST", "model-versions/transition-stage", {"name": "a\nb", "version": 2}, ("promote", "a\nb", "2")),
        ("POST", "model-versions/create", {"name": "fraud", "source": "s3://x"}, ("create", "fraud", None)),
        ("POST", "registered-models/permissions/create", GRANT, ("create", "credit", None)),
        ("PATCH", "registered-models/permissions/update", GRANT, ("update", "credit", None)),
    ],
)  # fmt: skip
def test_the_body_of_the_registry_names_the_resource(
    front: Front,
    api: str,
    method: str,
    route: str,
    body: dict[str, str],
    expected: tuple[str, str, str | None],
) -> None:
    assert front.ask(method, f"{api}/mlflow/{route}", body) == 200
    (event,) = front.events()
    found = (event["event.action"], event["tocsin.resource.id"], event.get("tocsin.resource.version"))
    assert found == expected
    assert event["user.id"] == "maria" and event["source.ip"] == "127.0.0.1"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/2.0/mlflow/users/create"),
        ("PATCH", "/api/2.0/mlflow/users/update-password"),
        ("PATCH", "/ajax-api/2.0/mlflow/users/update-password"),
        ("POST", "/api/2.0/mlflow/users/create/registered-models/"),
        ("POST", "/api/2.0/mlflow/registered-models/../users/create"),
        ("POST", "/api/2.0/mlflow/users/../users/create"),
        ("POST", "/api/2.0//mlflow//users/create"),
        ("PUT", "/api/2.0/mlflow-artifacts/artifacts/1/abc/artifacts/model.pkl"),
        ("PUT", "/api/2.0/mlflow-artifacts/artifacts/api/2.0/mlflow/registered-models/x"),
        ("POST", "/ajax-api/2.0/mlflow/upload-artifact"),
        ("POST", "/signup"),
        ("POST", "/api/2.0/mlflow/runs/log-parameter"),
        ("POST", "/api/2.0/mlflow/gateway/secrets/create"),
    ],
)
def test_no_other_body_is_logged(front: Front, method: str, path: str) -> None:
    front.ask(method, path, {"username": "maria", "password": SECRET, "name": "credit"})
    assert SECRET not in front.text()
    assert len(front.text().splitlines()) == 1


def test_a_long_body_is_cut_and_still_names_the_resource(front: Front) -> None:
    body = {"name": "credit", "version": "9", "description": "x" * 12_000}
    assert front.ask("PATCH", "/api/2.0/mlflow/model-versions/update", body) == 200
    (event,) = front.events()
    assert (event["tocsin.resource.id"], event["tocsin.resource.version"]) == ("credit", "9")
    assert len(front.text()) < 4_096 * 4 + 1_000


def test_a_body_that_hides_a_deletion_behind_padding_is_refused(front: Front) -> None:
    text = b" " * 5_000 + json.dumps({"name": "credit", "version": "9"}).encode()
    assert front.ask("DELETE", "/api/2.0/mlflow/model-versions/delete", text=text) == 413
    (event,) = front.events()
    assert (event["event.action"], event["event.outcome"]) == ("delete", "failure")
    text = b" " * 4_000 + json.dumps({"name": "credit", "version": "9"}).encode()
    assert front.ask("DELETE", "/api/2.0/mlflow/model-versions/delete", text=text) == 200
    assert front.events()[1]["tocsin.resource.id"] == "credit"


def test_a_very_long_body_is_passed_on_and_not_logged(front: Front) -> None:
    assert (
        front.ask("POST", "/api/2.0/mlflow/model-versions/set-tag", {"name": "c", "value": "x" * 90_000})
        == 200
    )
    (event,) = front.events()
    assert event["event.action"] == "set_tag" and len(front.text()) < 1_000


def test_a_body_adds_no_line_and_no_field(front: Front) -> None:
    forged = '"\n203.0.113.9 - eve [02/Mar/2026:10:31:44 +0100] "GET / HTTP/1.1" 200 1 "-" "-"'
    assert (
        front.ask("DELETE", "/api/2.0/mlflow/model-versions/delete", {"name": forged, "version": forged})
        == 200
    )
    (event,) = front.events()
    assert event["user.id"] == "maria" and event["tocsin.resource.id"] == forged
