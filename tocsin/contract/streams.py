"""The catalogue of data streams: every column, its type and its ECS name, in one place.

Column names are dotted ECS 9.4 names; Tocsin's own fields stand under `tocsin.`. `docs/streams.md`,
the ingest schema, the Delta tables and Elasticsearch's mappings all follow from this module.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType


class Type(StrEnum):
    """What a column holds. The names are Elasticsearch's core types; `[]` marks a list."""

    KEYWORD = "keyword"
    TEXT = "text"
    LONG = "long"
    DOUBLE = "double"
    BOOLEAN = "boolean"
    DATE = "date"
    IP = "ip"
    JSON = "flattened"  # any JSON value, kept as its text
    KEYWORDS = "keyword[]"
    DOUBLES = "double[]"  # a null inside is NaN


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a stream."""

    name: str
    type: Type
    doc: str
    required: bool = False


@dataclass(frozen=True, slots=True)
class Stream:
    """One data stream: what one event is, its columns, and how long it is kept.

    `constants` fills ECS's categorization fields where an event does not carry them.
    """

    name: str
    doc: str
    columns: tuple[Column, ...]
    example: Mapping[str, object]
    constants: Mapping[str, object] = field(default_factory=dict)
    retention: str = "90d"
    internal: bool = False  # written by Tocsin itself; no collector may append to it

    @property
    def dataset(self) -> str:
        """ECS `event.dataset`."""
        return f"tocsin.{self.name}"

    def column(self, name: str) -> Column:
        """The column called `name`.

        Raises:
            KeyError: there is none.
        """
        return _BY_NAME[self.name][name]

    @property
    def by_name(self) -> Mapping[str, Column]:
        """The columns by their names."""
        return _BY_NAME[self.name]


K, T, L, D, B = Type.KEYWORD, Type.TEXT, Type.LONG, Type.DOUBLE, Type.BOOLEAN

UNMAPPED = "tocsin.unmapped"
INGESTED = "event.ingested"
#: Bytes of a keyword that is looked for. As characters, of at most four bytes each, they fit into a term of Lucene.
LONGEST_KEYWORD = 8_191
FENCE = "tocsin.run.fence"
SILENT = "tocsin.run.silent"
TIME = "@timestamp"
ID = "event.id"

_COMMON = (
    Column(TIME, Type.DATE, "event time: when it happened", required=True),
    Column(ID, K, "the same event always has the same id; stamped where the source gives none"),
    Column(INGESTED, Type.DATE, "ingest time: when it was appended; never goes back within a stream"),
    Column("event.kind", K, "ECS: event, metric, alert or state"),
    Column("event.category", Type.KEYWORDS, "ECS categories"),
    Column("event.type", Type.KEYWORDS, "ECS types"),
    Column("event.action", K, "what was done"),
    Column("event.outcome", K, "success, failure or unknown"),
    Column("tocsin.source.id", K, "the collector and source that it came from"),
    Column("labels", Type.JSON, "the source's own key/value pairs"),
    Column(UNMAPPED, Type.JSON, "every field that this catalogue does not name, as one JSON object"),
)
_PRINCIPAL = (
    Column("user.id", K, "the principal: one id for a person, a service account or a key"),
    Column("user.name", K, "the principal's name"),
    Column("user.roles", Type.KEYWORDS, "roles that the principal acted in"),
    Column("tocsin.principal.type", K, "human or service, where the source knows"),
    Column("tocsin.api_key.hash", K, "keyed hash of the credential that was used"),
    Column("source.ip", Type.IP, "the address that the principal came from (text: may be a pseudonym)"),
    Column("user_agent.original", K, "the client program as it names itself"),
)
_HTTP = (
    Column("http.request.method", K, "HTTP method"),
    Column("http.response.status_code", L, "HTTP status"),
    Column("http.response.bytes", L, "bytes of the answer"),
    Column("url.path", K, "path of the request"),
)
_ERROR = (
    Column("error.code", K, "the source's code for what went wrong"),
    Column("error.message", T, "the source's words for what went wrong"),
)
_SERVICE = (
    Column("service.name", K, "the system that was acted on"),
    Column("service.environment", K, "production, staging, …"),
)
_FINDING_KEY = (
    Column("tocsin.detector.id", K, "the detector", required=True),
    Column("tocsin.window.start", Type.DATE, "start of the window, inclusive", required=True),
    Column("tocsin.window.end", Type.DATE, "end of the window, exclusive", required=True),
)
_CLAIM = Column(
    FENCE, L, "number of the claim under which it was written; of two revisions the higher one counts"
)
_MESSAGE = Column("message", T, "the event in a sentence: Grafana's annotations can read no dotted field")
_TAGS = Column("tags", Type.KEYWORDS, "words to find it by")
_SILENT = Column(SILENT, Type.BOOLEAN, "true: of a backfill that pages nobody")
_SUBJECT = (
    Column("tocsin.subject.type", K, "model, dataset, principal, artifact or pipeline"),
    Column("tocsin.subject.id", K, "which one"),
)
_VERDICT = (
    Column("tocsin.score", D, "the detector's score, higher is worse"),
    Column("tocsin.threshold", D, "score from which a finding is made"),
    Column("event.reason", T, "one sentence: what was seen"),
    Column("tocsin.baseline.digest", K, "digest of the baseline that was compared with"),
)

_STREAMS = (
    Stream(
        "pipeline",
        "A step of a pipeline: run, step, status, definition and code digest, gates, metrics.",
        (
            *_COMMON,
            *_PRINCIPAL[:4],
            *_SERVICE,
            *_ERROR,
            Column("event.duration", L, "nanoseconds"),
            Column("tocsin.pipeline.name", K, "the pipeline", required=True),
            Column("tocsin.pipeline.run_id", K, "one execution of it"),
            Column("tocsin.pipeline.step", K, "the step"),
            Column("tocsin.pipeline.trigger", K, "schedule, manual, event"),
            Column("tocsin.pipeline.definition_digest", K, "digest of the pipeline's definition"),
            Column("tocsin.pipeline.code_digest", K, "digest of the step's code or image"),
            Column("tocsin.pipeline.gates", Type.JSON, "quality gates and their settings"),
            Column("tocsin.pipeline.metrics", Type.JSON, "training and evaluation metrics by name"),
            Column("tocsin.pipeline.inputs", Type.KEYWORDS, "digests that went in (lineage)"),
            _MESSAGE,
            _TAGS,
            Column("tocsin.pipeline.outputs", Type.KEYWORDS, "digests that came out (lineage)"),
            Column("tocsin.model.name", K, "the model that the step trains or deploys"),
            Column("tocsin.model.version", K, "its version"),
        ),
        {
            "@timestamp": "2026-03-02T04:12:09Z",
            "event": {"action": "train", "outcome": "success", "duration": 81000000000},
            "user": {"id": "svc-training"},
            "tocsin": {
                "pipeline": {
                    "name": "credit-training",
                    "run_id": "2026-w09",
                    "step": "train",
                    "trigger": "schedule",
                    "metrics": {"auc": 0.771},
                    "inputs": ["sha256:5f2b…"],
                },
                "model": {"name": "credit", "version": "9"},
            },
        },
        {"event.kind": "event", "event.category": ["process"], "event.type": ["info"]},
    ),
    Stream(
        "access",
        "Someone did something to a dataset, model, artifact or registry.",
        (
            *_COMMON,
            *_PRINCIPAL,
            *_SERVICE,
            *_HTTP,
            *_ERROR,
            Column("event.provider", K, "the service that logged it, such as s3.amazonaws.com"),
            Column("cloud.account.id", K, "cloud account"),
            Column("cloud.region", K, "cloud region"),
            Column("tocsin.resource.type", K, "model, model_version, dataset, artifact, registry, …"),
            Column("tocsin.resource.id", K, "what was acted on"),
            Column("tocsin.resource.version", K, "its version or alias"),
        ),
        {
            "@timestamp": "2026-03-02T09:31:44.120Z",
            "event": {"action": "download", "outcome": "success"},
            "user": {"id": "maria"},
            "source": {"ip": "192.0.2.17"},
            "tocsin": {"resource": {"type": "model_version", "id": "credit", "version": "8"}},
        },
        {"event.kind": "event", "event.category": ["api"], "event.type": ["access"]},
        retention="400d",
    ),
    Stream(
        "inference",
        "One call of a model.",
        (
            *_COMMON,
            *_PRINCIPAL,
            *_SERVICE,
            Column("http.response.status_code", L, "HTTP status"),
            Column("event.duration", L, "nanoseconds"),
            Column("trace.id", K, "the trace that the call belongs to"),
            Column("tocsin.model.name", K, "the model", required=True),
            Column("tocsin.model.version", K, "its version"),
            Column(
                "tocsin.features.names",
                K,
                "names of the vector's places, joined by commas; `:category` behind a name marks codes",
            ),
            Column("tocsin.features.values", Type.DOUBLES, "the feature vector"),
            Column("tocsin.output.label", K, "the class that the model chose"),
            Column("tocsin.output.score", D, "the model's answer as a number (probability or value)"),
            Column("tocsin.output.confidence", D, "probability of the chosen class, 0 to 1"),
            Column("gen_ai.operation.name", K, "chat, embeddings, …"),
            Column("gen_ai.input.messages", T, "messages to a language model, as JSON text"),
            Column("gen_ai.output.messages", T, "its answer, as JSON text"),
            Column("gen_ai.usage.input_tokens", L, "tokens in"),
            Column("gen_ai.usage.output_tokens", L, "tokens out"),
        ),
        {
            "@timestamp": "2026-03-02T09:31:44.120482Z",
            "event": {"id": "b1946ac9-000001", "duration": 1830000},
            "user": {"id": "broker-07"},
            "source": {"ip": "192.0.2.40"},
            "tocsin": {
                "model": {"name": "credit", "version": "8"},
                "features": {"names": "limit,age,sex:category", "values": [20000.0, 24.0, 1.0]},
                "output": {"label": "1", "score": 0.71, "confidence": 0.71},
            },
        },
        {"event.kind": "event", "event.category": ["api"], "event.type": ["access"]},
    ),
    Stream(
        "dataset",
        "A snapshot of a dataset: its digest, schema, profile, labels, writer and lineage.",
        (
            *_COMMON,
            *_PRINCIPAL[:4],
            *_SERVICE,
            Column("tocsin.dataset.name", K, "the dataset", required=True),
            Column("tocsin.dataset.digest", K, "`sha256:` over the canonical content", required=True),
            Column("tocsin.dataset.format", K, "csv or parquet"),
            Column("tocsin.dataset.path", K, "where the rows are"),
            Column("tocsin.dataset.rows", L, "number of rows"),
            Column("tocsin.dataset.bytes", L, "size of the file"),
            Column("tocsin.dataset.schema", Type.JSON, "column names and canonical types, in order"),
            Column("tocsin.dataset.profile", Type.JSON, "per column: nulls, distinct, min, max, mean, …"),
            Column("tocsin.dataset.label", K, "the label column"),
            Column("tocsin.dataset.labels", Type.JSON, "count of each label"),
            Column("tocsin.dataset.inputs", Type.KEYWORDS, "digests that it was made from (lineage)"),
        ),
        {
            "@timestamp": "2026-03-02T03:00:00Z",
            "event": {"action": "write", "outcome": "success"},
            "user": {"id": "partner-feed"},
            "tocsin": {
                "dataset": {
                    "name": "applications",
                    "digest": "sha256:5f2b…",
                    "format": "parquet",
                    "path": "/data/applications/2026-w09.parquet",
                    "rows": 2000,
                    "label": "default",
                    "labels": {"0": 1561, "1": 439},
                }
            },
        },
        {"event.kind": "event", "event.category": ["file"], "event.type": ["change"]},
        retention="400d",
    ),
    Stream(
        "score",
        "A detector's score of one subject in one window, the quiet ones too.",
        (*_COMMON, *_FINDING_KEY, *_SUBJECT, *_VERDICT, _CLAIM),
        {
            "@timestamp": "2026-03-03T00:00:00Z",
            "event": {"reason": "PSI 0.04 over 1d"},
            "tocsin": {
                "detector": {"id": "prediction_drift"},
                "window": {"start": "2026-03-02T00:00:00Z", "end": "2026-03-03T00:00:00Z"},
                "subject": {"type": "model", "id": "credit"},
                "score": 0.4,
                "threshold": 1.2,
            },
        },
        {"event.kind": "metric"},
        internal=True,
    ),
    Stream(
        "finding",
        "A score at or above its threshold. Readers take the newest revision of a `tocsin.finding.id`.",
        (
            *_COMMON,
            *_FINDING_KEY,
            *_SUBJECT,
            *_VERDICT,
            Column("tocsin.finding.id", K, "stable: detector, window, subject", required=True),
            Column("tocsin.severity", K, "info, low, medium, high or critical"),
            Column("tocsin.evidence", Type.JSON, "facts that let a human check it"),
            Column("tocsin.playbook.id", K, "the playbook for an incident of this kind"),
            Column("tocsin.detector.family", K, "what the detector guards, such as data_integrity"),
            Column("threat.framework", K, "MITRE ATLAS"),
            Column("threat.technique.id", Type.KEYWORDS, "ATLAS techniques"),
            _CLAIM,
            _SILENT,
        ),
        {
            "@timestamp": "2026-03-03T00:00:00Z",
            "event": {"reason": "PSI 0.61 over 1d"},
            "tocsin": {
                "finding": {"id": "0b7e…"},
                "detector": {"id": "prediction_drift"},
                "window": {"start": "2026-03-02T00:00:00Z", "end": "2026-03-03T00:00:00Z"},
                "subject": {"type": "model", "id": "credit"},
                "severity": "high",
                "score": 2.9,
                "threshold": 1.2,
            },
        },
        {
            "event.kind": "alert",
            "event.category": ["intrusion_detection"],
            "event.type": ["info"],
            "threat.framework": "MITRE ATLAS",
        },
        retention="400d",
        internal=True,
    ),
    Stream(
        "alert_history",
        "Every transition of an alert, an incident or a notification: what, when, by whom.",
        (
            *_COMMON,
            *_SUBJECT,
            Column("tocsin.detector.id", K, "the detector"),
            Column("tocsin.alert.fingerprint", K, "which alert"),
            Column("tocsin.alert.state", K, "firing or resolved, after the transition"),
            Column("tocsin.alert.started", Type.DATE, "the start of the alert's first window with a finding"),
            Column("tocsin.severity", K, "the alert's severity"),
            Column("tocsin.finding.id", K, "the finding that caused it"),
            Column("tocsin.incident.id", K, "the incident"),
            Column("tocsin.receiver", K, "the receiver of a notification"),
            Column("tocsin.notification.key", K, "stable key of a notification, kept over retries"),
            _MESSAGE,
            _TAGS,
            Column("user.name", K, "who did it, where a human did"),
            Column("event.reason", T, "why"),
        ),
        {
            "@timestamp": "2026-03-03T00:05:00Z",
            "event": {"action": "firing"},
            "tocsin": {"alert": {"fingerprint": "9c1f…", "state": "firing"}, "severity": "high"},
        },
        {
            "event.kind": "alert",
            "event.category": ["intrusion_detection"],
            "event.type": ["change"],
        },
        retention="400d",
        internal=True,
    ),
    Stream(
        "run",
        "One attempt of one detector on one window: evaluated, late, filled, skipped or failed, and why; or its gap.",
        (
            *_COMMON,
            *_FINDING_KEY,
            Column("tocsin.run.rows", L, "events read"),
            Column("tocsin.run.scores", L, "subjects judged"),
            Column("tocsin.run.findings", L, "findings made"),
            Column("tocsin.run.judged", K, "digest of the subjects, scores, thresholds and reasons"),
            Column("tocsin.run.attempt", L, "1, and one more after each attempt at the window that failed"),
            Column("event.duration", L, "nanoseconds"),
            Column("event.reason", T, "why it was skipped, failed or is a gap"),
            Column("error.type", K, "how it failed: raised, output, hang, memory or crash"),
            Column(
                "tocsin.run.searched", Type.DATE, "oldest event time that was read, with history and baseline"
            ),
            Column("tocsin.baseline.digest", K, "digest of the baseline that was used"),
            _CLAIM,
            _SILENT,
        ),
        {
            "@timestamp": "2026-03-03T00:05:00Z",
            "event": {"action": "evaluated", "outcome": "success", "duration": 41000000},
            "tocsin": {
                "detector": {"id": "prediction_drift"},
                "window": {"start": "2026-03-02T00:00:00Z", "end": "2026-03-03T00:00:00Z"},
                "run": {"rows": 1893, "scores": 1, "findings": 0},
            },
        },
        {"event.kind": "state", "event.category": ["process"], "event.type": ["end"]},
        internal=True,
    ),
    Stream(
        "audit",
        "What people and Tocsin did to Tocsin: commands, baselines pinned, alerts acknowledged.",
        (
            *_COMMON,
            Column("user.name", K, "who"),
            Column("event.reason", T, "why, in their words"),
            Column("tocsin.audit.object", K, "what it was done to"),
            Column("tocsin.audit.details", Type.JSON, "arguments, old and new values"),
        ),
        {
            "@timestamp": "2026-03-03T00:05:00Z",
            "event": {"action": "baseline pin", "reason": "first quarter reviewed"},
            "user": {"name": "ana"},
            "tocsin": {"audit": {"object": "feature_drift/1"}},
        },
        {"event.kind": "event", "event.category": ["configuration"], "event.type": ["change"]},
        retention="400d",
        internal=True,
    ),
    Stream(
        "dead_letter",
        "An event that could not be taken in, with the reason and the place where it stands.",
        (
            *_COMMON,
            Column("tocsin.dead_letter.stream", K, "the stream that it was meant for"),
            Column("tocsin.dead_letter.position", K, "source position: file and line or byte offset"),
            Column("tocsin.dead_letter.bytes", L, "size of the original"),
            Column("error.message", T, "why it was rejected"),
            Column("event.hash", K, "digest of the original, keyed where events are protected"),
            Column("event.original", T, "the original, protected by the same rules; shortened if long"),
        ),
        {
            "@timestamp": "2026-03-03T00:05:00Z",
            "error": {"message": "@timestamp: required field is missing"},
            "tocsin": {"dead_letter": {"stream": "access", "position": "access.ndjson:17"}},
        },
        {"event.kind": "pipeline_error"},
        internal=True,
    ),
)

STREAMS: Mapping[str, Stream] = MappingProxyType({stream.name: stream for stream in _STREAMS})
_BY_NAME = {s.name: {c.name: c for c in s.columns} for s in _STREAMS}

#: The streams that collectors append to.
SOURCES = tuple(stream.name for stream in _STREAMS if not stream.internal)
