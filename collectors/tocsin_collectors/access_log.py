"""Access events from the access logs of web servers and MLflow."""

from __future__ import annotations

import functools
import hashlib
import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode
from zoneinfo import ZoneInfo

from tocsin.clock import format_time
from tocsin.contract.plugin import Batch, Collector, Rejected, Resume, Stability, param
from tocsin.errors import ConfigError
from tocsin_collectors._find import find
from tocsin_collectors._follow import Follower, Piece, Progress
from tocsin_collectors._lines import SHOWN
from tocsin_collectors._mlflow import KEPT, Request, registry_request
from tocsin_collectors._mlflow_body import with_body

_WANTED = re.compile(r"(access|mlflow)[\w.-]*$", re.IGNORECASE)
_TEXT = r'[^"\\]*+(?:\\.[^"\\]*+)*+'
_COMBINED = re.compile(
    r"(?P<host>\S+) \S+ (?P<user>.{1,256}?) \[(?P<time>[^\]]{1,40})\] "
    rf'"(?P<request>{_TEXT})" (?P<status>\d{{3}}) (?P<bytes>\d+|-)'
    rf'(?: "(?P<referrer>{_TEXT})" "(?P<agent>{_TEXT})")?'
    rf'(?: "(?P<forwarded>[\da-fA-F:., -]*)")?(?: (?:\w+=)?"?(?P<seconds>\d+\.\d+)"?)?'
    rf'(?: body="(?P<body>{_TEXT})")?(?: .*)?$'
)
_UVICORN = re.compile(
    r"(?:\[?(?P<time>\d{4}[-/]\d\d[-/]\d\d[ T]\d\d:\d\d:\d\d[^ \]]*)\]? )?(?:\[?[A-Z]+\]?:?\s+)?"
    rf'(?P<host>\S+) - "(?P<request>{_TEXT})" (?P<status>\d{{3}})(?: .*)?$'
)
_REQUEST = re.compile(r"(?P<method>[A-Z]+) (?P<target>\S+)(?: HTTP/\d(?:\.\d)?)?$")
_MONTHS = "JanFebMarAprMayJunJulAugSepOctNovDec"
_KINDS = {
    "create": "creation", "upload": "creation", "delete": "deletion", "update": "change", "promote": "change",
    "set_tag": "change", "delete_tag": "change", "delete_alias": "change",
}  # fmt: skip
_BATCH = 20_000  # events, after the piece that reaches it
_RUN = 4 * 1024 * 1024
_DIGITS = 18  # of a size or a duration


@dataclass(frozen=True, slots=True)
class Params:
    """Settings of the access log collector."""

    paths: tuple[str, ...] = param(
        doc="files, folders or globs; in a folder, files named *access* or *mlflow* are read"
    )
    service: str = param("", doc="name of the system that writes the log; becomes service.name")
    zone: str = param("UTC", doc="time zone of lines without a time zone, such as Europe/Berlin")


@dataclass(slots=True)
class _Pending:
    checkpoint: dict[str, int] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)


class AccessLog(Collector[Params]):
    """Follows access logs in the common and combined formats (nginx, Apache, gunicorn) and in MLflow's format.

    Delivery: at least once. A line that is read twice is stored once. A request to MLflow's REST API becomes a
    registry action. For other requests the action is the HTTP method. The event contains only query parameters
    that name a resource, because other parameters may contain secrets. MLflow names models and versions in the body
    of a request: without the configuration in deploy/nginx, the log does not contain them.
    """

    id = "access_log"
    stability = Stability.BETA

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        try:
            ZoneInfo(params.zone)
        except (KeyError, ValueError, OSError) as error:
            raise ConfigError(
                f"zone {params.zone!r} is unknown; write one like UTC or Europe/Berlin", key="zone"
            ) from error
        self._warned: set[str] = set()
        self._follower = Follower(self.id, lambda _: False, _RUN)

    def collect(self, resume: Resume) -> Iterator[Batch]:
        progress = Progress(resume)
        pending: dict[str, _Pending] = {}
        for found in find(self.params.paths, _WANTED, self._warned):
            for piece in self._follower.pieces(found, "access", progress):
                waiting = pending.setdefault(found.root, _Pending())
                self._add(piece, waiting)
                if len(waiting.events) + len(waiting.rejected) >= _BATCH:
                    yield self._batch(found.root, pending.pop(found.root))
        for root, waiting in pending.items():
            yield self._batch(root, waiting)

    def _add(self, piece: Piece, to: _Pending) -> None:
        if piece.key:
            to.checkpoint[piece.key] = piece.number
        if piece.rejected:
            to.rejected.append(piece.rejected)
        for at, line in piece.split():
            place = f"{piece.found.path}@{at}"
            try:
                to.events.append(
                    self._event(piece.key.partition(".")[0], at, line.decode("utf-8", "replace").rstrip("\r"))
                )
                to.places.append(place)
            except (ValueError, OverflowError) as error:
                to.rejected.append(Rejected(str(error), place, line[:SHOWN]))

    def _batch(self, root: str, waiting: _Pending) -> Batch:
        return Batch(
            "access",
            f"{self.id}:{root}",
            waiting.checkpoint,
            waiting.events,
            position=waiting.places.__getitem__,
            rejected=waiting.rejected,
            derived_ids=True,
        )

    def _event(self, key: str, at: int, line: str) -> dict[str, Any]:
        match = _COMBINED.match(line) or _UVICORN.match(line)
        if match is None:
            raise ValueError("not a line of the combined, common or MLflow format of access logs")
        parts = match.groupdict()
        if not parts["time"]:
            raise ValueError("the line has no time; add %(asctime)s to the server's log format")
        status = int(parts["status"])
        event = {
            "@timestamp": _time(parts["time"], self.params.zone),
            "event.id": hashlib.sha256(f"{key}\n{at}\n{line}".encode()).hexdigest()[:32],
            "event.outcome": "success" if status < 400 else "failure",
            "http.response.status_code": status,
            "user.id": _given(parts.get("user")),
            "user_agent.original": _given(parts.get("agent")),
            "service.name": self.params.service or None,
            **_request(parts["request"], status, parts.get("body") or ""),
            **_address(parts["host"]),
            **_rest(parts),
        }
        return {name: value for name, value in event.items() if value is not None}


def _request(line: str, status: int, body: str) -> dict[str, Any]:
    match = _REQUEST.match(line)
    if match is None:
        return {"event.action": "malformed", "tocsin.resource.type": "http"}
    method = match["method"]
    target = re.sub(r"^https?://[^/]*", "", match["target"])
    path, _, text = target.partition("?")
    query = {name: value for name, value in parse_qsl(text) if name in KEPT}
    path = unquote(path)
    names = with_body(method, path, query, body)
    request = registry_request(method, path, names) or Request(method.lower(), "http", path)
    kind = _KINDS.get(request.action, "access")
    return {
        "http.request.method": method,
        "url.path": path,
        "url.query": urlencode(query) or None,
        "event.action": request.action,
        "event.type": [kind, "denied"] if status in (401, 403) else [kind],
        "tocsin.resource.type": request.type,
        "tocsin.resource.id": request.id,
        "tocsin.resource.version": request.version,
    }


def _address(host: str) -> dict[str, str]:
    for text in (host, host.rpartition(":")[0].strip("[]")):  # uvicorn adds the port
        try:
            return {"source.ip": str(ipaddress.ip_address(text))}
        except ValueError:
            continue
    return {"source.address": host}


def _rest(parts: dict[str, Any]) -> dict[str, Any]:
    size, seconds = parts.get("bytes"), parts.get("seconds")
    if len(size or "") > _DIGITS or len(seconds or "") > _DIGITS:
        raise ValueError("a number in the line has too many digits")
    referrer = _given(parts.get("referrer"))
    forwarded = _given(parts.get("forwarded"))
    return {
        "http.response.bytes": int(size) if size and size != "-" else None,
        "http.request.referrer": referrer.partition("?")[0] if referrer else None,
        "network.forwarded_ip": forwarded.partition(",")[0].strip() if forwarded else None,
        "event.duration": round(float(seconds) * 1e9) if seconds else None,
    }


def _given(text: str | None) -> str | None:
    return None if text in (None, "", "-") else text


@functools.lru_cache(maxsize=4096)  # many lines share a second
def _time(text: str, zone: str) -> str:
    if text[2:3] == "/":  # 02/Mar/2026:09:31:44 +0100
        month = _MONTHS.find(text[3:6]) // 3 + 1
        text = f"{text[7:11]}-{month:02}-{text[:2]}T{text[12:20]}{text[20:].strip()}"
    try:
        time = datetime.fromisoformat(text.replace("/", "-").replace(",", "."))
    except ValueError:
        raise ValueError(f"{text[:40]!r} is not a time of an access log") from None
    return format_time(time if time.tzinfo else time.replace(tzinfo=ZoneInfo(zone)))
