"""Reads lines by the server's own directive: nginx `log_format`, Apache `LogFormat`, gunicorn `access_log_format`.

A value in quotation marks ends at the next one, because servers escape quotation marks in values. Outside of quotation
marks only what a client cannot choose has a known shape. Where two values that a client chooses stand outside of quotation
marks and the line can be divided in more than one way, both are left out of the event: neither is believed.

Sources: nginx ngx_http_log_module and ngx_http_core_module; Apache mod_log_config; gunicorn settings.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from tocsin_collectors._access_lines import CLF, ISO, Parts

#: Formats that go by a name, as Apache writes them.
NAMED = {
    "common": '%h %l %u %t "%r" %>s %O',
    "combined": '%h %l %u %t "%r" %>s %O "%{Referer}i" "%{User-Agent}i"',
    "vhost_combined": '%v:%p %h %l %u %t "%r" %>s %O "%{Referer}i" "%{User-Agent}i"',
}  # fmt: skip
_NGINX = {
    "remote_addr": "address", "remote_user": "user", "time_local": "time", "time_iso8601": "time", "msec": "time",
    "request": "request", "request_method": "method", "request_uri": "target", "uri": "path", "args": "query",
    "query_string": "query", "is_args": "is_args", "status": "status", "body_bytes_sent": "bytes", "bytes_sent": "bytes",
    "http_referer": "referrer", "http_user_agent": "agent", "http_x_forwarded_for": "forwarded",
    "proxy_add_x_forwarded_for": "forwarded", "request_time": "seconds", "request_body": "body", "tocsin_body": "body",
}  # fmt: skip
_APACHE = {
    "a": "address", "h": "address", "u": "user", "t": "time", "r": "request", "m": "method", "U": "path", "q": "query",
    "s": "status", "b": "bytes", "B": "bytes", "O": "bytes", "D": "micros", "T": "seconds",
}  # fmt: skip
_GUNICORN = {**_APACHE, "f": "referrer", "a": "agent", "L": "seconds", "M": "millis"}
_HEADERS = {"referer": "referrer", "user-agent": "agent", "x-forwarded-for": "forwarded"}
_FREE = {"user", "request", "referrer", "agent", "forwarded", "path", "body", "other"}
_STRPTIME = {"%T": "%H:%M:%S", "%F": "%Y-%m-%d", "%R": "%H:%M", "%D": "%m/%d/%y", "%e": "%d"}

_ANY = r'(?:[^"\\]|\\.)*'  # of a value that stands in quotation marks, or that contains none
_WORD = r'[^\s"]*(?:(?:,| :) [^\s"]+)*'  # also a list, such as nginx writes for several upstreams
_SHAPES = {
    "address": r"\S*", "time": rf"{CLF}|{ISO}|\d+(?:\.\d+)?", "status": r"\d{1,3}", "bytes": r"\d+|-", "method": r"[^\s\"]+",
    "target": r"[^\s\"]+", "path": r"[^\"?]*", "query": r"\??[^\s\"]*", "is_args": r"\??",
    "seconds": r"\d+(?:\.\d+)?|-", "micros": r"\d+|-", "millis": r"\d+|-",
}  # fmt: skip
_NEEDED = ("time", "status")

_VARIABLE = re.compile(
    r"\$(?:\{(?P<braced>\w+)\}|(?P<nginx>\w+))"
    r"|%\((?P<gunicorn>\{[^}]*\}[ioe]|\w+)\)s"
    r"|%[!\d,]*[<>]?(?:\{(?P<argument>[^}]*)\})?(?P<apache>\^t[io]|[a-zA-Z])"
)
_QUOTED = re.compile(r"'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"", re.DOTALL)


class _Token(NamedTuple):
    """A literal text, or a value: its field, the pattern of its shape, and whether a client chooses it freely."""

    literal: str = ""
    field: str = ""
    pattern: str = ""
    free: bool = False


@dataclass(frozen=True, slots=True)
class Format:
    """A format that lines are read by. `keys` maps the keys of a JSON format to fields."""

    line: re.Pattern[str]
    between: re.Pattern[str] | None = None
    first: str = ""
    last: str = ""
    keys: dict[str, str] | None = None
    time: str = ""

    def parse(self, line: str) -> Parts | None:
        """The fields of a line; None if it does not have this format, or if the format is JSON."""
        match = None if self.keys else self.line.fullmatch(line)
        if match is None:
            return None
        parts = {name: value or "" for name, value in match.groupdict().items()}
        blob = parts.pop("blob", None)
        if blob is not None and self.between is not None:
            cuts = list(self.between.finditer(blob))
            if len(cuts) == 1:
                parts |= {
                    self.first: blob[: cuts[0].start()],
                    self.last: blob[cuts[0].end() :],
                    **cuts[0].groupdict(),
                }
        return finished(parts, self.time)


def finished(parts: Parts, time: str = "") -> Parts:
    """Fields in the units of `Parts`: a target from path and query, and a duration in seconds."""
    if "path" in parts and "target" not in parts:
        parts["target"] = parts["path"] + (
            "" if parts.get("query", "-") in ("", "-") else f"?{parts['query'].lstrip('?')}"
        )
    for name, scale in (("micros", 1e6), ("millis", 1e3)):
        if parts.get(name, "").isdecimal() and len(parts[name]) < 16:
            parts["seconds"] = str(int(parts[name]) / scale)
    if time and parts.get("time"):
        try:
            parts["time"] = datetime.strptime(parts["time"], time).isoformat()  # noqa: DTZ007 - `zone` is applied later
        except ValueError:
            raise ValueError(f"{parts['time'][:40]!r} is not a time of the form {time}") from None
    return parts


def parse_format(directive: str) -> Format:
    """A format from the server's directive, the text of the format alone, or its name.

    Raises:
        ValueError: the directive cannot be used; the message says why.
    """
    text = NAMED.get(directive.strip()) or _text(directive)
    keys = _json_keys(text) if text.lstrip().startswith("{") else None
    tokens, time = _tokens(text)
    fields = {t.field for t in tokens} if keys is None else set(keys.values())
    missing = [name for name in _NEEDED if name not in fields]
    if not fields & {"request", "method"} or not fields & {"request", "target", "path"}:
        missing.append("request")
    if missing:
        raise ValueError(f"the format has no {' and no '.join(missing)}; add it to the server's log format")
    free = [i for i, token in enumerate(tokens) if token.free]
    if keys is not None or len(free) < 2:
        return Format(_compiled(tokens), keys=keys, time=time)
    if len(free) > 2:
        raise ValueError(
            "more than two values that clients choose stand outside of quotation marks; quote them"
        )
    first, last = free
    blob = _Token(field="blob", pattern=_ANY)
    names = tokens[first].field, tokens[last].field
    between = _compiled(tokens[first + 1 : last], whole=False)
    return Format(_compiled([*tokens[:first], blob, *tokens[last + 1 :]]), between, *names, time=time)


def _text(directive: str) -> str:
    """The format in a directive."""
    given = directive.strip()
    if match := re.match(r"log_format\s+\S+\s+(?:escape=\w+\s+)?", given):
        parts = _QUOTED.findall(given[match.end() :])
        return re.sub(r"\\(['\"\\])", r"\1", "".join(a or b for a, b in parts)) or given[
            match.end() :
        ].rstrip("; ")
    if re.match(r"(?:LogFormat|CustomLog|TransferLog)\s", given, re.IGNORECASE):
        quoted = [b.replace('\\"', '"') for _, b in _QUOTED.findall(given) if "%" in b]
        return quoted[-1] if quoted else given
    return given.replace('\\"', '"')


def _tokens(text: str) -> tuple[list[_Token], str]:
    """The literals and values of a format, and the strptime format of its time if that is Apache's `%{...}t`."""
    tokens, at, time, seen = list[_Token](), 0, "", set[str]()
    for match in _VARIABLE.finditer(text):
        field, argument = _field(match), match["argument"] or ""
        quoted = text[: match.start()].endswith('"') and text[match.end() :].startswith('"')
        pattern = _ANY if quoted else _SHAPES.get(field, _ANY if field in _FREE else _WORD)
        around = ("", "")
        if field == "time" and "%" in argument:
            time = re.sub("%[TFRDe]", lambda m: _STRPTIME[m[0]], re.sub("^(begin|end):", "", argument))
            pattern = re.sub("%[a-zA-Z]", r"[\\w+.-]+", re.escape(time))
        elif field == "time" and not argument and match[0][0] == "%":
            around = ("[", "]")
        named = "" if field in seen else field  # the first of two values of one field counts
        seen.add(field)
        tokens.append(_Token(text[at : match.start()] + around[0]))
        tokens.append(_Token("", named, pattern, field in _FREE and not quoted))
        tokens.append(_Token(around[1]))
        at = match.end()
    return [*tokens, _Token(text[at:].rstrip())], time


def _field(match: re.Match[str]) -> str:
    """The field of a value; `other` for a header that a client chooses, empty for what is not read."""
    if name := match["nginx"] or match["braced"]:
        free = name.startswith(("http_", "arg_", "cookie_")) and name != "http_host"
        return _NGINX.get(name, "other" if free else "")
    if name := match["gunicorn"]:
        if name.startswith("{"):
            return _HEADERS.get(name[1:-2].lower(), "other")
        return _GUNICORN.get(name, "")
    letter, argument = match["apache"], (match["argument"] or "").lower()
    if letter in "ieoCn":
        return _HEADERS.get(argument, "other") if letter == "i" else "other"
    if letter == "t" and argument in {"sec", "msec", "usec", "msec_frac", "usec_frac"}:
        return "time" if argument == "sec" else ""
    if letter == "T" and argument:
        return {"us": "micros", "ms": "millis", "s": "seconds"}.get(argument, "")
    return "" if letter == "a" and argument == "c" else _APACHE.get(letter, "")


def _json_keys(text: str) -> dict[str, str]:
    """The field of each key of a JSON format."""
    pairs = re.findall(r'"([^"]+)"\s*:\s*"?([^",}]*)', text)
    found = {key: _VARIABLE.fullmatch(value.strip()) for key, value in pairs}
    return {
        key: name for key, match in found.items() if match and (name := _field(match)) not in ("", "other")
    }


def _compiled(tokens: list[_Token], *, whole: bool = True) -> re.Pattern[str]:
    parts = []
    for token in tokens:
        if token.literal:
            parts.append(re.escape(token.literal))
        elif token.pattern:
            group = f"?P<{token.field}>" if token.field not in ("", "other") else "?:"
            parts.append(f"({group}{token.pattern})")
    return re.compile("".join(parts) + (r"\s*" if whole else ""))
