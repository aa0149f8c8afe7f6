"""Roles: just what the code needs, and keys that are rotated without a gap."""

from __future__ import annotations

import ast
import base64
import json
import re
import stat
import subprocess
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from deploy import setup
from tests.conftest import ROOT
from tests.deploy.compose import (
    DEPLOY,
    role,
)
from tocsin.contract.streams import STREAMS
from tocsin.store.cluster import mappings
from tocsin.store.cluster.connection import connect

#: What the code asks of Elasticsearch, and the privilege for it: of the cluster, the streams, or the keyed state.
NEEDS: Mapping[str, tuple[str, str]] = {
    "streams.indices.get_index_template": ("cluster", "monitor"),
    "streams.indices.put_index_template": ("cluster", "manage_index_templates"),
    "streams.indices.delete_index_template": ("cluster", "manage_index_templates"),
    "streams.indices.put_mapping": ("streams", "manage"),
    "streams.bulk": ("streams", "create_doc"),
    "streams.search": ("streams", "read"),
    "streams.open_point_in_time": ("streams", "read"),
    "streams.close_point_in_time": ("streams", "read"),
    "streams.indices.get": ("streams", "view_index_metadata"),
    "streams.indices.refresh": ("streams", "maintenance"),
    "state.indices.exists": ("state", "view_index_metadata"),
    "state.indices.create": ("state", "manage"),
    "state.indices.get_mapping": ("state", "view_index_metadata"),
    "state.indices.put_mapping": ("state", "manage"),
    "state.indices.refresh": ("state", "maintenance"),
    "state.indices.update_aliases": ("state", "manage"),
    "state.search": ("state", "read"),
    "state.get": ("state", "read"),
    "state.index": ("state", "index"),
    "state.bulk": ("state", "index"),
    "state.delete": ("state", "delete"),
}
#: What only `tocsin store setup` and `tocsin store copy` do.
SETUP = {("cluster", "manage_index_templates"), ("streams", "manage"), ("state", "manage")}
#: `tocsin store setup` also names the views, and writes again the records that do not show in them yet.
VIEWS = {("aliases", "manage"), ("state", "read"), ("state", "index")}
WRITES = {("streams", "create_doc"), ("state", "index"), ("state", "delete")}


def _granted(name: str) -> set[tuple[str, str]]:
    granted = role(name)
    found = {("cluster", p) for p in granted["cluster"]}
    for part in granted["indices"]:
        where = {"tocsin-state-default": "state", "tocsin-alerts-default": "aliases"}.get(
            part["names"][0], "streams"
        )
        found |= {(where, p) for p in part["privileges"]}
    return found


def _calls() -> set[str]:
    """Every call of the client in the store's modules."""
    found = set()
    clients = re.compile(r"(?:^|\.)_?(?:client|raw|writing)\.((?:indices\.)?\w+)$")
    for path in (ROOT / "tocsin" / "store" / "cluster").glob("*.py"):
        where = "state" if path.stem == "state" else "streams"
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                call = clients.search(re.sub(r"\.options\([^()]*\)", "", ast.unparse(node.func)))
                if call and call[1] not in {"close", "options"}:
                    found.add(f"{where}.{call[1]}")
    return found


def test_roles_are_just_what_the_code_needs() -> None:
    assert len(_calls()) > 10 and _calls() <= NEEDS.keys()
    needed = {NEEDS[call] for call in _calls()}
    # The first event creates a stream: `auto_configure`.
    assert _granted("worker") == needed - SETUP | {("streams", "auto_configure")}
    assert _granted("analyst") == needed - SETUP - WRITES
    # `manage` includes reading metadata, which is the only other thing the job does.
    assert _granted("setup") == SETUP | VIEWS and needed & SETUP == SETUP
    looks = {"read", "view_index_metadata"}
    assert _granted("grafana") == {("cluster", "monitor")} | {
        (w, p) for w in ("streams", "aliases") for p in looks
    }


def test_roles_cover_every_stream_and_nothing_else() -> None:
    for path in (DEPLOY / "roles").glob("*.json"):
        names = [n for part in role(path.stem)["indices"] for n in part["names"]]
        assert set(names) <= {
            "logs-tocsin.*-default", "metrics-tocsin.*-default", "tocsin-state-default", "tocsin-files-default",
            "tocsin-alerts-default", "tocsin-incidents-default", "tocsin-namespaces-default",
        }  # fmt: skip
        assert path.stem in {"grafana", "setup"} or not any(
            word in name for name in names for word in ("alerts", "incidents", "namespaces")
        )
        patterns = [re.compile(n.replace(".", r"\.").replace("*", ".*") + "$") for n in names]
        assert all(any(p.match(mappings.name(s, "default")) for p in patterns) for s in STREAMS)
    moved = setup.role("worker", "credit")["indices"]
    assert [n for part in moved for n in part["names"]] == [
        "logs-tocsin.*-credit", "metrics-tocsin.*-credit", "tocsin-state-credit", "tocsin-files-credit",
    ]  # fmt: skip


def test_docs_show_the_roles_as_they_are() -> None:
    text = (ROOT / "docs" / "operations.md").read_text()
    shown = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL)]
    for path in (DEPLOY / "roles").glob("*.json"):
        assert json.loads(path.read_text()) in shown, path.stem


class _Keys(BaseHTTPRequestHandler):
    """Elasticsearch's API for keys, as its documentation has it: the server of the tests is without security."""

    made: ClassVar[list[dict[str, Any]]] = []
    ended: ClassVar[list[str]] = []
    changed: ClassVar[dict[str, Any]] = {}

    def _answer(self, body: Any) -> None:
        content = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("X-Elastic-Product", "Elasticsearch")
        self.send_header("Content-Type", "application/vnd.elasticsearch+json;compatible-with=9")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _body(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        return found

    def do_PUT(self) -> None:
        if self.path.startswith("/_security/api_key/"):
            self.changed[self.path.rpartition("/")[2]] = self._body()["role_descriptors"]
            self._answer({"updated": True})
            return
        assert self.path == "/_security/api_key"
        assert self.headers["Authorization"] == f"Basic {base64.b64encode(b'elastic:open').decode()}"
        self.made.append(self._body())
        id = f"id{len(self.made)}"
        encoded = base64.b64encode(f"{id}:key".encode()).decode()
        self._answer({"id": id, "name": self.made[-1]["name"], "api_key": "key", "encoded": encoded})

    def do_GET(self) -> None:
        known = [{"id": f"id{n}"} for n, key in enumerate(self.made, 1) if f"name={key['name']}" in self.path]
        self._answer({"api_keys": known})

    def do_DELETE(self) -> None:
        self.ended.extend(self._body()["ids"])
        self._answer({"invalidated_api_keys": [], "previously_invalidated_api_keys": [], "error_count": 0})

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def security() -> Iterator[str]:
    _Keys.made.clear()
    _Keys.ended.clear()
    _Keys.changed.clear()
    server = HTTPServer(("127.0.0.1", 0), _Keys)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_keys_are_rotated_without_a_gap(
    security: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tocsin.yaml").write_text(f"store: {{type: elasticsearch, hosts: ['{security}']}}")
    monkeypatch.setenv("TOCSIN_CONFIG", str(tmp_path / "tocsin.yaml"))
    for name in ("setup", "worker"):
        (tmp_path / name).mkdir()
    (tmp_path / "setup" / "password").write_text("open")
    with connect([security], basic_auth=("elastic", "open")) as client:
        setup.make(client, "worker", tmp_path / "worker" / "api-key", "default")
    file = tmp_path / "worker" / "api-key"
    first = file.read_text()
    assert base64.b64decode(first) == b"id1:key" and stat.S_IMODE(file.stat().st_mode) & 0o227 == 0
    assert _Keys.made[0]["name"] == "tocsin-worker-default"
    assert _Keys.made[0]["role_descriptors"] == {"tocsin-worker": role("worker")}
    setup.run(["rotate", "worker"], tmp_path)
    assert base64.b64decode(file.read_text()) == b"id2:key" and _Keys.ended == []
    setup.run(["retire", "worker"], tmp_path)
    assert _Keys.ended == ["id1"]


def test_a_key_that_is_there_gets_the_role_of_this_version(
    security: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key has the role that it was created with: without an update, Grafana could not read new streams."""
    (tmp_path / "tocsin.yaml").write_text(f"store: {{type: elasticsearch, hosts: ['{security}']}}")
    monkeypatch.setenv("TOCSIN_CONFIG", str(tmp_path / "tocsin.yaml"))
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0))
    for name in ("setup", "worker", "grafana"):
        (tmp_path / name).mkdir()
    (tmp_path / "setup" / "password").write_text("open")
    (tmp_path / "grafana" / "api-key").write_text(base64.b64encode(b"old:key").decode())
    assert setup.run([], tmp_path, tmp_path / "own") == 0
    assert _Keys.changed == {"old": {"tocsin-grafana": role("grafana")}}
    assert [key["name"] for key in _Keys.made] == ["tocsin-worker-default", "tocsin-setup-default"]
    assert base64.b64decode((tmp_path / "grafana" / "api-key").read_text()) == b"old:key"
