"""Answers of `_msearch` as the frames that a panel draws: their fields, and how many values stand in them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.dashboards.datasources import NotEmulated, Source
from tests.dashboards.requests import DOCUMENTS, PIPELINE, Json, whole

_ALIAS = re.compile(r"\{\{([\s\S]+?)\}\}")
#: How the editor calls the metrics, and with it the fields of tables.
NAMES = {
    "count": "Count", "avg": "Average", "sum": "Sum", "max": "Max", "min": "Min", "extended_stats": "Extended Stats",
    "percentiles": "Percentiles", "cardinality": "Unique Count", "rate": "Rate", "top_metrics": "Top Metrics",
    "derivative": "Derivative", "cumulative_sum": "Cumulative Sum", "moving_fn": "Moving Function",
    "serial_diff": "Serial Difference", "std_deviation": "Std Dev",
    "std_deviation_bounds_upper": "Std Dev Upper", "std_deviation_bounds_lower": "Std Dev Lower",
}  # fmt: skip
_DEPTH = 10


@dataclass(slots=True)
class Frame:
    """A table of a panel, or one series: the columns by name. `ref` is the target that it came from."""

    ref: str
    columns: dict[str, list[Any]]
    labels: Mapping[str, str] = field(default_factory=dict)
    series: bool = False
    known: Source | None = None  # whose every field may be a column, if a document has it

    @property
    def rows(self) -> int:
        """How many rows it has."""
        return max(map(len, self.columns.values()), default=0)

    @property
    def filled(self) -> bool:
        """Whether it shows anything: a number that is neither missing nor 0, or a table that has rows and no numbers."""
        shown = [value for name, values in self.columns.items() if name != "Time" for value in values]
        numbers = [value for value in shown if isinstance(value, int | float)]
        if self.series or numbers:
            return any(number and not math.isnan(number) for number in numbers)
        if self.rows == 1:
            return None not in shown  # a metric without a value stands beside the name of its bucket
        return any(value is not None for value in shown)


def frames(target: Mapping[str, Any], answer: Json, source: Source) -> list[Frame]:
    """What one target shows.

    Raises:
        NotEmulated: as `requests.body` does.
    """
    ref = str(target.get("refId") or "A")
    metrics = target["metrics"]
    if metrics[0]["type"] in DOCUMENTS:
        return _documents(ref, metrics[0]["type"], answer["hits"]["hits"], source)
    buckets = target["bucketAggs"]
    leaves = list(_leaves(buckets, answer.get("aggregations") or {}, {}))
    if buckets[-1]["type"] != "date_histogram":
        table = _table(ref, buckets, metrics, leaves)
        return [table] if table.rows else []
    found = [s for labels, leaf in leaves for s in _series(ref, labels, leaf, buckets[-1], metrics)]
    kinds = len({s.labels["metric"] for s in found})
    return [_named(series, str(target.get("alias") or ""), kinds) for series in found]


def _documents(ref: str, kind: str, hits: Sequence[Json], source: Source) -> list[Frame]:
    if kind == "raw_document":
        return [Frame(ref, {ref: list(hits)})] if hits else []
    rows = []
    for hit in hits:
        row: Json = {"_id": hit["_id"], "_index": hit["_index"], "sort": hit.get("sort")}
        row |= dict(_flat(hit.get("_source") or {}, "", _DEPTH)) | (hit.get("fields") or {})
        rows.append(row)
    names = sorted({name for row in rows for name in row}, key=lambda n: (n != source.time_field, n))
    return [Frame(ref, {n: [row.get(n) for row in rows] for n in names}, known=source)] if rows else []


def _flat(value: Mapping[str, Any], above: str, depth: int) -> Iterator[tuple[str, Any]]:
    for name, inner in value.items():
        if isinstance(inner, Mapping) and depth > 1:
            yield from _flat(inner, f"{above}{name}.", depth - 1)
        else:
            yield f"{above}{name}", inner


def _leaves(
    buckets: Sequence[Json], aggs: Json, labels: Mapping[str, Any]
) -> Iterator[tuple[Mapping[str, Any], Json]]:
    """The innermost bucket aggregations, each with the keys that lead to it by their fields' names."""
    first, *rest = buckets
    found = aggs.get(first["id"])
    if found is None:
        return
    if not rest:
        yield labels, found
        return
    for key, bucket in _keyed(found):
        name = "filter" if first["type"] == "filters" else first["field"]
        # Of a histogram only the innermost bucket keeps its fraction.
        shown = int(key) if first["type"] == "histogram" else key
        yield from _leaves(rest, bucket, {**labels, name: shown})


def _keyed(agg: Json) -> Iterator[tuple[Any, Json]]:
    buckets = agg["buckets"]
    if isinstance(buckets, Mapping):
        yield from buckets.items()
        return
    for bucket in buckets:
        yield bucket.get("key_as_string", bucket["key"]), bucket


def _series(
    ref: str, labels: Mapping[str, Any], agg: Json, bucket: Json, metrics: Sequence[Json]
) -> Iterator[Frame]:
    edges = whole((bucket.get("settings") or {}).get("trimEdges"), 0)
    points = agg["buckets"]
    if edges and len(points) > 2 * edges:
        points = points[edges:-edges]
    times = [point["key"] for point in points]
    for metric in metrics:
        if metric.get("hide"):
            continue
        names = dict.fromkeys(name for point in points for name, _ in _values(metric, point))
        for name in names:
            values = [dict(_values(metric, point)).get(name) for point in points]
            own = {
                **{k: str(v) for k, v in labels.items()},
                "metric": name,
                "field": metric.get("field") or "",
            }
            yield Frame(ref, {"Time": times, "Value": values}, own, series=True)


def _values(metric: Json, bucket: Json) -> Iterator[tuple[str, Any]]:
    """The values of one metric in one bucket, by the name of the statistic."""
    kind = metric["type"]
    if kind == "count":
        yield "count", bucket["doc_count"]
        return
    found = bucket.get(metric["id"])
    if found is None:
        return
    match kind:
        case "percentiles":
            for percent, value in found["values"].items():
                yield f"p{percent}", value
        case "extended_stats":
            bounds = found.get("std_deviation_bounds") or {}
            flat = found | {f"std_deviation_bounds_{side}": bounds.get(side) for side in ("upper", "lower")}
            for name, shown in (metric.get("meta") or {}).items():
                if shown:
                    yield name, flat[name]
        case "top_metrics":
            top = found["top"]
            for name in metric["settings"]["metrics"]:
                yield name, top[0]["metrics"].get(name) if top else None
        case _:
            yield kind, found.get("value")


def _named(series: Frame, alias: str, kinds: int) -> Frame:
    """The series with its value column called as the legend calls it."""
    labels = dict(series.labels)
    metric, of = NAMES.get(labels["metric"], labels["metric"]), labels["field"]
    groups = {k: v for k, v in labels.items() if k not in ("metric", "field")}
    if alias:

        def put(found: re.Match[str]) -> str:
            name = found[1].removeprefix("term ")
            return groups.get(name) or {"metric": metric, "field": of}.get(name, found[0])

        name = _ALIAS.sub(put, alias)
    else:
        plain = f"{metric} {of}" if of and labels["metric"] not in PIPELINE else metric
        by = " ".join(groups[key] for key in sorted(groups))
        name = plain if not groups else by if kinds == 1 else f"{by} {plain}"
    series.columns = {"Time": series.columns["Time"], name: series.columns["Value"]}
    series.labels = groups
    return series


def _table(
    ref: str, buckets: Sequence[Json], metrics: Sequence[Json], leaves: list[tuple[Mapping[str, Any], Json]]
) -> Frame:
    if any(metric.get("hide") for metric in metrics):
        raise NotEmulated("a hidden metric of a table")
    last = buckets[-1]
    own = "filter" if last["type"] == "filters" else last["field"]
    rows: list[Json] = []
    for labels, agg in leaves:
        for key, bucket in _keyed(agg):
            row: Json = {name: labels[name] for name in sorted(labels)} | {own: key}
            for metric in metrics:
                same = sum(m["type"] == metric["type"] for m in metrics) > 1
                for name, value in _values(metric, bucket):
                    # A percentile of nothing is drawn as 0; any other metric of nothing as no value.
                    shown = 0.0 if value is None and metric["type"] == "percentiles" else value
                    row[_column(metric, name, several=same)] = shown
            rows.append(row)
    names = list(dict.fromkeys(name for row in rows for name in row))
    return Frame(ref, {name: [row.get(name) for row in rows] for name in names})


def _column(metric: Json, name: str, *, several: bool) -> str:
    match metric["type"]:
        case "percentiles":
            return f"{name} {metric['field']}"
        case "top_metrics":
            return f"Top Metrics {name}"
        case "extended_stats":
            return NAMES.get(name, name.capitalize())
    plain = NAMES[metric["type"]]
    return f"{plain} {metric.get('field') or ''}".strip() if several else plain
