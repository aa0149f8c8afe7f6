"""Conditions as the filters of an Elasticsearch query."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from tocsin.clock import EPOCH
from tocsin.contract.query import Condition, Where
from tocsin.contract.streams import TIME
from tocsin.store.cluster.mappings import COUNT, VECTOR

_TERMS = 65_536  # values of one terms query, by default
_LATEST = datetime(2262, 4, 11, tzinfo=UTC)


def filters(start: Any, end: Any, where: Where) -> list[Any]:
    """Time and conditions as the filters of a query. A null matches nothing, as in `tocsin.contract.windows.matches`."""
    found: list[Any] = []
    if start is not None or end is not None:
        found.append(_range(TIME, {"gte": start, "lt": end}))
    return found + [condition(each) for each in where]


def condition(given: Condition) -> dict[str, Any]:
    """A condition as a filter."""
    column, value = given.column, given.value
    match given.operator:
        case "==":
            return {"term": {column: _text(value)}}
        case "!=":
            return {
                "bool": {
                    "filter": {"exists": {"field": column}},
                    "must_not": {"term": {column: _text(value)}},
                }
            }
        case "in":
            values = [_text(v) for v in value]
            parts = [values[i : i + _TERMS] for i in range(0, len(values), _TERMS)] or [[]]
            return {
                "bool": {"should": [{"terms": {column: part}} for part in parts], "minimum_should_match": 1}
            }
        case "not_null":
            return {
                "exists": {"field": COUNT if column == VECTOR else column}
            }  # a vector itself is not indexed
    word = {"<": "lt", "<=": "lte", ">": "gt", ">=": "gte"}[given.operator]
    return _range(column, {word: value})


def _range(column: str, limits: Mapping[str, Any]) -> dict[str, Any]:
    """A range; times outside of what a date of nanoseconds can be are cut to it, since Elasticsearch refuses them."""
    kept: dict[str, Any] = {}
    for word, value in limits.items():
        if not isinstance(value, datetime):
            kept |= {} if value is None else {word: _text(value)}
        elif word in {"gt", "gte"}:
            if value > _LATEST:
                return {"match_none": {}}
            kept |= {word: _text(value)} if value >= EPOCH else {"gte": _text(EPOCH)}
        elif value < EPOCH or (value == EPOCH and word == "lt"):
            return {"match_none": {}}
        else:
            kept |= {word: _text(min(value, _LATEST))}
    return {"range": {column: kept}}


def _text(value: Any) -> Any:
    # In full: of a time without a fraction, Elasticsearch takes the end of its second as the limit for `gt` and `lte`.
    return value.isoformat(timespec="microseconds") if isinstance(value, datetime) else value
