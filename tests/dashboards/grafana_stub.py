"""A stand-in for Grafana: a real server on the loopback that holds every request against the published API.

It keeps folders, dashboards with their history, data sources and alerting, and refuses what Grafana refuses.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.dashboards import openapi

TOKEN = "glsa_of-the-tests"
Answer = tuple[int, Any]
#: Which permission Grafana asks for, by the beginning of a request.
PERMISSIONS = {
    "POST /folders": "folders:create",
    "GET /dashboards": "dashboards:read",
    "POST /dashboards": "dashboards:create",
    "DELETE /dashboards": "dashboards:delete",
    "GET /datasources": "datasources:read",
    "POST /datasources": "datasources:create",
    "GET /v1/provisioning": "alert.provisioning:read",
    "PUT /v1/provisioning": "alert.provisioning:write",
    "POST /v1/provisioning": "alert.provisioning:write",
}


@dataclass
class Kept:
    """A dashboard with all its versions, oldest first."""

    folder: str
    versions: list[dict[str, Any]] = field(default_factory=list)
    provisioned: bool = False


@dataclass
class Stub:
    """What this Grafana has, and how it behaves."""

    folders: dict[str, str] = field(default_factory=dict)
    dashboards: dict[str, Kept] = field(default_factory=dict)
    sources: dict[str, dict[str, Any]] = field(default_factory=dict)
    groups: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    points: list[dict[str, Any]] = field(default_factory=list)
    #: Data sources as they came, with their secrets.
    posted: list[dict[str, Any]] = field(default_factory=list)
    #: Permissions that the token lacks.
    denied: set[str] = field(default_factory=set)
    #: Answers that come before the next requests are looked at: a status with a text, or a page.
    first: list[tuple[int, str]] = field(default_factory=list)
    #: What somebody does just before a request, once: `{"POST /dashboards/db": …}`.
    before: dict[str, Callable[[], object]] = field(default_factory=dict)
    #: What a request's answer is lost after, once.
    lost: set[str] = field(default_factory=set)
    listed: bool = False  # the history as Grafana 9 and 10 give it
    requests: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def writes(self) -> list[str]:
        """Requests that change something."""
        return [request for request in self.requests if not request.startswith("GET ")]

    def save(self, uid: str, dashboard: dict[str, Any], by: str, message: str = "", folder: str = "") -> None:
        """What a person does in Grafana's own pages, or a request does."""
        kept = self.dashboards.setdefault(uid, Kept(folder))
        version = len(kept.versions) + 1
        kept.versions.append(
            {
                "version": version,
                "message": message,
                "createdBy": by,
                "created": f"2026-03-01T00:00:{version:02}Z",
                "data": {**dashboard, "uid": uid, "id": 7, "version": version},
            }
        )

    def newest(self, uid: str) -> dict[str, Any]:
        """The newest version of a dashboard."""
        return self.dashboards[uid].versions[-1]

    # What it answers

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> Answer:
        """Status and body of the answer to a request whose form has been checked."""
        for start, permission in PERMISSIONS.items():
            if f"{method} {path}".startswith(start) and permission in self.denied:
                return 403, {
                    "message": f"You'll need additional permissions. Permissions needed: {permission}"
                }
        answer = (self._read if method == "GET" else self._change)(
            method, path.strip("/").split("/"), query, body
        )
        if answer is None:
            self.faults.append(f"not in the stand-in: {method} {path}")
        return answer or (500, {"message": "not in the stand-in"})

    def _read(self, method: str, parts: list[str], query: dict[str, list[str]], _: Any) -> Answer | None:
        match (method, *parts):
            case ("GET", "search"):
                return 200, self._folders() if query["type"] == ["dash-folder"] else self._search(
                    query["tag"]
                )
            case ("GET", "dashboards", "uid", uid):
                return self._dashboard(uid)
            case ("GET", "dashboards", "uid", uid, "versions"):
                return self._versions(uid, query)
            case ("GET", "datasources", "uid", uid):
                return (200, self.sources[uid]) if uid in self.sources else _none("Data source")
            case ("GET", "v1", "provisioning", "contact-points"):
                return 200, self.points
            case ("GET", "v1", "provisioning", "folder", folder, "rule-groups", name):
                return (
                    (200, self.groups[folder, name]) if (folder, name) in self.groups else _none("rule group")
                )
        return None

    def _change(self, method: str, parts: list[str], _: Any, body: Any) -> Answer | None:
        match (method, *parts):
            case ("POST", "folders"):
                return self._make_folder(body)
            case ("POST", "dashboards", "db"):
                return self._save(body)
            case ("DELETE", "dashboards", "uid", uid):
                return (200, {"message": "deleted"}) if self.dashboards.pop(uid, None) else _none("Dashboard")
            case ("POST", "datasources"):
                return self._make_source(body)
            case ("POST", "v1", "provisioning", "contact-points"):
                self.points.append({**body, "provenance": "api", "disableResolveMessage": False})
                return 202, self.points[-1]
            case ("PUT", "v1", "provisioning", "folder", folder, "rule-groups", name):
                rules = [
                    {**rule, "orgID": 5, "id": n, "provenance": "api"} for n, rule in enumerate(body["rules"])
                ]
                self.groups[folder, name] = {**body, "rules": rules}
                return 200, self.groups[folder, name]
        return None

    def _make_folder(self, body: dict[str, Any]) -> Answer:
        if body["uid"] in self.folders:
            return 412, {
                "status": "version-mismatch",
                "message": "The folder has been changed by someone else",
            }
        if body["title"] in self.folders.values():
            return 409, {"message": "a folder with the same name already exists in the current location"}
        self.folders[body["uid"]] = body["title"]
        return 200, body

    def _folders(self) -> list[dict[str, Any]]:
        """What a search finds: the folders that the token may read."""
        readable = {} if "folders:read" in self.denied else self.folders
        return [{"uid": uid, "title": title, "type": "dash-folder"} for uid, title in readable.items()]

    def _search(self, tags: list[str]) -> list[dict[str, Any]]:
        return [
            {"uid": uid, "title": data["title"], "folderUid": kept.folder, "type": "dash-db"}
            for uid, kept in self.dashboards.items()
            if set(tags) <= set((data := kept.versions[-1]["data"]).get("tags", ()))
        ]

    def _dashboard(self, uid: str) -> Answer:
        if uid not in self.dashboards:
            return _none("Dashboard")
        kept = self.dashboards[uid]
        meta = {"folderUid": kept.folder, "provisioned": kept.provisioned, "version": len(kept.versions)}
        return 200, {"dashboard": kept.versions[-1]["data"], "meta": meta}

    def _versions(self, uid: str, query: dict[str, list[str]]) -> Answer:
        if uid not in self.dashboards:
            return _none("Dashboard")
        found = self.dashboards[uid].versions[::-1][: int(query.get("limit", ["1000"])[0])]
        return 200, found if self.listed else {"continueToken": "", "versions": found}

    def _save(self, body: dict[str, Any]) -> Answer:
        given, folder = body["dashboard"], body["folderUid"]
        uid, title = given["uid"], given["title"]
        if folder and folder not in self.folders:
            return 400, {"message": "folder not found"}
        kept = self.dashboards.get(uid)
        if kept and kept.provisioned:
            return 400, {"message": "Cannot save provisioned dashboard"}
        if (given.get("version") or 0) != (len(kept.versions) if kept else 0):
            return 412, {
                "status": "version-mismatch",
                "message": "The dashboard has been changed by someone else",
            }
        for other, its in self.dashboards.items():
            if other != uid and its.folder == folder and its.versions[-1]["data"]["title"] == title:
                return 412, {
                    "status": "name-exists",
                    "message": "A dashboard with the same name already exists",
                }
        self.save(uid, given, "sa-tocsin", body["message"], folder)
        return 200, {"uid": uid, "status": "success", "version": len(self.dashboards[uid].versions)}

    def _make_source(self, body: dict[str, Any]) -> Answer:
        self.posted.append(body)
        if body["uid"] in self.sources or body["name"] in {s["name"] for s in self.sources.values()}:
            return 409, {"message": "data source with the same name already exists"}
        secrets = dict.fromkeys(body.get("secureJsonData", {}), True)
        shown = {key: value for key, value in body.items() if key != "secureJsonData"}
        self.sources[body["uid"]] = {**shown, "id": 3, "orgId": 1, "secureJsonFields": secrets}
        return 200, {"message": "Datasource added"}


def _none(what: str) -> Answer:
    return 404, {"message": f"{what} not found"}


@contextmanager
def serving(stub: Stub, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """The URL at which a stand-in answers, below a path as behind a proxy."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # else each answer waits 40 ms

        def log_message(self, *_: object) -> None: ...

        def _send(self, status: int, content: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _any(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            url = urlsplit(self.path)
            path = url.path.removeprefix("/monitoring/api")
            request = f"{self.command} {path}"
            stub.requests.append(request)
            if stub.first:
                status, page = stub.first.pop(0)
                self._send(status, page.encode(), "text/html; charset=utf-8")
                return
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                self._send(401, b'{"message": "Invalid API key"}', "application/json")
                return
            query, body = parse_qs(url.query), json.loads(raw) if raw else None
            stub.faults += [
                f"{request}: {f}" for f in openapi.request_faults(self.command, path, query, body)
            ]
            stub.before.pop(request, lambda: None)()
            status, answer = stub.answer(self.command, unquote(path), query, body)
            if request in stub.lost:
                stub.lost.discard(request)
                self.close_connection = True
                return
            self._send(status, json.dumps(answer).encode(), "application/json; charset=UTF-8")

    for method in ("GET", "POST", "PUT", "DELETE"):
        setattr(Handler, f"do_{method}", Handler._any)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http{'s' if tls else ''}://127.0.0.1:{server.server_address[1]}/monitoring"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
