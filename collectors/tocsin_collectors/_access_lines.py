"""Reads the lines of access logs whose format is known: common, combined, vhost_combined, MLflow's, and JSON.

Only the server's own text decides where a field begins. The user name comes last before the time and may contain anything,
because a client chooses it. What stands before the address is either a prefix that is known (syslog, containers), or the
line is not read: a guess would make a principal of it.

Sources: Apache mod_log_config, nginx ngx_http_log_module, gunicorn's `access_log_format`, uvicorn; RFC 3164 and RFC 5424
(syslog), the log formats of Docker and of the Kubernetes CRI.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tocsin_collectors._addresses import is_address

#: The fields of a line by name, as text: `time`, `address`, `forwarded`, `user`, `request` or `method` and `target`,
#: `status`, `bytes`, `referrer`, `agent`, `seconds`, `body`. A field that the line does not have is missing or empty.
Parts = dict[str, str]

TEXT = r'[^"\\]*+(?:\\.[^"\\]*+)*+'
ISO = r"\d{4}[-/]\d\d[-/]\d\d[ T]\d\d:\d\d:\d\d(?:[.,]\d+)?(?: ?(?:Z|[+-]\d\d:?\d\d))?"
CLF = r"\d\d/[A-Z][a-z]{2}/\d{4}[: ]\d\d:\d\d:\d\d(?:\.\d+)?(?: [+-]\d{4})?"

_HEAD = re.compile(TEXT)
_TIME = re.compile(f"{CLF}|{ISO}")
_TAIL = re.compile(
    rf'"(?P<request>{TEXT})" (?P<status>\d{{3}}) (?P<bytes>\d+|-)'
    rf'(?: "(?P<referrer>{TEXT})" "(?P<agent>{TEXT})")?'
    rf'(?: "(?P<forwarded>[\da-fA-F:., -]*)")?(?: (?:\w+=)?"?(?P<seconds>\d+\.\d+)"?)?'
    rf'(?: body="(?P<body>{TEXT})")?(?: .*)?$'
)
_START = re.compile(rf'\[(?:{CLF}|{ISO})\] "')
_UVICORN = re.compile(rf"(?:\[?(?P<time>{ISO})\]? )?(?:\[?[A-Z]+\]?:?\s+)?(?P<address>\S*) - $")
_UVICORN_TAIL = re.compile(rf'"(?P<request>{TEXT})" (?P<status>\d{{3}})(?: .*)?$')
_WHO = re.compile(r"(?P<first>\S*) (?P<second>\S+) (?P<rest>.*)", re.DOTALL)
_LIST = re.compile(r"[^\s,]+(?:, ?[^\s,]+)+(?= )")
_HOST = re.compile(r"[\w-]+(?:\.[\w-]+)*\.?(?::\d{1,5})?|\*:\d{1,5}|-")
_NO_ADDRESS = re.compile(r"-?|unix:\S*|@")

_TAG = r"[\w./-]+(?:\[\d+\])?: "
_PREFIXES = tuple(
    re.compile(pattern)
    for pattern in (
        rf"(?P<time>{ISO}) std(?:out|err) (?P<tag>[FP]) ",  # the Kubernetes CRI
        rf"(?:<\d{{1,3}}>)?[A-Z][a-z]{{2}} [ \d]\d \d\d:\d\d:\d\d (?:\S+ )?{_TAG}",  # RFC 3164: no year, no time
        rf'<\d{{1,3}}>1 (?P<time>{ISO}) \S+ \S+ \S+ \S+ (?:-|(?:\[(?:[^"\]]|"[^"]*")*\])+) (?:\ufeff)?',  # RFC 5424
        rf"(?:<\d{{1,3}}>)?(?P<time>{ISO}) (?:\S+ )?{_TAG}",  # rsyslog, journalctl -o short-iso
        rf"(?P<time>{ISO})\t[\w.-]+\t",  # fluentd
        r"[\w.-]+ +\| ",  # docker compose
        r"\[[\w./-]+\] ",  # kubectl logs --prefix
        rf"(?P<time>{ISO}) ",  # docker logs --timestamps
        rf"(?:<\d{{1,3}}>)?{_TAG}",
    )
)
_DEPTH = 3
_CRI = re.compile(
    rb"(?P<head>\d{4}-\S+ (?P<stream>stdout|stderr) )(?:P |(?P<last>F ))(?P<text>.*)(?P<end>)", re.DOTALL
)
_DOCKER = re.compile(
    rb'(?P<head>\{"log":")(?P<text>(?:[^"\\]|\\.)*?)(?P<last>\\n)?(?P<end>","stream":"(?P<stream>\w+)".*)',
    re.DOTALL,
)

FORMATS = "the common, combined, vhost_combined, MLflow or JSON format"


class _Who(NamedTuple):
    address: str
    user: str
    forwarded: str = ""


def whole(lines: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    """Lines with their offsets, where the parts into which a container runtime splits a long line are joined again.

    Otherwise a client could keep a request out of the log by a long path. The offset is that of the first part.
    """
    # by format and stream: offset, head and text so far, and the end of the last part
    begun: dict[tuple[bool, bytes], tuple[int, bytes, bytes, bytes]] = {}
    for place, line in lines:
        match = _CRI.fullmatch(line) or _DOCKER.fullmatch(line)
        if match is None:
            yield place, line
            continue
        key, last = (match.re is _CRI, match["stream"]), match["last"]
        at, head, before, _ = begun.pop(key, (place, match["head"], b"", b""))
        text, end = before + match["text"], match["end"]
        if last:
            yield at, head + last + text if match.re is _CRI else head + text + last + end
        else:
            begun[key] = at, head, text, end
    for at, head, text, end in begun.values():  # a part without its rest; CRI's is rejected for its tag
        yield at, head + (b"" if end else b"P ") + text + end


def without_prefix(line: str) -> Iterator[tuple[str, str]]:
    """The line, then without each known prefix in front of it, and the time of the last prefix that has one.

    Raises:
        ValueError: the line is a part of a line.
    """
    time = ""
    for _ in range(_DEPTH):
        yield line, time
        match = next((m for prefix in _PREFIXES if (m := prefix.match(line))), None)
        if match is None:
            return
        found = match.groupdict()
        if found.get("tag") == "P":
            raise ValueError(
                "a part of a line that the container runtime has split; raise its limit of a line"
            )
        line, time = line[match.end() :], found.get("time") or time
    yield line, time


def recognized(line: str) -> Parts | None:
    """The fields of a line without a prefix; None if it has no known format."""
    quoted = _HEAD.match(line)
    end = quoted.end() if quoted else 0
    if line[:end].endswith("] "):
        return _combined(line, end)
    parts = _uvicorn(line, end)
    if parts is None and (starts := [match.end() - 1 for match in _START.finditer(line)]):
        parts = _combined(
            line, starts[0]
        )  # a quotation mark in the user name, which not every server escapes
        if parts is not None and len(starts) > 1:
            parts["user"] = ""  # it may be a part of a request that the client made up
    return parts


def _combined(line: str, at: int) -> Parts | None:
    head = line[:at]
    start = head.rfind(" [")
    time, tail = head[start + 2 : -2], _TAIL.match(line, at)
    who = _who(head[:start]) if start >= 0 else None
    if who is None or tail is None or not _TIME.fullmatch(time):
        return None
    parts = {name: value or "" for name, value in tail.groupdict().items()}
    forwarded = who.forwarded or parts["forwarded"]
    return {**parts, "time": time, "address": who.address, "user": who.user, "forwarded": forwarded}


def _uvicorn(line: str, at: int) -> Parts | None:
    before, tail = _UVICORN.match(line[:at]), _UVICORN_TAIL.match(line, at)
    if before is None or tail is None:
        return None
    address = before["address"]
    if address and not is_address(address) and not _HOST.fullmatch(address):
        return None
    return {**tail.groupdict(), "time": before["time"] or "", "address": address}


def _who(text: str) -> _Who | None:
    """Address and user of what stands before the time; None if it is not clear which the address is."""
    listed = _LIST.match(text) if "," in text else None
    if listed and all(is_address(i.strip()) or i.strip() in ("-", "unknown") for i in listed[0].split(",")):
        text = f"- {text[listed.end() + 1 :]}"
    match = _WHO.fullmatch(text)
    if match is None:
        return None
    first, second, rest = match.groups()
    forwarded = listed[0] if listed and first == "-" else ""
    if is_address(first):
        return _after_address(first, second, rest)
    if is_address(second):  # a virtual host or a list of proxies stands before the address
        clear = _HOST.fullmatch(first) and rest.startswith("- ")
        return _Who(second, _user(rest[2:]), forwarded) if clear else None
    if second != "-":
        return None
    if _NO_ADDRESS.fullmatch(first):
        return _Who("", _user(rest), forwarded)
    if is_address(rest):
        return _Who("", "")  # $remote_user before $remote_addr, or a user with the name of an address
    if _HOST.fullmatch(first) and not (" - " in rest and is_address(rest.split(" ", 1)[0])):
        return _Who(first, _user(rest))  # HostnameLookups
    return None


def _after_address(address: str, second: str, rest: str) -> _Who | None:
    if second == "-":
        return _Who(address, _user(rest))
    if is_address(second):
        return None
    rest = rest.removeprefix("- ")  # a virtual host, a request id or the like stands after the address
    return _Who(address, "" if " " in rest else rest)


def _user(text: str) -> str:
    """The user in the last field before the time; empty if the text may be more fields than the user alone."""
    unclear = text == '""' or text.startswith("- ") or text.endswith(" -") or " - " in text
    return "" if unclear else text
