"""Elasticsearch's index templates, generated from the catalogue of streams.

One data stream for each stream: `logs-tocsin.access-default`. Mappings are explicit and closed (`dynamic: false`): what
the catalogue does not name is in `tocsin.unmapped`, one flattened field, so no source can grow the mapping.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from tocsin.contract.streams import LONGEST_KEYWORD, STREAMS, Column, Stream, Type

#: Above the built-in templates for `logs-*-*` (100).
PRIORITY = 250
#: What this code writes. A newer template is left alone, an older one is replaced.
VERSION = 1
#: Feature vectors are also filled into numbered fields, so that one feature has a histogram (decision 2).
SLOTS = 256
VECTOR, SLOT, COUNT = "tocsin.features.values", "tocsin.features.slot", "tocsin.features.count"

_FIELDS: Mapping[Type, Mapping[str, Any]] = {
    Type.KEYWORD: {"type": "keyword", "ignore_above": LONGEST_KEYWORD},
    Type.KEYWORDS: {"type": "keyword", "ignore_above": LONGEST_KEYWORD},
    Type.TEXT: {"type": "text"},
    Type.LONG: {"type": "long"},
    Type.DOUBLE: {"type": "double"},
    Type.BOOLEAN: {"type": "boolean"},
    Type.DATE: {"type": "date_nanos"},  # `date` would cut event times to milliseconds
    Type.IP: {"type": "keyword", "ignore_above": LONGEST_KEYWORD},  # may be a pseudonym
    Type.JSON: {"type": "flattened", "depth_limit": 20, "ignore_above": LONGEST_KEYWORD},
    Type.DOUBLES: {"type": "double", "index": False, "doc_values": False},  # a list keeps no order there
}


def name(stream: str, namespace: str) -> str:
    """The data stream of a stream: type, dataset and namespace."""
    kind = "metrics" if STREAMS[stream].constants.get("event.kind") == "metric" else "logs"
    return f"{kind}-tocsin.{stream}-{namespace}"


def template(stream: str, namespace: str, retention: timedelta, shards: int, replicas: int) -> dict[str, Any]:
    """The composable index template of one stream, as `PUT _index_template` takes it."""
    found = STREAMS[stream]
    settings: dict[str, Any] = {
        "number_of_shards": shards,
        "number_of_replicas": replicas,
        "mapping": {"source": {"mode": "stored"}},  # what was written is read back, but for white space
    }
    if not found.internal:
        settings["mode"] = "logsdb"
    body = {
        "settings": {"index": settings},
        "mappings": {"dynamic": False, "properties": properties(found)},
        "lifecycle": {"data_retention": f"{-(-retention // timedelta(days=1))}d"},
    }
    meta = {"version": VERSION, "digest": digest(body)}
    return {
        "index_patterns": [name(stream, namespace)],
        "priority": PRIORITY,
        "data_stream": {},
        "template": body,
        "meta": {"managed_by": "tocsin", **meta},
    }


def properties(stream: Stream) -> dict[str, Any]:
    """The mapping of a stream's columns, dotted names nested."""
    tree = fields(stream.columns, ())
    if VECTOR in stream.by_name:
        _put(tree, COUNT, {"type": "long"})
        for place in range(SLOTS):
            _put(tree, f"{SLOT}.{place:03d}", {"type": "double", "index": False})
    return tree


def fields(columns: Iterable[Column], ranges: Iterable[str]) -> dict[str, Any]:
    """The mapping of columns of any kind, and of date ranges by their names, dotted names nested."""
    tree: dict[str, Any] = {}
    for column in columns:
        _put(tree, column.name, dict(_FIELDS[column.type]))
    for name_ in ranges:
        _put(tree, name_, {"type": "date_range"})
    return tree


def digest(body: Mapping[str, Any]) -> str:
    """A short digest of a template's content: what `tocsin store status` compares."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:16]


def in_doc_values(column: Column) -> bool:
    """Whether a column can be read without its documents: one value, kept as it was written."""
    return column.type in (Type.KEYWORD, Type.LONG, Type.DOUBLE, Type.BOOLEAN, Type.DATE, Type.IP)


def _put(tree: dict[str, Any], dotted: str, field: Mapping[str, Any]) -> None:
    *branches, leaf = dotted.split(".")
    for branch in branches:
        tree = tree.setdefault(branch, {}).setdefault("properties", {})
    tree[leaf] = field
