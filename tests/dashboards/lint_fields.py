"""Every field that a query, metric, bucket, variable or annotation names exists, with a type that fits."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from tests.dashboards.cluster import QueryError
from tests.dashboards.datasources import MIXED, PROMETHEUS, STORED, Source, uid_of
from tests.dashboards.interpolation import REFERENCE, Value, replace
from tests.dashboards.lint import Board, Check, Found, Json, name
from tests.dashboards.lucene import LuceneError, Query, parse
from tests.dashboards.requests import DOCUMENTS, PIPELINE
from tests.dashboards.variables import parsed

NUMERIC = frozenset({"long", "double"})
DATES = frozenset({"date", "date_nanos"})
COUNTABLE = NUMERIC | DATES | {"keyword", "boolean", "ip", "flattened.key"}
#: What each aggregation can work on.
FIT = {
    "terms": COUNTABLE - DATES, "histogram": NUMERIC, "date_histogram": DATES, "cardinality": COUNTABLE,
    "avg": NUMERIC, "sum": NUMERIC, "percentiles": NUMERIC, "extended_stats": NUMERIC, "rate": NUMERIC,
    "min": NUMERIC | DATES, "max": NUMERIC | DATES,
}  # fmt: skip
#: What `_key` and the like are, which are no metric.
ORDERS = ("_term", "_key", "_count")
_PLACEHOLDER = "placeholder"


def queries(board: Board) -> Iterator[tuple[str, Source, str]]:
    """Every query text with the place that it stands in and its data source."""
    for where, source, target in _targets(board):
        yield where, source, target.get("query") or ""
        for bucket in target.get("bucketAggs") or ():
            if bucket["type"] == "filters":
                for filter in bucket["settings"]["filters"]:
                    yield where, source, filter["query"]
    for variable in board.variables.values():
        asked = board.sources.get(uid_of(variable.get("datasource")))
        if variable["type"] == "query" and asked:
            try:
                yield f"variable {variable['name']}", asked, parsed(variable.get("query")).get("query") or ""
            except QueryError:
                continue  # the check of variables says so
    for annotation in board.annotations:
        if asked := board.sources.get(uid_of(annotation.get("datasource"))):
            yield f"annotation {annotation.get('name')}", asked, annotation.get("query") or ""


def _targets(board: Board) -> Iterator[tuple[str, Source, Json]]:
    for panel in board.asking:
        own = uid_of(panel.get("datasource"))
        for target in panel.get("targets") or ():
            uid = uid_of(target.get("datasource")) if own in (MIXED, "") else own
            if uid != PROMETHEUS and uid in board.sources:
                yield name(panel), board.sources[uid], target


def read(text: str) -> Query:
    """A query parsed, its variables standing for values: raw ones for anything, the others for a word.

    Raises:
        LuceneError: it is not well-formed.
    """

    def put(found: re.Match[str]) -> str:
        return "*" if (found[3] or found[6]) == "raw" else _PLACEHOLDER

    return parse(REFERENCE.sub(put, text))


def check_queries_parse(board: Board) -> Found:
    for where, _, text in queries(board):
        try:
            query = read(text)
        except LuceneError as error:
            yield where, str(error)
            continue
        if any(_PLACEHOLDER in term for term in query.bare):
            yield where, f"a variable stands alone in {text!r}, where `*` is escaped: write it with :raw"
        elif any(term != "*" for term in query.bare):
            yield where, f"{query.bare} in {text!r} names no field: every field is searched"


def check_fields_of_queries_exist(board: Board) -> Found:
    for where, source, text in queries(board):
        try:
            fields = read(text).fields
        except LuceneError:
            continue
        for field in fields:
            if not _known(source, field):
                yield where, f"{source.uid} has no field {field!r} that a query can find"


def _known(source: Source, field: str) -> bool:
    if field.endswith("*"):
        return any(known.startswith(field[:-1]) for known in source.fields)
    return source.type_of(field) not in (None, STORED)


def check_or_stands_in_parentheses(board: Board) -> Found:
    """`a OR b` with a filter behind it is `a OR (b AND filter)`."""
    filtered = {uid_of(v.get("datasource")) for v in board.variables.values() if v["type"] == "adhoc"}
    for where, source, text in queries(board):
        try:
            loose = read(text).loose_or
        except LuceneError:
            continue
        if loose and source.uid in filtered and where.startswith("panel"):
            yield where, f"put the OR of {text!r} into parentheses: ad-hoc filters are appended with AND"


def check_aggregations_fit_their_fields(board: Board) -> Found:
    for where, source, target in _targets(board):
        if target.get("timeField") not in (None, source.time_field):
            yield (
                where,
                f"its time field is not {source.time_field!r}, which the data source takes in any case",
            )
        for agg in (*(target.get("metrics") or ()), *(target.get("bucketAggs") or ())):
            kind, field = agg["type"], _chosen(board, agg.get("field"))
            if kind in FIT:
                found = source.type_of(
                    field or source.time_field if kind == "date_histogram" else field or ""
                )
                if found not in FIT[kind]:
                    yield where, f"{kind} of {field!r}, which is {found or 'no field'} in {source.uid}"
            for problem in _top_metrics(agg, source) if kind == "top_metrics" else ():
                yield where, problem


def _chosen(board: Board, field: str | None) -> str | None:
    """A field's name whose variables have their first choice, where they have a fixed list of them."""
    values = {}
    for own, variable in board.variables.items():
        if variable["type"] == "custom":
            values[own] = Value(str(variable.get("query") or "").partition(",")[0].strip())
    return None if field is None else replace(field, values)


def _top_metrics(agg: Json, source: Source) -> Iterator[str]:
    settings: dict[str, Any] = agg.get("settings") or {}
    for field in settings.get("metrics") or ():
        if source.type_of(field) not in COUNTABLE:
            yield f"top_metrics of {field!r}, which is {source.type_of(field) or 'no field'}"
    if source.type_of(settings.get("orderBy") or "") not in NUMERIC | DATES:
        yield f"top_metrics in the order of {settings.get('orderBy')!r}"


def check_histograms_are_innermost(board: Board) -> Found:
    for where, _, target in _targets(board):
        if "histogram" in [bucket["type"] for bucket in target.get("bucketAggs") or ()][:-1]:
            yield where, "a histogram is not the last bucket: its keys are cut to whole numbers"


def check_buckets_are_in_order(board: Board) -> Found:
    for where, _, target in _targets(board):
        metrics = target.get("metrics") or []
        kinds = [bucket["type"] for bucket in target.get("bucketAggs") or ()]
        if not metrics:
            yield where, "a target has no metric"
        elif metrics[0]["type"] in DOCUMENTS:
            if kinds:
                yield where, f"{metrics[0]['type']} has buckets"
        elif not kinds:
            yield where, "a metric has no buckets"
        if "date_histogram" in kinds[:-1]:
            yield where, "the date histogram is not the last bucket"
        ids = [agg["id"] for agg in (*metrics, *(target.get("bucketAggs") or ()))]
        if len(ids) != len(set(ids)):
            yield where, f"its metrics and buckets share ids: {ids}"
        for bucket in target.get("bucketAggs") or ():
            by = (bucket.get("settings") or {}).get("orderBy")
            known = (*ORDERS, *(m["id"] for m in metrics if m["type"] not in PIPELINE))
            if bucket["type"] == "terms" and str(by or "").partition("[")[0] not in known:
                yield where, f"terms of {bucket.get('field')} in the order of {by!r}"


def check_orders_by_percentile_leave_no_gaps(board: Board) -> Found:
    """Elasticsearch puts terms that have no value of the field first (elastic/elasticsearch#89079)."""
    for where, _, target in _targets(board):
        fields = {metric["id"]: metric.get("field") for metric in target.get("metrics") or ()}
        for bucket in target.get("bucketAggs") or ():
            id, several, _ = str((bucket.get("settings") or {}).get("orderBy") or "").partition("[")
            if several and f"_exists_:{fields.get(id)}" not in (target.get("query") or ""):
                yield (
                    where,
                    f"ordered by a percentile: ask for _exists_:{fields.get(id)}, or empty terms come first",
                )


def check_settings_are_texts(board: Board) -> Found:
    """The editor writes texts; a number breaks it."""
    for where, _, target in _targets(board):
        for agg in (*(target.get("metrics") or ()), *(target.get("bucketAggs") or ())):
            for key, value in (agg.get("settings") or {}).items():
                if isinstance(value, (int, float)) and not isinstance(value, bool):
                    yield where, f"the setting {key} is {value!r}, a number and no text"


def check_variables_ask_for_fields(board: Board) -> Found:
    for variable in board.variables.values():
        where, source = f"variable {variable['name']}", board.sources.get(uid_of(variable.get("datasource")))
        if variable["type"] != "query" or source is None:
            continue
        try:
            query = parsed(variable.get("query"))
        except QueryError as error:
            yield where, str(error)
            continue
        if query.get("find") == "terms" and source.type_of(query.get("field") or "") not in FIT["terms"]:
            yield (
                where,
                f"asks for terms of {query.get('field')!r}, which is {source.type_of(query.get('field') or '')}",
            )


def check_annotations_name_fields(board: Board) -> Found:
    for annotation in board.annotations:
        where, source = (
            f"annotation {annotation.get('name')}",
            board.sources.get(uid_of(annotation.get("datasource"))),
        )
        if source is None:
            continue
        for key in ("timeField", "timeEndField", "textField", "tagsField"):
            field = annotation.get(key)
            if field and source.type_of(field) is None:
                yield where, f"{key} is {field!r}, which is no field of {source.uid}"
            elif field and key.startswith("time") and source.type_of(field) not in DATES:
                yield where, f"{key} is {field!r}, which is no date"
        if not annotation.get("textField"):
            yield where, "has no textField: the events would say nothing"
        inner = (annotation.get("target") or {}).get("query")
        if inner is not None and inner != annotation.get("query"):
            yield (
                where,
                f"its target asks {json.dumps(inner)}, it {json.dumps(annotation.get('query'))}, which counts",
            )


CHECKS: tuple[Check, ...] = (
    check_queries_parse,
    check_fields_of_queries_exist,
    check_or_stands_in_parentheses,
    check_aggregations_fit_their_fields,
    check_histograms_are_innermost,
    check_buckets_are_in_order,
    check_orders_by_percentile_leave_no_gaps,
    check_settings_are_texts,
    check_variables_ask_for_fields,
    check_annotations_name_fields,
)
