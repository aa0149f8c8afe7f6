"""The `_msearch` bodies that Grafana's Elasticsearch data source sends for the targets of a panel.

A target is the JSON of a query: `metrics` and `bucketAggs` whose settings are texts. What is not emulated raises.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tests.dashboards.datasources import NotEmulated, Source
from tests.dashboards.interpolation import Values, replace, with_filters
from tests.dashboards.ranges import Interval, Range

Json = dict[str, Any]
#: What a size of nothing, of no number or of 0 stands for.
SIZE = 500
CALENDAR = ("1w", "1M", "1q", "1y")
SINGLE = ("avg", "sum", "min", "max", "cardinality", "rate")
METRICS = (*SINGLE, "count", "extended_stats", "percentiles", "top_metrics")
DOCUMENTS = ("raw_data", "raw_document", "logs")
#: By their dependence on one other metric; a script over several is not emulated (the test node has no painless).
PIPELINE = ("derivative", "cumulative_sum", "moving_fn", "serial_diff")


def interpolated(
    target: Mapping[str, Any], values: Values, filters: Sequence[Mapping[str, Any]] = ()
) -> Json:
    """A target with its variables: in queries in Lucene's format, elsewhere in the plain one.

    Raises:
        ValueError: a value breaks the JSON that it is put into, as it would in the browser.
    """
    query = with_filters(replace(target.get("query") or "", values, "lucene"), filters)
    buckets = [_with_filter_queries(bucket, values) for bucket in target.get("bucketAggs") or ()]
    whole = json.dumps({**target, "query": query, "bucketAggs": buckets}, ensure_ascii=False)
    found: Json = json.loads(replace(whole, values))
    return found


def _with_filter_queries(bucket: Mapping[str, Any], values: Values) -> Mapping[str, Any]:
    if bucket["type"] != "filters":
        return bucket
    settings = bucket["settings"]
    filters = [{**f, "query": replace(f["query"], values, "lucene") or "*"} for f in settings["filters"]]
    return {**bucket, "settings": {**settings, "filters": filters}}


def msearch(bodies: Iterable[Json], index: str) -> str:
    """Bodies with their header lines."""
    header = json.dumps({"ignore_unavailable": True, "index": index, "search_type": "query_then_fetch"})
    return "".join(f"{header}\n{json.dumps(body)}\n" for body in bodies)


def body(target: Mapping[str, Any], source: Source, of: Range, interval: Interval) -> Json:
    """The body of one target whose variables are put in.

    Raises:
        NotEmulated: it uses a kind of query, metric or bucket that is not emulated.
    """
    if target.get("queryType", "lucene") not in ("", "lucene", None) or target.get("rawDSLQuery"):
        raise NotEmulated(f"the query type {target.get('queryType')!r}")
    metrics = target.get("metrics") or []
    if not metrics:
        raise NotEmulated("a target without metrics")
    found: Json = {"size": 0, "query": _query(target.get("query") or "", source, of)}
    first = metrics[0]
    if first["type"] in DOCUMENTS:
        found |= _documents(first, source)
    else:
        found["aggs"] = _buckets(target.get("bucketAggs") or [], metrics, source, of)
    text = json.dumps(found)  # the intervals are put in at the very end
    text = text.replace("$__interval_ms", str(interval.milliseconds)).replace("$__interval", interval.text)
    return dict(json.loads(text))


def _query(query: str, source: Source, of: Range) -> Json:
    within = {"format": "epoch_millis", "gte": of.start, "lte": of.end}
    filters: list[Json] = [{"range": {source.time_field: within}}]
    if query.strip():
        filters.append({"query_string": {"analyze_wildcard": True, "query": query}})
    return {"bool": {"filter": filters}}


def _documents(metric: Mapping[str, Any], source: Source) -> Json:
    kind, settings = metric["type"], metric.get("settings") or {}
    order = "asc" if kind == "logs" and settings.get("sortDirection") == "asc" else "desc"
    found: Json = {
        "size": whole(settings.get("limit" if kind == "logs" else "size"), SIZE),
        "sort": [
            {source.time_field: {"order": order, "unmapped_type": "boolean"}},
            {"_doc": {"order": order}},
        ],
        "docvalue_fields": [source.time_field],
        "script_fields": {},
    }
    if kind != "raw_document":
        found["fields"] = [{"field": source.time_field, "format": "strict_date_optional_time_nanos"}]
    if kind == "logs":
        found["highlight"] = {
            "fields": {"*": {}},
            "pre_tags": ["@HIGHLIGHT@"],
            "post_tags": ["@/HIGHLIGHT@"],
            "fragment_size": 2147483647,
        }
    return found


def _buckets(buckets: Sequence[Json], metrics: Sequence[Json], source: Source, of: Range) -> Json:
    if not buckets:
        raise NotEmulated("a metric without a bucket aggregation")
    top: Json = {}
    aggs = top
    for bucket in buckets:
        settings = bucket.get("settings") or {}
        inner: Json = {}
        match bucket["type"]:
            case "date_histogram":
                made = _date_histogram(bucket, settings, source, of)
            case "histogram":
                made = {"field": bucket["field"], "interval": float(settings.get("interval") or 1000)}
                made["min_doc_count"] = whole(settings.get("min_doc_count"), 0, zero=True)
                made |= {"missing": float(settings["missing"])} if settings.get("missing") else {}
            case "terms":
                made = _terms(bucket, settings, metrics, inner)
            case "filters":
                made = {
                    "filters": {
                        f.get("label") or f["query"]: _filter(f["query"]) for f in settings["filters"]
                    }
                }
            case other:
                raise NotEmulated(f"the bucket aggregation {other!r}")
        aggs[bucket["id"]] = {bucket["type"]: made, "aggs": inner}
        aggs = inner
    for metric in metrics:
        if (made_metric := _metric(metric, metrics)) is not None:
            aggs[metric["id"]] = {metric["type"]: made_metric}
    return _without_empty(top)


def _date_histogram(bucket: Json, settings: Json, source: Source, of: Range) -> Json:
    every = settings.get("interval") or "auto"
    found: Json = {"field": bucket.get("field") or source.time_field}
    if every in CALENDAR:
        found["calendar_interval"] = every
    else:
        found["fixed_interval"] = "$__interval_msms" if every == "auto" else every
    found["min_doc_count"] = whole(settings.get("min_doc_count"), 0, zero=True)
    found["extended_bounds"] = {"min": of.start, "max": of.end}
    found["format"] = settings.get("format") or "epoch_millis"
    if settings.get("offset"):
        found["offset"] = settings["offset"]
    if settings.get("timeZone", "utc") != "utc":
        found["time_zone"] = settings["timeZone"]
    return found


def _terms(bucket: Json, settings: Json, metrics: Sequence[Json], inner: Json) -> Json:
    found: Json = {"field": bucket["field"], "size": whole(settings.get("size"), SIZE), "order": {}}
    if settings.get("min_doc_count"):
        found["min_doc_count"] = whole(settings["min_doc_count"], 0, zero=True)
    if settings.get("missing"):
        found["missing"] = settings["missing"]
    by, order = settings.get("orderBy"), settings.get("order") or "desc"
    if not by:
        raise NotEmulated(f"terms of {bucket['field']} without an order")
    number = re.match(r"\d+", by)
    if number is None:
        found["order"] = {"_key" if by == "_term" else by: order}
        return found
    metric = next((m for m in metrics if m["id"] == number[0]), None)
    if metric is None:
        raise NotEmulated(f"terms of {bucket['field']} in the order of the metric {by}, which is not there")
    if metric["type"] == "count":
        found["order"] = {"_count": order}
        return found
    found["order"] = {by: order}  # the metric stands beside the terms too, without its settings
    inner[metric["id"]] = {metric["type"]: {"field": metric["field"]}}
    return found


def _metric(metric: Json, metrics: Sequence[Json]) -> Json | None:
    kind, settings = metric["type"], dict(metric.get("settings") or {})
    if kind == "count":
        return None
    if kind == "top_metrics":
        fields = [{"field": name} for name in settings["metrics"]]
        return {
            "metrics": fields,
            "size": "1",
            "sort": [{settings["orderBy"]: settings.get("order", "desc")}],
        }
    if kind in PIPELINE:
        other = next((m for m in metrics if m["id"] == metric.get("field")), None)
        if other is None:
            raise NotEmulated(f"{kind} of the metric {metric.get('field')!r}, which is not there")
        return {**settings, "buckets_path": "_count" if other["type"] == "count" else other["id"]}
    if kind in METRICS and "script" not in settings:
        return {**settings, "field": metric["field"]}
    raise NotEmulated(f"the metric {kind!r}{' with a script' if 'script' in settings else ''}")


def _filter(query: str) -> Json:
    return {"query_string": {"analyze_wildcard": True, "query": query}}


def _without_empty(aggs: Json) -> Json:
    """Aggregations without the empty `aggs` of the innermost."""
    found: Json = {}
    for name, agg in aggs.items():
        inner = _without_empty(agg.get("aggs", {}))
        found[name] = {k: v for k, v in agg.items() if k != "aggs"} | ({"aggs": inner} if inner else {})
    return found


def whole(text: object, otherwise: int, *, zero: bool = False) -> int:
    """A setting as a number: what is none, or 0 where 0 means nothing, is the default."""
    try:
        number = int(str(text))
    except ValueError:
        return otherwise
    return number if number or zero else otherwise
