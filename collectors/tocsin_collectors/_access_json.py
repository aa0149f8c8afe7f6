"""Reads access logs in JSON, with the keys that nginx configurations, Caddy, Traefik, Envoy and ECS use."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from tocsin_collectors._access_format import finished
from tocsin_collectors._access_lines import Parts

#: The keys of each field, in lower case and with _ for -; the first one that is present counts.
_KEYS: Mapping[str, tuple[str, ...]] = {
    "time": ("@timestamp", "time_iso8601", "time_local", "time", "timestamp", "ts", "start_time", "startutc", "datetime",
             "date", "msec"),
    "address": ("remote_addr", "source.ip", "client.ip", "request.client_ip", "request.remote_ip", "client_ip", "clientip",
                "remote_ip", "remoteip", "remoteaddr", "clienthost", "downstream_remote_address", "remote_host",
                "source.address", "client.address", "client", "ip"),
    "user": ("remote_user", "user.name", "user.id", "user", "user_id", "username", "auth_user", "clientusername",
             "remoteuser"),
    "request": ("request", "request_line", "http_request", "r"),
    "method": ("request_method", "http.request.method", "request.method", "method", "http_method", "requestmethod", "verb"),
    "target": ("request_uri", "url.original", "request.uri", "requesturi", "requestpath", "uri", "url", "url.path", "path",
               "uri_path", "x_envoy_original_path"),
    "query": ("query_string", "url.query", "args", "query"),
    "status": ("status", "http.response.status_code", "response.status", "status_code", "response_code", "downstreamstatus",
               "http.status_code", "code"),
    "bytes": ("body_bytes_sent", "http.response.body.bytes", "http.response.bytes", "bytes_sent", "downstreamcontentsize",
              "bytes_out", "response_size", "resp_body_size", "bytes", "size"),
    "referrer": ("http_referer", "http_referrer", "http.request.referrer", "request.headers.referer", "request_referer",
                 "referer", "referrer"),
    "agent": ("http_user_agent", "user_agent.original", "request.headers.user_agent", "request_user_agent", "user_agent",
              "useragent", "agent"),
    "forwarded": ("http_x_forwarded_for", "x_forwarded_for", "request.headers.x_forwarded_for", "request_x_forwarded_for",
                  "xff", "forwarded_for"),
    "seconds": ("request_time",),
    "body": ("request_body", "tocsin_body"),
}  # fmt: skip
#: Keys under which a container runtime or journald wraps the line of the server, and the time of that wrapper.
_WRAPPED, _WRITTEN = ("log", "message", "msg"), ("time", "@timestamp", "timestamp")
_HEX = re.compile(r"\\x([0-9A-Fa-f]{2})")
_DEEPEST = 4


def read_object(line: str) -> dict[str, Any]:
    r"""The JSON object of a line, flattened to dotted keys. nginx's `\xHH`, which is not JSON, is read as well.

    Raises:
        ValueError: the line is not a JSON object, or a key occurs twice.
    """
    try:
        try:
            value = _loads(line)
        except json.JSONDecodeError:
            value = _loads(_HEX.sub(r"\\u00\1", line))
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error}; set `escape=json` in nginx's log_format") from None
    except RecursionError:
        raise ValueError("not JSON: nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("a JSON object is needed")  # noqa: TRY004
    return dict(_flat(value, "", 0))


def wrapped(found: Mapping[str, Any]) -> tuple[str, str] | None:
    """The server's own line in an object of a container runtime or of journald, and the time of that object."""
    by_key = _folded(found)
    if _first(by_key, "status") or not (line := next((by_key[k] for k in _WRAPPED if k in by_key), None)):
        return None
    time = next((by_key[name] for name in _WRITTEN if name in by_key), "")
    return (str(line).rstrip("\r\n"), str(time)) if isinstance(line, str) else None


def object_parts(found: Mapping[str, Any], keys: Mapping[str, str] | None = None) -> Parts:
    """The fields of an object, by the keys of a format or by well-known keys.

    Raises:
        ValueError: a field that an event needs is missing; the message names it.
    """
    if keys is not None:
        parts = {field: _text(found[key]) for key, field in keys.items() if key in found}
    else:
        by_key = _folded(found)
        parts = {field: _text(value) for field in _KEYS if (value := _first(by_key, field)) is not None}
        if "method" in parts and "target" in parts:
            parts.pop("request", None)
        if "query" in parts and "?" not in parts.get("target", "?"):
            parts["path"] = parts.pop("target")
    parts = finished({name: "" if text == "-" else text for name, text in parts.items()})
    missing = [name for name in ("time", "status") if not parts.get(name)]
    if not parts.get("request") and not (parts.get("method") and parts.get("target")):
        missing.append("request")
    if missing:
        raise ValueError(
            f"the JSON object has no {' and no '.join(missing)}; set `format` to the server's log format"
        )
    return parts


def _loads(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_once, parse_constant=lambda _: None)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):  # a client can add a key where the server does not escape quotation marks
        raise ValueError("a key occurs twice in the JSON object; set `escape=json` in nginx's log_format")
    return found


def _flat(value: Mapping[str, Any], prefix: str, depth: int) -> Iterator[tuple[str, Any]]:
    for key, inner in value.items():
        if isinstance(inner, dict) and depth < _DEEPEST:
            yield from _flat(inner, f"{prefix}{key}.", depth + 1)
        elif inner is not None:
            yield f"{prefix}{key}", inner


def _folded(found: Mapping[str, Any]) -> dict[str, Any]:
    folded: dict[str, Any] = {}
    for key, value in found.items():
        folded.setdefault(key.lower().replace("-", "_"), value)
    return folded


def _first(by_key: Mapping[str, Any], field: str) -> Any:
    return next((by_key[key] for key in _KEYS[field] if key in by_key), None)


def _text(value: Any) -> str:
    if isinstance(value, list):
        value = value[0] if value else ""
    return "" if value is None or isinstance(value, dict | bool) else str(value)
