"""Annotations from Elasticsearch: their request, and the events made of its answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.dashboards.datasources import Source
from tests.dashboards.interpolation import Values, replace
from tests.dashboards.ranges import Range

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Event:
    """One annotation on the panels."""

    time: object
    end: object
    text: str
    tags: tuple[str, ...]


def body(annotation: Mapping[str, Any], source: Source, of: Range, values: Values) -> Json:
    """The search for an annotation's events. Its settings stand in the annotation itself, not in its `target`."""
    field = annotation.get("timeField") or source.time_field
    within = {"gte": of.start, "lte": of.end, "format": "epoch_millis"}
    ranges: list[Json] = [{"range": {field: within}}]
    if annotation.get("timeEndField"):
        ranges.append({"range": {annotation["timeEndField"]: within}})
    filters: list[Json] = [{"bool": {"should": ranges, "minimum_should_match": 1}}]
    if query := replace(annotation.get("query") or "", values, "lucene"):
        filters.append({"query_string": {"query": query}})
    return {"query": {"bool": {"filter": filters}}, "size": 10000}


def events(annotation: Mapping[str, Any], source: Source, answer: Json) -> list[Event]:
    """What is drawn of the answer."""
    found = []
    for hit in answer["hits"]["hits"]:
        document = hit["_source"]
        tags = _field(document, annotation.get("tagsField"))
        found.append(
            Event(
                _field(document, annotation.get("timeField") or source.time_field),
                _field(document, annotation.get("timeEndField")),
                str(_field(document, annotation.get("textField"))),
                tuple(tags.split(",")) if isinstance(tags, str) and tags else tuple(tags or ()),
            )
        )
    return found


def _field(document: Any, name: str | None) -> Any:
    """A dotted name goes from object to object; a key that has dots in itself is not found (grafana#27989)."""
    for part in (name or "").split(".") if name else ():
        document = document.get(part) if isinstance(document, Mapping) else None
        if not document:
            return ""
    return document if name else ""
