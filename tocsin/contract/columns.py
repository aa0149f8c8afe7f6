"""The building blocks of streams: column types, streams, and the columns that several streams have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Type(StrEnum):
    """The type of a column. The names are Elasticsearch's core types; `[]` marks a list."""

    KEYWORD = "keyword"
    TEXT = "text"
    LONG = "long"
    DOUBLE = "double"
    BOOLEAN = "boolean"
    DATE = "date"
    IP = "ip"
    JSON = "flattened"  # any JSON value, stored as text
    KEYWORDS = "keyword[]"
    DOUBLES = "double[]"  # a null in the list becomes NaN


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a stream."""

    name: str
    type: Type
    doc: str
    required: bool = False


@dataclass(frozen=True, slots=True)
class Stream:
    """One data stream: the kind of event, its columns, and its default retention.

    `constants` are the values of ECS categorization fields for events that do not contain these fields.
    """

    name: str
    doc: str
    columns: tuple[Column, ...]
    example: Mapping[str, object]
    constants: Mapping[str, object] = field(default_factory=dict)
    retention: str = "90d"
    internal: bool = False  # written by Tocsin itself; collectors may not append to it
    #: The columns by their names.
    by_name: Mapping[str, Column] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", {column.name: column for column in self.columns})

    @property
    def dataset(self) -> str:
        """ECS `event.dataset`."""
        return f"tocsin.{self.name}"

    def column(self, name: str) -> Column:
        """The column with this name.

        Raises:
            KeyError: the stream has no such column.
        """
        return self.by_name[name]


K, T, L, D = Type.KEYWORD, Type.TEXT, Type.LONG, Type.DOUBLE

UNMAPPED = "tocsin.unmapped"
INGESTED = "event.ingested"
#: Maximum length of an indexed keyword, in characters. At up to four bytes each, these fit into a term of Lucene.
LONGEST_KEYWORD = 8_191
FENCE = "tocsin.run.fence"
FOUND = "tocsin.run.found"
SILENT = "tocsin.run.silent"
EARLY = "tocsin.run.early"
NEWEST_EVENT = "tocsin.finding.newest_event"
LAST_INGEST = "tocsin.finding.ingested"
EVALUATED = "tocsin.finding.evaluated"
FIRST_FOUND = "tocsin.finding.found"
ASPECT = "tocsin.aspect"
TIME = "@timestamp"
ID = "event.id"
SOURCE = "tocsin.source.id"

#: The columns of every stream.
COMMON = (
    Column(TIME, Type.DATE, "event time: when the event happened", required=True),
    Column(
        ID,
        K,
        "id of the event; it does not change if the event is read again; generated if the source has none",
    ),
    Column(
        INGESTED,
        Type.DATE,
        "ingest time: when the event was appended; in the embedded store it never decreases within a stream",
    ),
    Column("event.kind", K, "ECS kind: event, metric, alert or state"),
    Column("event.category", Type.KEYWORDS, "ECS categories"),
    Column("event.type", Type.KEYWORDS, "ECS types"),
    Column("event.action", K, "action that was performed"),
    Column("event.outcome", K, "success, failure or unknown"),
    Column(SOURCE, K, "collector and source that the event came from"),
    Column("labels", Type.JSON, "key/value pairs that the source defines"),
    Column(UNMAPPED, Type.JSON, "all fields that the stream does not define, as one JSON object"),
)
PRINCIPAL = (
    Column("user.id", K, "id of the principal: a person, a service account or a key"),
    Column("user.name", K, "name of the principal"),
    Column("user.roles", Type.KEYWORDS, "roles that the principal used"),
    Column("tocsin.principal.type", K, "human or service, if the source provides it"),
    Column("tocsin.api_key.hash", K, "keyed hash of the credential that was used"),
    Column(
        "source.ip",
        Type.IP,
        "IP address of the principal, or its pseudonym if a protection rule applies; both stores keep it as text",
    ),
    Column("user_agent.original", K, "user agent of the client program"),
)
HTTP = (
    Column("http.request.method", K, "HTTP method"),
    Column("http.response.status_code", L, "HTTP status code"),
    Column("http.response.bytes", L, "size of the response in bytes"),
    Column("url.path", K, "path of the request"),
)
ERROR = (
    Column("error.code", K, "error code of the source"),
    Column("error.message", T, "error message of the source"),
)
SERVICE = (
    Column("service.name", K, "system that the event is about"),
    Column("service.environment", K, "environment of the system: production, staging, …"),
)
MESSAGE = Column(
    "message",
    T,
    "the event as one sentence; Grafana's annotations use it, because they cannot read dotted fields",
)
TAGS = Column("tags", Type.KEYWORDS, "keywords for searching")
