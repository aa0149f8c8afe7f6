"""Summaries that Elasticsearch computes: composite aggregations, read page by page into a frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from tocsin.clock import EPOCH
from tocsin.contract.frames import schema
from tocsin.contract.query import Condition, Measure
from tocsin.contract.streams import INGESTED, STREAMS, TIME, Type
from tocsin.store.cluster.filters import condition
from tocsin.store.tumbling import START, tumbling_schema

_PAGE = 10_000
_GROUPED = (Type.KEYWORD, Type.IP, Type.BOOLEAN, Type.LONG)
_COUNTED = (Type.KEYWORD, Type.IP, Type.BOOLEAN, Type.LONG, Type.DOUBLE)
_NUMBERS = (Type.LONG, Type.DOUBLE)
_AGGREGATIONS = {"sum": "sum", "min": "min", "max": "max", "mean": "avg"}

Search = Callable[..., dict[str, Any]]


def in_buckets(stream: str, by: Sequence[str], measures: Sequence[Measure]) -> bool:
    """Whether Elasticsearch can compute the summary exactly. If not, the store reads the rows and aggregates them."""
    known = STREAMS[stream].by_name
    if not by:
        return all(m.function == "count" for m in measures)
    if any(known[name].type not in _GROUPED for name in by):
        return False
    return all(
        m.function == "count" or known[m.column].type in (_COUNTED if m.function == "distinct" else _NUMBERS)
        for m in measures
    )


def summarize(
    stream: str, by: Sequence[str], measures: Sequence[Measure], filters: list[Any], search: Search
) -> pl.DataFrame:
    """One row for each group.

    Distinct values are counted as groups of a separate aggregation, which is exact for any number of values.
    """
    types = schema(stream)
    if not by:
        answer = search(size=0, query={"bool": {"filter": filters}}, track_total_hits=True)
        total = answer.get("hits", {}).get("total", {"value": 0})["value"]
        return pl.DataFrame(
            {m.name: [total] for m in measures}, schema={m.name: pl.UInt32() for m in measures}
        )
    inner = {
        m.name: {_AGGREGATIONS[m.function]: {"field": m.column}}
        for m in measures
        if m.function in _AGGREGATIONS
    }
    inner |= {
        f"{m.name} known": {"value_count": {"field": m.column}} for m in measures if m.function == "sum"
    }
    rows = [
        (
            *(bucket["key"][str(i)] for i in range(len(by))),
            *(_value(bucket, m) for m in measures if m.function != "distinct"),
        )
        for bucket in _buckets(_terms(by), inner, filters, search)
    ]
    plain = [m for m in measures if m.function != "distinct"]
    shape = {name: types[name] for name in by} | {m.name: _type(types, m) for m in plain}
    found = pl.DataFrame(rows, schema=shape, orient="row", strict=False)
    for measure in measures:
        if measure.function == "distinct":
            found = found.join(
                _distinct(by, measure, filters, search, types), on=list(by), how="left", nulls_equal=True
            )
            found = found.with_columns(pl.col(measure.name).fill_null(0))
    return found.select(*by, *(m.name for m in measures))


def _distinct(
    by: Sequence[str], measure: Measure, filters: list[Any], search: Search, types: pl.Schema
) -> pl.DataFrame:
    known = [*filters, {"exists": {"field": measure.column}}]
    keys = [
        tuple(bucket["key"][str(i)] for i in range(len(by)))
        for bucket in _buckets(_terms([*by, measure.column]), {}, known, search)
    ]
    frame = pl.DataFrame(keys, schema={name: types[name] for name in by}, orient="row", strict=False)
    return frame.group_by(list(by)).agg(pl.len().alias(measure.name))


def tumble(
    length: timedelta, after: Mapping[str, datetime], filters: list[Any], search: Search
) -> pl.DataFrame:
    """The result of `Store.windows`."""
    step = length // timedelta(milliseconds=1)
    source = {"date_histogram": {"field": TIME, "fixed_interval": f"{step}ms"}}
    inner = {name: {"filter": condition(Condition(INGESTED, ">", mark))} for name, mark in after.items()}
    rows = [
        (
            EPOCH + timedelta(milliseconds=bucket["key"][START]),
            bucket["doc_count"],
            *(bucket[name]["doc_count"] for name in after),
        )
        for bucket in _buckets({START: source}, inner, filters, search)
    ]
    return pl.DataFrame(rows, schema=tumbling_schema(after), orient="row")


def _terms(by: Sequence[str]) -> dict[str, Any]:
    return {str(i): {"terms": {"field": name, "missing_bucket": True}} for i, name in enumerate(by)}


def _buckets(
    sources: Mapping[str, Any], inner: dict[str, Any], filters: list[Any], search: Search
) -> Iterator[dict[str, Any]]:
    after: dict[str, Any] | None = None
    while True:
        composite: dict[str, Any] = {"size": _PAGE, "sources": [{name: sources[name]} for name in sources]}
        if after is not None:
            composite["after"] = after
        answer = search(
            size=0,
            query={"bool": {"filter": filters}},
            aggs={"groups": {"composite": composite, "aggs": inner}},
            track_total_hits=False,
        )
        groups = answer.get("aggregations", {}).get("groups", {"buckets": []})
        yield from groups["buckets"]
        after = groups.get("after_key")
        if after is None:
            return


def _value(bucket: dict[str, Any], measure: Measure) -> Any:
    return bucket["doc_count"] if measure.function == "count" else bucket[measure.name]["value"]


def _type(types: pl.Schema, measure: Measure) -> pl.DataType:
    if measure.function == "count":
        return pl.UInt32()
    return pl.Float64() if measure.function == "mean" else types[measure.column]
