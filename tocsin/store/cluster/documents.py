"""Converts rows of a stream to documents of a bulk request. The conversion works on columns, not row by row."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import msgspec
import polars as pl

from tocsin.contract.frames import TIME_TYPE
from tocsin.contract.streams import ID, SOURCE, STREAMS, TIME, Type
from tocsin.store.cluster.mappings import COUNT, VECTOR, slots

#: Elasticsearch limits an `_id` to 512 bytes; a longer key is replaced by its digest.
_LONGEST_ID = 450
_TIME = "%Y-%m-%dT%H:%M:%S%.6fZ"
#: A JSON value that is not an object (a list, a number, a text) is stored in an object under this key, because the
#: field type `flattened` accepts only objects.
WRAPPED = "_json"


def ids(stream: str, rows: pl.DataFrame) -> pl.Series:
    """The `_id` of each row, which is the same if an event is appended again.

    It contains the event time, because sources may number their events from 1. If two sources use the same id at the
    same time, the event that comes later is stored under `ids_with_source`. For events that Tocsin itself writes
    it is the event's id alone, because their time may be later when they are written again.
    """
    if STREAMS[stream].internal:
        keys = rows[ID]
    else:
        keys = rows.select(pl.concat_str(ID, pl.lit("@"), pl.col(TIME).dt.epoch("us"))).to_series()
    if (keys.str.len_bytes().max() or 0) > _LONGEST_ID:  # type: ignore[operator]
        digests = [hashlib.sha256(key.encode()).hexdigest() for key in keys]
        keys = pl.select(
            pl.when(keys.str.len_bytes() > _LONGEST_ID).then(pl.Series(digests)).otherwise(keys)
        ).to_series()
    return keys.alias("_id")


def ids_with_source(rows: pl.DataFrame) -> pl.Series:
    """The `_id` of each row whose id and time another source has used. A digest, which no other event has as its `_id`."""
    parts = rows.select(ID, pl.col(TIME).dt.epoch("us"), SOURCE).iter_rows()
    digests = [hashlib.sha256(msgspec.json.encode(part)).hexdigest() for part in parts]
    return pl.Series("_id", digests, dtype=pl.String)


def bodies(stream: str, rows: pl.DataFrame, keys: pl.Series, size: int) -> Iterator[tuple[int, bytes]]:
    """Bodies of bulk requests of about `size` bytes, each with its number of documents."""
    lines = _lines(stream, rows, keys)
    lengths = lines.str.len_bytes().cum_sum().to_numpy()
    start = 0
    while start < len(lines):
        before = int(lengths[start - 1]) if start else 0
        end = max(int(lengths.searchsorted(before + size, "right")), start + 1)
        yield end - start, "\n".join(lines[start:end]).encode()
        start = end


def _lines(stream: str, rows: pl.DataFrame, keys: pl.Series) -> pl.Series:
    columns = [c for c in STREAMS[stream].columns if rows[c.name].null_count() < len(rows)]
    plain = [
        pl.col(c.name).dt.strftime(_TIME) if rows.schema[c.name] == TIME_TYPE else pl.col(c.name)
        for c in columns
        if c.type is not Type.JSON
    ]
    if any(c.name == VECTOR for c in columns):
        widest = slots(int(rows[VECTOR].list.len().max() or 0))  # type: ignore[arg-type]
        values = (pl.col(VECTOR).list.get(i, null_on_oob=True).fill_nan(None) for i in range(len(widest)))
        plain += [value.alias(slot) for slot, value in zip(widest, values, strict=True)]
        plain.append(pl.col(VECTOR).list.len().alias(COUNT))
    document = pl.struct(plain).struct.json_encode()
    texts = [_spliced(c.name) for c in columns if c.type is Type.JSON]
    if texts:
        document = pl.concat_str(document.str.head(-1), *texts, pl.lit("}"))
    action = pl.struct(create=pl.struct(keys.alias("_id"))).struct.json_encode()
    return rows.select(pl.concat_str(action, pl.lit("\n"), document)).to_series()


def _spliced(name: str) -> pl.Expr:
    """`,"name":{…}` for a column with JSON text, which is inserted without decoding; empty text if it is null."""
    text = pl.col(name)
    whole = (
        pl.when(text.str.starts_with("{"))
        .then(text)
        .otherwise(pl.concat_str(pl.lit(f'{{"{WRAPPED}":'), text, pl.lit("}")))
    )
    return pl.when(text.is_null()).then(pl.lit("")).otherwise(pl.concat_str(pl.lit(f',"{name}":'), whole))
