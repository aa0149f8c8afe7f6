"""The catalogue of data streams: every stream with its columns, their types and their ECS names.

Column names are dotted ECS 9.4 names; Tocsin's own fields are below `tocsin.`. `docs/streams.md`, the ingest schema,
the Delta tables and the Elasticsearch mappings are derived from this catalogue.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from tocsin.contract.columns import (
    ASPECT,
    EARLY,
    EVALUATED,
    FENCE,
    FIRST_FOUND,
    FOUND,
    ID,
    INGESTED,
    LAST_INGEST,
    LONGEST_KEYWORD,
    NEWEST_EVENT,
    SILENT,
    SOURCE,
    TIME,
    UNMAPPED,
    Column,
    Stream,
    Type,
)
from tocsin.contract.internal_streams import INTERNAL_STREAMS
from tocsin.contract.source_streams import SOURCE_STREAMS

__all__ = [
    "ASPECT",
    "EARLY",
    "EVALUATED",
    "FENCE",
    "FIRST_FOUND",
    "FOUND",
    "ID",
    "INGESTED",
    "LAST_INGEST",
    "LONGEST_KEYWORD",
    "NEWEST_EVENT",
    "SILENT",
    "SOURCE",
    "SOURCES",
    "STREAMS",
    "TIME",
    "UNMAPPED",
    "Column",
    "Stream",
    "Type",
]

STREAMS: Mapping[str, Stream] = MappingProxyType(
    {stream.name: stream for stream in (*SOURCE_STREAMS, *INTERNAL_STREAMS)}
)

#: The streams that collectors append to.
SOURCES = tuple(stream.name for stream in SOURCE_STREAMS)
