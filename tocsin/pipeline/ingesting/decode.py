"""Decodes ndjson to columns, with a fast typed decoder for well-formed nested events and a lenient one for others.

Both return the same rows. The fast decoder (msgspec structs generated from the stream catalogue) accepts a run of lines
only if every event in it is nested, has values of the right types, has an `event.id` and has no unknown field. Any other
run is decoded line by line by the lenient decoder, which returns the reason if a line is not a valid event.
"""

from __future__ import annotations

import functools
import hashlib
import keyword
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from tocsin.contract.json_text import read_json
from tocsin.contract.streams import ID, INGESTED, STREAMS, UNMAPPED, Column, Type
from tocsin.pipeline.ingesting.casts import EventError, cast, kind

#: Runs of about this many bytes fit into the processor's cache (measured: 2.2 times faster than 4 MiB).
RUN = 256 * 1024
#: Fields that Tocsin sets. If an event contains them, their values are stored among its unmapped fields.
STAMPED = frozenset({INGESTED, UNMAPPED, "tocsin.source.id"})
_DEEPEST = 64

Row = tuple[Any, ...]


def columns_of(stream: str) -> tuple[Column, ...]:
    """The columns that an event may fill, in the order of a row; the unmapped fields are last."""
    given = tuple(c for c in STREAMS[stream].columns if c.name not in STAMPED)
    return (*given, STREAMS[stream].by_name[UNMAPPED])


def runs(lines: bytes) -> Iterator[tuple[int, bytes]]:
    """Cut whole lines into runs of about `RUN` bytes, each with its offset."""
    start = 0
    while start < len(lines):
        end = len(lines) if len(lines) - start <= RUN else lines.rfind(b"\n", start, start + RUN) + 1
        if end <= start:
            end = lines.find(b"\n", start) + 1 or len(lines)
        yield start, lines[start:end]
        start = end


# The fast decoder

_TYPES: Mapping[Type, Any] = {
    Type.KEYWORD: str | None,
    Type.TEXT: str | None,
    Type.LONG: int | None,
    Type.DOUBLE: float | None,
    Type.BOOLEAN: bool | None,
    Type.DATE: str | None,
    Type.IP: str | None,
    Type.JSON: msgspec.Raw,
    Type.KEYWORDS: list[str] | None,
    Type.DOUBLES: list[float] | None,
}


def fast(stream: str, run: bytes) -> list[Sequence[Any]] | None:
    """The columns of a run, in the order of a row, or None if it needs the lenient decoder."""
    decoder, root = _fast(stream)
    try:
        events = decoder.decode_lines(run)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    columns: list[Sequence[Any]] = [(None,) * len(events)] * len(columns_of(stream))
    if events:
        root.fill(columns, events)
        if "" in columns[_id_place(stream)]:  # an empty id counts as missing: the lenient decoder creates one
            return None
    return columns


@functools.cache
def _id_place(stream: str) -> int:
    return [column.name for column in columns_of(stream)].index(ID)


class _Branch:
    """One level of nesting: the places of its fields in a row, and its value if an event omits it."""

    def __init__(self, name: str, tree: Mapping[str, Any], places: Mapping[str, int]) -> None:
        self._leaves = [
            (operator.attrgetter(_attribute(key)), places[node.name])
            for key, node in tree.items()
            if isinstance(node, Column)
        ]
        self._branches = [
            (operator.attrgetter(_attribute(key)), _Branch(f"{name}_{_attribute(key)}", node, places))
            for key, node in tree.items()
            if not isinstance(node, Column)
        ]
        branches = iter(branch for _, branch in self._branches)
        fields: list[Any] = []
        for key, node in tree.items():
            if isinstance(node, Column):
                type_ = _TYPES[node.type]
                fields.append((_attribute(key), str) if node.name == ID else (_attribute(key), type_, None))
            else:
                inner = next(branches)
                absent = () if inner.absent is None else (inner.absent,)
                fields.append((_attribute(key), inner.struct, *absent))
        needed = any(len(f) == 2 for f in fields)  # this decoder rejects events without an id
        self.struct: type[Any] = msgspec.defstruct(
            f"Event_{name}",
            sorted(fields, key=len),
            rename={_attribute(key): key for key in tree},
            frozen=True,
            gc=False,
            forbid_unknown_fields=True,
        )
        self.absent: Any = None if needed else self.struct()

    def fill(self, columns: list[Sequence[Any]], events: Sequence[Any]) -> None:
        """Put the fields of the events into their columns; a branch that no event contains is skipped."""
        for get, place in self._leaves:
            columns[place] = list(map(get, events))
        for get, branch in self._branches:
            inner = list(map(get, events))
            absent = branch.absent
            if inner[0] is not absent or inner.count(absent) < len(inner):
                branch.fill(columns, inner)


@functools.cache
def _fast(stream: str) -> tuple[msgspec.json.Decoder[Any], _Branch]:
    tree: dict[str, Any] = {}
    columns = columns_of(stream)[:-1]
    for column in columns:
        *branches, leaf = column.name.split(".")
        node = tree
        for branch in branches:
            node = node.setdefault(branch, {})
        node[leaf] = column
    root = _Branch(stream, tree, {c.name: place for place, c in enumerate(columns)})
    return msgspec.json.Decoder(root.struct), root


def _attribute(key: str) -> str:
    name = key.replace("@", "at_")
    return f"{name}_" if keyword.iskeyword(name) else name


# The lenient decoder

Identify = Callable[[bytes], str]


def content_id(content: bytes) -> str:
    """An id derived from an event's content."""
    return hashlib.sha256(content).hexdigest()[:32]


def lenient(stream: str, line: bytes, identify: Identify = content_id) -> tuple[Row, dict[str, Any]]:
    """Decode one line to a row and its unmapped fields, which are not in the row because they may need protection.

    `identify` creates an id from the content of an event without one.

    Raises:
        EventError: the line is not a valid event of this stream; the message names the field.
    """
    try:
        event = read_json(line)
    except ValueError as error:
        raise EventError(str(error)) from None
    if not isinstance(event, dict):
        raise EventError(f"a JSON object is needed, not {kind(event)}")
    return shape(stream, event, identify)


def shape(
    stream: str, event: Mapping[str, Any], identify: Identify = content_id
) -> tuple[Row, dict[str, Any]]:
    """Convert one event to a row and its unmapped fields. Field names may be nested, dotted, or both.

    Raises:
        EventError: a known field has a value of the wrong type, or occurs twice.
    """
    columns = _wanted(stream)
    found: dict[str, Any] = {}
    unmapped: dict[str, Any] = {}
    for name, value in _flatten(event, columns):
        into = found if name in columns else unmapped
        if name in into:
            raise EventError(f"{name}: given twice, nested and dotted")
        into[name] = value
    if not found.get(ID):
        found[ID] = identify(_content(stream, found, unmapped))
    return tuple(cast(c, found.get(c.name)) for c in columns.values()) + (None,), unmapped


@functools.cache
def _wanted(stream: str) -> dict[str, Column]:
    return {c.name: c for c in columns_of(stream)[:-1]}


def _flatten(
    event: Mapping[str, Any], columns: Mapping[str, Column], prefix: str = "", depth: int = 0
) -> Iterator[tuple[str, Any]]:
    for key, value in event.items():
        if not isinstance(key, str):
            raise EventError(f"{prefix}: keys must be text")
        name = f"{prefix}{key}"
        inside = isinstance(value, Mapping) and value and name not in columns
        if inside and depth < _DEEPEST:
            yield from _flatten(value, columns, f"{name}.", depth + 1)
        elif value is not None:
            yield name, value


def _content(stream: str, found: Mapping[str, Any], unmapped: Mapping[str, Any]) -> bytes:
    try:
        return msgspec.json.encode([stream, found, unmapped], order="deterministic", enc_hook=str)
    except (TypeError, ValueError, RecursionError) as error:
        raise EventError(f"cannot be written as JSON: {error}") from None
