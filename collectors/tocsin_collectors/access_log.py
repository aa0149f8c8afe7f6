"""Access events from the access logs of web servers and MLflow."""

from __future__ import annotations

import functools
import hashlib
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode
from zoneinfo import ZoneInfo

from tocsin.clock import format_time
from tocsin.contract.addresses import canonical_address
from tocsin.contract.plugin import Batch, Collector, Rejected, Resume, Stability, param
from tocsin.errors import ConfigError
from tocsin_collectors._access_format import parse_format
from tocsin_collectors._access_json import object_parts, read_object, wrapped
from tocsin_collectors._access_lines import FORMATS, Parts, recognized, whole, without_prefix
from tocsin_collectors._addresses import client_of, is_address
from tocsin_collectors._find import Faults, find
from tocsin_collectors._follow import Follower, Piece, Progress
from tocsin_collectors._lines import SHOWN
from tocsin_collectors._mlflow import KEPT, Request, registry_request
from tocsin_collectors._mlflow_body import with_body

_WANTED = re.compile(r"(access|mlflow)[\w.-]*$", re.IGNORECASE)
_REQUEST = re.compile(
    r"(?P<method>[A-Z][A-Z_-]*) +(?P<target>\S(?:.*\S)?) *$"
)  # nginx reads several spaces as one
_UNUSUAL = re.compile(r"//|/\.|/$")
_PROTOCOL = re.compile(r" HTTP/\d(?:\.\d)? *$")
_MONTHS = "JanFebMarAprMayJunJulAugSepOctNovDec"
_KINDS = {
    "create": "creation", "upload": "creation", "delete": "deletion", "update": "change", "promote": "change",
    "set_tag": "change", "delete_tag": "change", "delete_alias": "change",
}  # fmt: skip
_BATCH = 20_000  # events, after the piece that reaches it
_RUN = 4 * 1024 * 1024
_DIGITS = 18  # of a size or a duration
_MILLIS = 1e11  # a larger number of seconds would be after the year 5000
_NUMBER, _STATUS = re.compile(r"\d{1,18}(?:\.\d+)?"), re.compile(r"\d{1,3}")


@dataclass(frozen=True, slots=True)
class Params:
    """Settings of the access log collector."""

    paths: tuple[str, ...] = param(
        doc="files, folders or globs; in a folder, files named *access* or *mlflow* are read"
    )
    service: str = param("", doc="name of the system that writes the log; becomes service.name")
    format: str = param(
        "",
        doc="the server's own `log_format`, `LogFormat` or `access_log_format`; if empty, the format is recognized",
    )
    zone: str = param("UTC", doc="time zone of lines without a time zone, such as Europe/Berlin")


@dataclass(slots=True)
class _Pending:
    checkpoint: dict[str, int] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)


class AccessLog(Collector[Params]):
    """Follows access logs in the common, combined and vhost_combined formats (nginx, Apache, gunicorn), in MLflow's
    format, in JSON, or in the format that `format` gives; also lines with the prefixes of syslog and of containers.

    Delivery: at least once, and the store drops repeated events: no line is lost or stored twice. If the position of the
    address or of the user in a line is not clear, the line is rejected with a reason. Paths of MLflow's REST API become
    registry actions. For other paths the action is the HTTP method. The event keeps only query parameters that name a
    resource, because other parameters may contain secrets. The names of models and versions are in the body of a request
    to MLflow: without the configuration in `deploy/nginx`, the log does not contain these names.
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
        try:
            self._format = parse_format(params.format) if params.format.strip() else None
        except (ValueError, re.error) as error:
            raise ConfigError(f"format: {error}", key="format") from None
        self._warned: set[str] = set()
        self._follower = Follower(self.id, lambda _: False, _RUN)

    def collect(self, resume: Resume) -> Iterator[Batch]:
        progress = Progress(resume)
        pending: dict[str, _Pending] = {}
        faults = Faults()
        for found in find(self.params.paths, _WANTED, self._warned, faults=faults):
            for piece in self._follower.pieces(found, "access", progress, faults):
                waiting = pending.setdefault(found.root, _Pending())
                self._add(piece, waiting)
                if len(waiting.events) + len(waiting.rejected) >= _BATCH:
                    yield self._batch(found.root, pending.pop(found.root))
        for root, waiting in pending.items():
            yield self._batch(root, waiting)
        faults.check()

    def check(self) -> None:
        faults = Faults()
        find(self.params.paths, _WANTED, set(), faults=faults)
        faults.check()

    def _add(self, piece: Piece, to: _Pending) -> None:
        if piece.key:
            to.checkpoint[piece.key] = piece.number
        if piece.rejected:
            to.rejected.append(piece.rejected)
        for at, line in whole(piece.split()):
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
        parts = self._parts(line)
        if not parts.get("time"):
            raise ValueError("the line has no time; add %(asctime)s to the server's log format")
        if not _STATUS.fullmatch(parts["status"]):
            raise ValueError(f"{parts['status'][:40]!r} is not an HTTP status")
        status = int(parts["status"])
        event = {
            "@timestamp": _time(parts["time"], self.params.zone),
            "event.id": hashlib.sha256(f"{key}\n{at}\n{line}".encode()).hexdigest()[:32],
            "event.outcome": "success" if 100 <= status < 400 else "failure",  # 0: the client went away
            "http.response.status_code": status,
            "user.id": _given(parts.get("user")),
            "user_agent.original": _given(parts.get("agent")),
            "service.name": self.params.service or None,
            **_request(
                parts.get("request") or f"{parts.get('method')} {parts.get('target')}",
                status,
                parts.get("body") or "",
            ),
            **_address(parts.get("address", ""), _given(parts.get("forwarded"))),
            **_rest(parts),
        }
        return {name: value for name, value in event.items() if value is not None}

    def _parts(self, line: str, *, inner: bool = False) -> Parts:
        """The fields of a line, by the setting `format` or by the known formats, behind the known prefixes."""
        for rest, time in without_prefix(line):
            parts = self._format.parse(rest) if self._format else recognized(rest)
            if parts is None and rest.startswith("{") and not inner:
                parts = self._object(rest)
            if parts is not None:
                return parts if parts.get("time") else {**parts, "time": time}
        raise ValueError(
            "the line does not have the format that the setting `format` gives"
            if self._format
            else f"not a line of {FORMATS}; the setting named format takes the server's own log format"
        )

    def _object(self, text: str) -> Parts:
        found = read_object(text)
        if (line := wrapped(found)) is None:
            return object_parts(found, self._format.keys if self._format else None)
        parts = self._parts(line[0], inner=True)
        return parts if parts.get("time") else {**parts, "time": line[1]}


def _request(line: str, status: int, body: str) -> dict[str, Any]:
    match = _REQUEST.match(_PROTOCOL.sub("", line))
    if match is None:
        return {"event.action": "malformed", "tocsin.resource.type": "http"}
    method = match["method"]
    target = re.sub(r"^https?://[^/]*", "", match["target"])
    path, _, text = target.partition("?")
    query: dict[str, str] = {}
    for name, value in parse_qsl(text):
        if name in KEPT:
            query.setdefault(name, value)  # the first one counts, as in Flask
    path = unquote(path)
    plain = path
    if _UNUSUAL.search(path):  # servers read // and /./ as /
        plain = f"/{posixpath.normpath(path).lstrip('/')}"
    names = with_body(method, plain, query, body)
    request = registry_request(method, plain, names) or Request(method.lower(), "http", path)
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


def _address(host: str, forwarded: str | None) -> dict[str, str | None]:
    """The client's address, or its name. A server behind a socket knows neither, so its proxy's list counts."""
    client, claimed = client_of(forwarded) if forwarded else (None, None)
    if host in ("", "-", "@") or host.startswith("unix:"):
        return {"source.ip": client, "network.forwarded_ip": claimed}
    if not is_address(host):
        return {"source.address": host, "network.forwarded_ip": claimed}
    return {"source.ip": canonical_address(host), "network.forwarded_ip": claimed}


def _rest(parts: Parts) -> dict[str, Any]:
    size, seconds = parts.get("bytes"), parts.get("seconds")
    if len(size or "") > _DIGITS or len(seconds or "") > _DIGITS:
        raise ValueError("a number in the line has too many digits")
    size, seconds = (text if text and _NUMBER.fullmatch(text) else None for text in (size, seconds))
    referrer = _given(parts.get("referrer"))
    return {
        "http.response.bytes": int(float(size)) if size else None,
        "http.request.referrer": referrer.partition("?")[0] if referrer else None,
        "event.duration": round(float(seconds) * 1e9) if seconds else None,
    }


def _given(text: str | None) -> str | None:
    return None if text in (None, "", "-") else text


@functools.lru_cache(maxsize=4096)  # many lines share a second
def _time(text: str, zone: str) -> str:
    given = text
    if text[2:3] == "/":  # 02/Mar/2026:09:31:44 +0100
        month = _MONTHS.find(text[3:6]) // 3 + 1
        text = f"{text[7:11]}-{month:02}-{text[:2]}T{text[12:20]}{text[20:].strip()}"
    try:
        if _NUMBER.fullmatch(text):  # seconds since 1970, or milliseconds
            seconds = float(text)
            time = datetime.fromtimestamp(seconds / 1000 if seconds > _MILLIS else seconds, UTC)
        else:
            time = datetime.fromisoformat(text.replace("/", "-").replace(",", ".").replace(" +", "+"))
    except (ValueError, OverflowError, OSError):
        raise ValueError(f"{given[:40]!r} is not a time of an access log") from None
    return format_time(time if time.tzinfo else time.replace(tzinfo=ZoneInfo(zone)))
