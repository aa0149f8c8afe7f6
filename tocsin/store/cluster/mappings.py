"""Elasticsearch index templates, generated from the catalogue of streams.

Each stream is one data stream, such as `logs-tocsin.access-default`. Mappings are explicit (`dynamic: false`): fields
that the catalogue does not define are stored in `tocsin.unmapped`, one flattened field, so that no source can enlarge
the mapping.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from tocsin.contract.streams import LONGEST_KEYWORD, STREAMS, Column, Stream, Type

#: Higher than the priority of the built-in templates for `logs-*-*` (100).
PRIORITY = 250
#: The version of the templates that this code writes. A newer template is not changed, an older one is replaced.
VERSION = 1
#: The first values of a feature vector are also written to numbered fields, so that Elasticsearch can compute a
#: histogram of one feature (decision 2).
SLOTS = 256
VECTOR, SLOT, COUNT = "tocsin.features.values", "tocsin.features.slot", "tocsin.features.count"

_FIELDS: Mapping[Type, Mapping[str, Any]] = {
    Type.KEYWORD: {"type": "keyword", "ignore_above": LONGEST_KEYWORD},
    Type.KEYWORDS: {"type": "keyword", "ignore_above": LONGEST_KEYWORD},
    Type.TEXT: {"type": "text"},
    Type.LONG: {"type": "long"},
    Type.DOUBLE: {"type": "double"},
    Type.BOOLEAN: {"type": "boolean"},
    Type.DATE: {"type": "date_nanos"},  # `date` would truncate event times to milliseconds
    Type.IP: {"type": "keyword", "ignore_above": LONGEST_KEYWORD},  # not `ip`: it may be a pseudonym
    Type.JSON: {"type": "flattened", "depth_limit": 20, "ignore_above": LONGEST_KEYWORD},
    Type.DOUBLES: {"type": "double", "index": False, "doc_values": False},  # doc values do not preserve order
}


def name(stream: str, namespace: str) -> str:
    """The name of a stream's data stream: type, dataset and namespace."""
    kind = "metrics" if STREAMS[stream].constants.get("event.kind") == "metric" else "logs"
    return f"{kind}-tocsin.{stream}-{namespace}"


def template(stream: str, namespace: str, retention: timedelta, shards: int, replicas: int) -> dict[str, Any]:
    """The composable index template of one stream, as arguments of `put_index_template`."""
    found = STREAMS[stream]
    settings: dict[str, Any] = {
        "number_of_shards": shards,
        "number_of_replicas": replicas,
        "mapping": {
            "source": {"mode": "stored"}
        },  # documents are returned as written, except for white space
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
    """The mapping of a stream's columns, with dotted names as nested objects."""
    tree = fields(stream.columns, ())
    if VECTOR in stream.by_name:
        _put(tree, COUNT, {"type": "long"})
        for slot in slots(SLOTS):
            _put(tree, slot, {"type": "double", "index": False})
    return tree


def fields(columns: Iterable[Column], ranges: Iterable[str]) -> dict[str, Any]:
    """The mapping of columns and of date ranges, with dotted names as nested objects."""
    tree: dict[str, Any] = {}
    for column in columns:
        _put(tree, column.name, dict(_FIELDS[column.type]))
    for name_ in ranges:
        _put(tree, name_, {"type": "date_range"})
    return tree


def slots(width: int) -> list[str]:
    """The fields of the first values of a vector, at most `SLOTS`."""
    return [f"{SLOT}.{place:03d}" for place in range(min(width, SLOTS))]


def digest(body: Mapping[str, Any]) -> str:
    """A short digest of a template's content, stored in the template's metadata."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:16]


def in_doc_values(column: Column) -> bool:
    """Whether a column can be read from doc values instead of documents: they store its one value unchanged."""
    return column.type in (Type.KEYWORD, Type.LONG, Type.DOUBLE, Type.BOOLEAN, Type.DATE, Type.IP)


def _put(tree: dict[str, Any], dotted: str, field: Mapping[str, Any]) -> None:
    *branches, leaf = dotted.split(".")
    for branch in branches:
        tree = tree.setdefault(branch, {}).setdefault("properties", {})
    tree[leaf] = field
