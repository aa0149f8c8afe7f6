"""Opens the envelopes in which tools deliver CloudTrail records.

Sources: the log files of CloudTrail (`Records`), `aws cloudtrail lookup-events` (`Events[].CloudTrailEvent`), EventBridge
(`detail`), subscriptions and exports of CloudWatch Logs (`logEvents[].message`, `events[].message`), its query results
(`results[][].value` of `@message`), queries of CloudTrail Lake (`eventJson`), and Firehose, which concatenates objects.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec

#: What decoding raises for a text that is not JSON, or not of the expected shape.
JSON_FAULTS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
#: The time that an export of CloudWatch Logs writes before each message.
EXPORTED = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z (?=\{)")

_LISTS = ("Events", "events", "logEvents", "results", "Entries")
_TEXTS = ("CloudTrailEvent", "eventJson", "message", "@message", "Message", "body")
_DEEPEST = 6
_BLANK = re.compile(r"\s*")
_START = re.compile(rf"(?<=\n)(?:[{{\[]|{EXPORTED.pattern})")
_LIST = re.compile(rb'\s*(?:\{\s*"Records"\s*:\s*)?\[')
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[\]{}]', re.DOTALL)
_END = re.compile(rb"\]\s*\}?\s*")
_DECODER = json.JSONDecoder()


class _Records(msgspec.Struct):
    Records: list[msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET


class _Named(msgspec.Struct, rename={"name": "eventName"}):
    name: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


def unpacked(data: bytes) -> Iterator[bytes]:
    """The records in a JSON text: of `{"Records": [...]}`, of an array, of envelopes, or the one object itself.

    Raises:
        DecodeError, UnicodeDecodeError, RecursionError: the text is not JSON, or `Records` is not a list.
    """
    if data.lstrip()[:1] == b"[":
        items = [bytes(raw) for raw in msgspec.json.decode(data, type=list[msgspec.Raw])]
    else:
        records = msgspec.json.decode(data, type=_Records).Records
        items = [data] if records is msgspec.UNSET else [bytes(raw) for raw in records]
        if not items and msgspec.json.decode(data, type=_Named).name is not msgspec.UNSET:
            items = [data]  # a record that also has an empty list
    for item in items:
        yield from _opened(item)


def split(data: bytes) -> list[bytes]:
    """The records of `{"Records": [...]}` or of an array, by brackets alone: one may be what no decoder reads.

    Empty if the list has no end or a single record, or if more than brackets follow it.
    """
    begin = _LIST.match(data)
    depth, start, found = 0, 0, list[bytes]()
    for token in _TOKEN.finditer(data, begin.end()) if begin else ():
        if token[0] in (b"{", b"["):
            start = start if depth else token.start()
            depth += 1
        elif token[0] in (b"}", b"]"):
            depth -= 1
            if depth < 0:
                whole = _END.fullmatch(data, token.start())
                return (
                    [record for item in found for record in _opened(item)] if whole and len(found) > 1 else []
                )
            if not depth:
                found.append(data[start : token.end()])
    return []


def sequence(data: bytes) -> Iterator[tuple[int, bytes, str]]:
    """The records in JSON texts that follow each other, on lines of their own or not, each with its line number.

    A part that is not JSON, up to the next line that begins with a bracket or a time, is returned with a reason.
    """
    text = data.decode("utf-8", "surrogateescape")
    at, number = 0, 1
    while (start := _past(_BLANK, text, at)) < len(text):
        number += text.count("\n", at, start)
        at = _past(EXPORTED, text, start)
        try:
            end, records = _next(text, at)
        except (ValueError, *JSON_FAULTS) as error:
            following = _START.search(text, at + 1)
            end = following.start() if following else len(text)
            yield number, text[at:end].encode("utf-8", "surrogateescape"), f"not JSON, or cut short: {error}"
        else:
            for record in records:
                yield number, record, ""
        number += text.count("\n", at, end)
        at = end


def _next(text: str, at: int) -> tuple[int, list[bytes]]:
    """The end of the JSON text at an offset, and its records: of one line if that is a text, else of several."""
    newline = text.find("\n", at)
    end = len(text) if newline < 0 else newline
    try:
        return end, list(unpacked(text[at:end].encode("utf-8", "surrogateescape")))
    except JSON_FAULTS:
        if text[at] not in "{[":
            raise
    _, end = _DECODER.raw_decode(text, at)
    return end, list(unpacked(text[at:end].encode("utf-8", "surrogateescape")))


def _past(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return match.end() if match else at


def _opened(item: bytes) -> Iterator[bytes]:
    """A record, or the records in the envelope that this object is."""
    try:
        if item.lstrip()[:1] == b"{" and msgspec.json.decode(item, type=_Named).name is not msgspec.UNSET:
            yield item
            return
        value = msgspec.json.decode(item)
    except JSON_FAULTS:
        yield item  # the caller rejects it with its reason
        return
    inner = list(_inside(value, 0))
    yield from [item] if inner == [value] else map(msgspec.json.encode, inner)


def _inside(value: Any, depth: int) -> Iterator[Any]:
    """The innermost objects of nested envelopes, and the texts that are not JSON."""
    if isinstance(value, str):
        try:
            value = msgspec.json.decode(value)
        except JSON_FAULTS:
            yield value
            return
    if isinstance(value, list) and depth < _DEEPEST:
        fields = [item for item in value if isinstance(item, dict) and item.get("field") == "@message"]
        for item in fields or value:
            yield from _inside(item["value"] if fields and "value" in item else item, depth + 1)
        return
    inner = None if not isinstance(value, dict) or depth >= _DEEPEST else _content(value)
    if inner is None:
        yield value
    else:
        yield from _inside(inner, depth + 1)


def _content(value: dict[str, Any]) -> Any:
    """What an envelope contains; None for an object that is not an envelope."""
    if "eventName" in value or "insightDetails" in value or value.get("messageType") == "CONTROL_MESSAGE":
        return None
    if isinstance(value.get("detail"), dict) and "detail-type" in value:
        return value["detail"]
    for name in ("Records", *_LISTS):
        if isinstance(value.get(name), list):
            return value[name]
    return next((value[name] for name in _TEXTS if isinstance(value.get(name), str)), None)
