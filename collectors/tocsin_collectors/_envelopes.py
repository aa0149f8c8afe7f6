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
EXPORTED = re.compile(rb"^\d{4}-\d\d-\d\dT[\d:.]+Z (?=\{)")

_LISTS = ("Events", "events", "logEvents", "results", "Entries")
_TEXTS = ("CloudTrailEvent", "eventJson", "message", "@message", "Message", "body")
_DEEPEST = 6
_BLANK = re.compile(r"\s*")


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
    for item in items:
        yield from _opened(item)


def concatenated(data: bytes) -> tuple[list[bytes], int]:
    """The records in JSON texts that follow each other without a separator, and the offset at which no JSON follows."""
    text = data.decode("utf-8", "surrogateescape")
    read, at, records = json.JSONDecoder().raw_decode, 0, list[bytes]()
    while at < len(text):
        try:
            blank = _BLANK.match(text, at)
            _, end = read(text, blank.end() if blank else at)
            records += unpacked(text[at:end].encode("utf-8", "surrogateescape"))
        except (ValueError, *JSON_FAULTS):
            break
        at = end
    return records, len(text[:at].encode("utf-8", "surrogateescape"))


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
