"""Requests and decodes pages of search hits, as frames of a stream."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import msgspec
import polars as pl

from tocsin.contract.frames import TIME_TYPE, schema
from tocsin.contract.streams import STREAMS, Type
from tocsin.store.cluster.documents import WRAPPED
from tocsin.store.cluster.mappings import COUNT, VECTOR, in_doc_values, slots

#: Documents in one page, the maximum that Elasticsearch allows.
PAGE = 10_000
_IGNORED = "_ignored"


class Page(msgspec.Struct):
    """One page of hits.

    `total` is the number of all hits, counted up to one more than two pages. `after` is the sort value that the next page
    starts after. `incomplete` means that a value is missing in the doc values, so that the page must be read from the
    documents. `partial` means that a shard did not respond.
    """

    rows: pl.DataFrame
    after: list[Any] | None
    incomplete: bool = False
    partial: bool = False
    total: int = 0


def request(columns: Sequence[str], where: list[Any], *, whole: bool, width: int = 0) -> dict[str, Any]:
    """The search for a page, without the point in time.

    Args:
        columns: the columns to read.
        where: the filters.
        whole: read documents, not doc values.
        width: the number of values of the longest vector; vectors are then read from their slots.
    """
    body: dict[str, Any] = {
        "size": PAGE,
        "sort": ["_shard_doc"],
        "track_total_hits": 2 * PAGE + 1,
        "query": {"bool": {"filter": where}},
        "filter_path": "hits.total,hits.hits.sort,hits.hits.fields,hits.hits._source,_shards.failed,timed_out",
    }
    if whole:
        return body | {"source": list(columns)}
    return body | {
        "source": False,
        "stored_fields": ["_none_"],
        "docvalue_fields": [*_fields(columns, width), _IGNORED],
    }


def empty(stream: str, columns: Sequence[str]) -> pl.DataFrame:
    """A frame with these columns and no rows."""
    types = schema(stream)
    return pl.DataFrame(schema={name: types[name] for name in columns})


def all_in_doc_values(stream: str, columns: Sequence[str]) -> bool:
    """Whether all of these columns can be read from doc values."""
    return all(in_doc_values(STREAMS[stream].by_name[name]) for name in columns)


def page(stream: str, columns: Sequence[str], answer: bytes, *, whole: bool, width: int = 0) -> Page:
    """Decode the response to `request`."""
    if whole:
        found = _whole_decoder().decode(answer)
        hits, partial = found.hits.hits, found.partial()
        values = [_values(stream, name, [hit._source.get(name) for hit in hits]) for name in columns]
        total = found.hits.total.value
        return Page(_frame(stream, columns, values), _after(hits), partial=partial, total=total)
    names = _fields(columns, width)
    decoder, attributes = _doc_values_decoder(stream, tuple(names))
    decoded = decoder.decode(answer)
    hits = decoded.hits.hits
    fields = [hit.fields for hit in hits]
    values = [[None if (v := getattr(f, a)) is None else v[0] for f in fields] for a in attributes]
    incomplete = any(f.ignored for f in fields)
    kept = [name for name in columns if name != VECTOR]
    rows = _frame(stream, kept, values[: len(kept)])
    if VECTOR in columns:
        rows = pl.DataFrame([*rows, _vectors(*values[len(kept) :])]).select(columns)
    return Page(rows, _after(hits), incomplete, decoded.partial(), decoded.hits.total.value)


def _fields(columns: Sequence[str], width: int) -> list[str]:
    """The fields whose doc values have these columns: a vector's number of values and its slots come last."""
    kept = [name for name in columns if name != VECTOR]
    return kept if len(kept) == len(columns) else [*kept, COUNT, *slots(width)]


def _vectors(counts: list[int | None], *values: list[float | None]) -> pl.Series:
    """Vectors from the number of values of each, and the values in each slot. NaN is stored as null."""
    columns = {
        f"{i}": pl.Series(slot, dtype=pl.Float64).fill_null(float("nan")) for i, slot in enumerate(values)
    }
    frame = pl.DataFrame({COUNT: pl.Series(counts, dtype=pl.Int64).clip(0), **columns})
    filled = pl.concat_list(*columns).list.head(COUNT) if columns else pl.lit([], pl.List(pl.Float64))
    return frame.select(pl.when(pl.col(COUNT).is_not_null()).then(filled).alias(VECTOR))[VECTOR]


def _after(hits: Sequence[Any]) -> list[Any] | None:
    return msgspec.json.decode(hits[-1].sort) if hits else None


def _frame(stream: str, columns: Sequence[str], values: Sequence[list[Any]]) -> pl.DataFrame:
    types = schema(stream)
    series = []
    for name, column in zip(columns, values, strict=True):
        if types[name] == TIME_TYPE:
            texts = pl.Series(name, column, dtype=pl.String)
            series.append(texts.str.to_datetime("%+", time_unit="us", time_zone="UTC"))
        elif isinstance(types[name], pl.List):
            series.append(_lists(pl.Series(name, column, dtype=pl.String), types[name]))
        else:
            series.append(pl.Series(name, column, dtype=types[name], strict=False))
    return pl.DataFrame(series)


def _lists(texts: pl.Series, kind: pl.DataType) -> pl.Series:
    """Lists from JSON. Polars decodes a whole column: ten times as fast as a list of Python lists. NaN is stored as null."""
    try:
        lists = texts.str.json_decode(kind)
    except pl.exceptions.PolarsError:  # another writer may store "1.5" as a number: Elasticsearch coerces it
        given = [None if text is None else msgspec.json.decode(text) for text in texts]
        return pl.Series(texts.name, [_items(one, kind) for one in given], kind, strict=False)
    if kind != pl.List(pl.Float64) or not lists.explode().null_count():
        return lists
    return lists.list.eval(pl.element().fill_null(float("nan")))


def _items(value: Any, kind: pl.DataType) -> list[Any] | None:
    if value is None:
        return None
    items = value if isinstance(value, list) else [value]
    if kind != pl.List(pl.Float64):
        return items
    return [float("nan") if item is None else float(item) for item in items]


def _values(stream: str, name: str, values: Sequence[msgspec.Raw | None]) -> list[Any]:
    """The values of a column; lists stay JSON, which `_lists` reads. One call decodes all values, which is faster."""
    kind = STREAMS[stream].by_name[name].type
    if kind is Type.JSON:
        return [None if value is None else _unwrapped(bytes(value)) for value in values]
    if kind in (Type.KEYWORDS, Type.DOUBLES):
        return [
            None if value is None or bytes(value) == b"null" else bytes(value).decode() for value in values
        ]
    found: list[Any] = msgspec.json.decode(b"[%b]" % b",".join(b"null" if v is None else v for v in values))
    return found


def _unwrapped(text: bytes) -> str | None:
    if text.startswith(b'{"' + WRAPPED.encode() + b'":'):
        text = text[len(WRAPPED) + 4 : -1]
    return None if text == b"null" else text.decode()


# `gc=False` for the types of each document: garbage collection would take longer than the decoding.


class _Hit(msgspec.Struct, gc=False):
    sort: msgspec.Raw
    _source: dict[str, msgspec.Raw] = {}


class _Total(msgspec.Struct):
    value: int = 0


class _Hits(msgspec.Struct):
    hits: list[_Hit] = []
    total: _Total = msgspec.field(default_factory=_Total)


class _Shards(msgspec.Struct):
    failed: int = 0


class _Whole(msgspec.Struct, kw_only=True):
    timed_out: bool = False
    _shards: _Shards = msgspec.field(default_factory=_Shards)

    def partial(self) -> bool:
        return self.timed_out or self._shards.failed > 0


class _Answer(_Whole):
    hits: _Hits = msgspec.field(default_factory=_Hits)


@functools.cache
def _whole_decoder() -> msgspec.json.Decoder[_Answer]:
    return msgspec.json.Decoder(_Answer)


_READ = {Type.LONG: int, Type.DOUBLE: float, Type.BOOLEAN: bool}


@functools.cache
def _doc_values_decoder(stream: str, names: tuple[str, ...]) -> tuple[msgspec.json.Decoder[Any], list[str]]:
    """A decoder for the doc values of these fields, each a list with one value, and its attributes in order."""
    attributes = [f"column_{i}" for i in range(len(names))]
    of = STREAMS[stream].by_name
    kinds = [
        _READ.get(of[name].type, str) if name in of else int if name == COUNT else float for name in names
    ]
    known: list[Any] = [(a, tuple[k, ...] | None, None) for a, k in zip(attributes, kinds, strict=True)]  # type: ignore[valid-type]
    rename = dict(zip(attributes, names, strict=True)) | {"ignored": _IGNORED}
    fields = msgspec.defstruct(
        "Fields", [*known, ("ignored", list[str] | None, None)], rename=rename, gc=False
    )
    hit = msgspec.defstruct(
        "Hit", [("sort", msgspec.Raw), ("fields", fields, msgspec.field(default_factory=fields))], gc=False
    )
    hits = msgspec.defstruct(
        "Hits",
        [
            (
                "hits",
                list[hit],  # type: ignore[valid-type]
                msgspec.field(default_factory=list),
            ),
            ("total", _Total, msgspec.field(default_factory=_Total)),
        ],
    )
    answer = msgspec.defstruct(
        "Answer", [("hits", hits, msgspec.field(default_factory=hits))], bases=(_Whole,)
    )
    return msgspec.json.Decoder(answer), attributes
