"""Converts conditions to filters of an Elasticsearch query."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from tocsin.clock import EPOCH
from tocsin.contract.query import Condition, Where
from tocsin.contract.streams import TIME
from tocsin.store.cluster.mappings import COUNT, VECTOR

_TERMS = 65_536  # maximum number of values in a terms query (Elasticsearch's default)
#: Filters that select documents by their values, of which neighbours need not match.
SCATTERED = ("term", "bool")
_LATEST = datetime(2262, 4, 11, tzinfo=UTC)


def filters(start: Any, end: Any, where: Where) -> list[Any]:
    """The filters for a time range and conditions. A null value matches none, as in `tocsin.contract.windows.matches`."""
    found: list[Any] = []
    if start is not None or end is not None:
        found.append(_range(TIME, {"gte": start, "lt": end}))
    return found + [condition(each) for each in where]


def condition(given: Condition) -> dict[str, Any]:
    """The filter for one condition."""
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
            field = COUNT if column == VECTOR else column  # the field of vectors is not indexed
            return {"exists": {"field": field}}
    word = {"<": "lt", "<=": "lte", ">": "gt", ">=": "gte"}[given.operator]
    return _range(column, {word: value})


def _range(column: str, limits: Mapping[str, Any]) -> dict[str, Any]:
    """A range filter. Times are limited to the range of `date_nanos`, since Elasticsearch refuses times outside of it."""
    bounds: dict[str, Any] = {}
    for word, value in limits.items():
        if not isinstance(value, datetime):
            bounds |= {} if value is None else {word: _text(value)}
        elif word in {"gt", "gte"}:
            if value > _LATEST:
                return {"match_none": {}}
            bounds |= {word: _text(value)} if value >= EPOCH else {"gte": _text(EPOCH)}
        elif value < EPOCH or (value == EPOCH and word == "lt"):
            return {"match_none": {}}
        else:
            bounds |= {word: _text(min(value, _LATEST))}
    return {"range": {column: bounds}}


def _text(value: Any) -> Any:
    # Always with microseconds: Elasticsearch rounds `gt` and `lte` limits without a fraction to the end of the second.
    return value.isoformat(timespec="microseconds") if isinstance(value, datetime) else value
