"""Template variables in texts, as Grafana's template service and its Elasticsearch data source put them in.

Written from what the documentation says of the formats, and from what queries look like on the wire.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from tests.dashboards.datasources import NotEmulated
from tests.dashboards.ranges import Interval, Range

REFERENCE = re.compile(
    r"\$(\w+)|\[\[(\w+?)(?::(\w+))?\]\]|\$\{(\w+)(?:\.([^:^}]+))?(?::([^}]+))?\}",
    re.ASCII,
)
ALL = "$__all"
_LUCENE = re.compile(r'([!*+\-=<>\s&|()\[\]{}^~?:\\/"])')
_REGEX = re.compile(r"([\\^$*+?.()|\[\]{}/])")


@dataclass(frozen=True, slots=True)
class Value:
    """What a variable stands for: one text, or several where it is a multi-value one."""

    value: str | tuple[str, ...]
    raw: bool = False  # a custom "all" value: goes in as it is
    text: str = ""

    @property
    def values(self) -> tuple[str, ...]:
        """Always several."""
        return (self.value,) if isinstance(self.value, str) else self.value


Values = Mapping[str, Value]


def lucene_escape(text: str) -> str:
    """Every character that the query string's syntax knows, escaped."""
    return _LUCENE.sub(r"\\\1", text)


def regex_escape(text: str) -> str:
    """Every character that regular expressions know, escaped."""
    return _REGEX.sub(r"\\\1", text)


def replace(text: str, values: Values, default: str = "glob") -> str:
    """A text with its variables put in; a variable that is not known stays as it is written.

    Raises:
        NotEmulated: a format is asked for that is not emulated.
    """

    def put(found: re.Match[str]) -> str:
        name = found[1] or found[2] or found[4]
        value = values.get(name)
        if value is None:
            return found[0]
        if found[5]:
            raise NotEmulated(f"the field path of {found[0]}")
        return formatted(name, value, found[3] or found[6] or default)

    return REFERENCE.sub(put, text)


def references(text: str) -> set[str]:
    """The names of the variables that a text uses."""
    return {found[1] or found[2] or found[4] for found in REFERENCE.finditer(text)}


def formatted(name: str, value: Value, format: str) -> str:
    """A value in one of the formats of the documentation.

    Raises:
        NotEmulated: it is not one of those that are emulated.
    """
    if format == "text":
        return value.text or ",".join(value.values)
    if value.raw and format != "percentencode":
        return str(value.value)
    if format.startswith("date"):
        return _date(value, format.partition(":")[2])
    try:
        return _FORMATS[format](name, value.value)
    except KeyError:
        raise NotEmulated(f"the variable format {format!r} of {name}") from None


def _lucene(_: str, value: str | tuple[str, ...]) -> str:
    if isinstance(value, str):
        return lucene_escape(value)
    if not value:
        return "__empty__"
    return "(" + " OR ".join(f'"{lucene_escape(part)}"' for part in value) + ")"


def _regex(_: str, value: str | tuple[str, ...]) -> str:
    if isinstance(value, str):
        return regex_escape(value)
    parts = [regex_escape(part) for part in value]
    return parts[0] if len(parts) == 1 else f"({'|'.join(parts)})"


def _glob(_: str, value: str | tuple[str, ...]) -> str:
    if isinstance(value, str):
        return value
    return value[0] if len(value) == 1 else f"{{{','.join(value)}}}"


def _joined(by: str, before: str = "", after: str = "") -> Callable[[str, str | tuple[str, ...]], str]:
    def join(_: str, value: str | tuple[str, ...]) -> str:
        return by.join(f"{before}{part}{after}" for part in ((value,) if isinstance(value, str) else value))

    return join


def _query_parameters(name: str, value: str | tuple[str, ...]) -> str:
    parts = (value,) if isinstance(value, str) else value
    return "&".join(f"{quote(f'var-{name}', safe='')}={quote(part, safe='')}" for part in parts)


_FORMATS: Mapping[str, Callable[[str, str | tuple[str, ...]], str]] = {
    "lucene": _lucene,
    "regex": _regex,
    "glob": _glob,
    "raw": _joined(","),
    "csv": _joined(","),
    "pipe": _joined("|"),
    "doublequote": _joined(",", '"', '"'),
    "singlequote": _joined(",", "'", "'"),
    "json": lambda _, value: json.dumps(value, separators=(",", ":"), ensure_ascii=False),
    "queryparam": _query_parameters,
    "percentencode": lambda name, value: quote(_glob(name, value), safe=""),
}


def _date(value: Value, pattern: str) -> str:
    at = datetime.fromtimestamp(int(str(value.value)) / 1000, UTC)
    if pattern in ("", "iso"):
        return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if pattern == "seconds":
        return str(int(at.timestamp()))
    raise NotEmulated(f"the date format {pattern!r}")


def built_in(range: Range, interval: Interval) -> dict[str, Value]:
    """The variables that Grafana itself sets for a panel's queries."""
    seconds = range.length // 1000
    return {
        "__interval": Value(interval.text),
        "__interval_ms": Value(str(interval.milliseconds)),
        "__from": Value(str(range.start)),
        "__to": Value(str(range.end)),
        "__range": Value(f"{seconds}s"),
        "__range_s": Value(str(seconds)),
        "__range_ms": Value(str(range.length)),
        "__rate_interval": Value(f"{max(interval.milliseconds // 1000 + 15, 60)}s"),
    }


def with_filters(query: str, filters: Sequence[Mapping[str, Any]]) -> str:
    """A query with the ad-hoc filters behind it: `AND key:"value"` and so on.

    Raises:
        NotEmulated: a filter has an operator that is not emulated.
    """
    for filter in filters:
        key, value = str(filter["key"]), str(filter["value"])
        if key and value:
            part = _filter(key.replace(":", r"\:"), value, str(filter["operator"]))
            query = part if not query.strip() else f"{query} AND {part}"
    return query


def _filter(key: str, value: str, operator: str) -> str:
    phrase = value.replace("\\", "\\\\").replace('"', '\\"')
    match operator:
        case "=":
            return f'{key}:"{phrase}"'
        case "!=":
            return f'-{key}:"{phrase}"'
        case "=~":
            return f"{key}:/{value}/"
        case "!~":
            return f"-{key}:/{value}/"
        case ">" | "<":
            return f"{key}:{operator}{phrase}"
    raise NotEmulated(f"the ad-hoc operator {operator!r}")
