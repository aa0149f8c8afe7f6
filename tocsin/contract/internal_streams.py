"""The streams that Tocsin itself writes."""

from __future__ import annotations

from tocsin.contract.columns import (
    ASPECT,
    COMMON,
    EARLY,
    EVALUATED,
    FENCE,
    FIRST_FOUND,
    FOUND,
    LAST_INGEST,
    MESSAGE,
    NEWEST_EVENT,
    SILENT,
    TAGS,
    Column,
    D,
    K,
    L,
    Stream,
    T,
    Type,
)

_FINDING_KEY = (
    Column("tocsin.detector.id", K, "id of the detector", required=True),
    Column("tocsin.window.start", Type.DATE, "start of the window, inclusive", required=True),
    Column("tocsin.window.end", Type.DATE, "end of the window, exclusive", required=True),
)
_CLAIM = Column(
    FENCE,
    L,
    "number of the worker's claim on the window; of several revisions, the one with the highest number is valid",
)
_SILENT = Column(SILENT, Type.BOOLEAN, "true: written by a backfill that sends no notifications")
_EARLY = Column(
    EARLY,
    Type.BOOLEAN,
    "true: written by an early evaluation, before the window had ended; of a revision that withdraws the finding, true if "
    "the finding was early: the full window withdrew it",
)
#: All revisions of a finding have these times of the first one, unless it was withdrawn or silent in between.
_TIMES = (
    Column(
        NEWEST_EVENT,
        Type.DATE,
        "event time of the subject's newest event that the evaluation had read; it stands for the decisive event, and is "
        "at least as new",
    ),
    Column(LAST_INGEST, Type.DATE, "ingest time of the last of the subject's events to arrive"),
    Column(EVALUATED, Type.DATE, "time of the evaluation that first gave the finding"),
    Column(
        FIRST_FOUND,
        Type.DATE,
        "ingest time of the finding's first revision; empty in that revision itself",
    ),
)
_SUBJECT = (
    Column(
        "tocsin.subject.type",
        K,
        "type of the subject: model, dataset, principal, cohort, artifact, pipeline or detector; in results of the detector "
        "health also plugin, stream, clock, source or store",
    ),
    Column("tocsin.subject.id", K, "id of the subject"),
)
_VERDICT = (
    Column("tocsin.score", D, "score of the subject; a higher score is worse"),
    Column("tocsin.threshold", D, "a score at or above this threshold is a finding"),
    Column("event.reason", T, "what the detector observed, in one sentence"),
    Column(
        "tocsin.baseline.digest",
        K,
        "digest of the baseline that the window was compared with; two digests are joined by a comma",
    ),
    Column(
        ASPECT,
        K,
        "empty for a score of the subject; otherwise what is reported in addition, such as events that cannot be judged",
    ),
)

INTERNAL_STREAMS = (
    Stream(
        "score",
        "A detector's score of one subject in one window. Scores below the threshold are stored as well. `@timestamp` is "
        "the end of the window.",
        (*COMMON, *_FINDING_KEY, *_SUBJECT, *_VERDICT, _CLAIM),
        {
            "@timestamp": "2026-03-03T00:00:00Z",
            "event": {"reason": "credit answers as before"},
            "tocsin": {
                "detector": {"id": "prediction_drift"},
                "window": {"start": "2026-03-02T00:00:00Z", "end": "2026-03-03T00:00:00Z"},
                "subject": {"type": "model", "id": "credit"},
                "score": 0.4,
                "threshold": 2.58,
            },
        },
        {"event.kind": "metric"},
        internal=True,
    ),
    Stream(
        "finding",
        "A score at or above its threshold. A later evaluation of the window can append a new revision of a finding. Of "
        "several revisions with the same `tocsin.finding.id`, the one with the highest `tocsin.run.fence` is valid, and "
        "of those with the same number the newest. `@timestamp` is the end of the window.",
        (
            *COMMON,
            *_FINDING_KEY,
            *_SUBJECT,
            *_VERDICT,
            Column(
                "tocsin.finding.id",
                K,
                "id of the finding, derived from detector, window and subject",
                required=True,
            ),
            Column("tocsin.severity", K, "severity: info, low, medium, high or critical"),
            Column("tocsin.evidence", Type.JSON, "facts that let a person verify the finding"),
            Column("tocsin.playbook.id", K, "id of the playbook for an incident of this kind"),
            Column("tocsin.detector.family", K, "area that the detector monitors, such as data_integrity"),
            Column("threat.framework", K, "framework of the technique ids: MITRE ATLAS"),
            Column("threat.technique.id", Type.KEYWORDS, "ids of ATLAS techniques"),
            _CLAIM,
            _SILENT,
            _EARLY,
            *_TIMES,
        ),
        {
            "@timestamp": "2026-03-03T00:00:00Z",
            "event": {"reason": "credit returns another score than before: mean 0.31, before 0.22"},
            "tocsin": {
                "finding": {"id": "0b7e…"},
                "detector": {"id": "prediction_drift"},
                "window": {"start": "2026-03-02T00:00:00Z", "end": "2026-03-03T00:00:00Z"},
                "subject": {"type": "model", "id": "credit"},
                "severity": "high",
                "score": 6.1,
                "threshold": 2.58,
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
        "One transition of an alert, an incident or a notification: what happened, when and by whom.",
        (
            *COMMON,
            *_SUBJECT,
            Column("tocsin.detector.id", K, "id of the detector"),
            Column("tocsin.alert.fingerprint", K, "fingerprint of the alert"),
            Column("tocsin.alert.state", K, "state after the transition: firing or resolved"),
            Column("tocsin.alert.started", Type.DATE, "start of the alert's first window with a finding"),
            Column("tocsin.severity", K, "severity of the alert"),
            Column("tocsin.finding.id", K, "id of the finding that caused the transition"),
            Column("tocsin.incident.id", K, "id of the incident"),
            Column("tocsin.receiver", K, "receiver of the notification"),
            Column("tocsin.notification.key", K, "key of the notification, the same for all retries"),
            MESSAGE,
            TAGS,
            Column("user.name", K, "person who caused the transition, if any"),
            Column("event.reason", T, "reason for the transition"),
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
        "One attempt of a detector to evaluate a window (evaluated, late, filled, skipped or failed), or the record of a "
        "gap, with the reason. `@timestamp` is the end of the window.",
        (
            *COMMON,
            *_FINDING_KEY,
            Column("tocsin.run.rows", L, "number of events read"),
            Column("tocsin.run.scores", L, "number of subjects scored"),
            Column("tocsin.run.findings", L, "number of findings"),
            Column(
                "tocsin.run.judged", K, "digest of the evaluation's subjects, scores, thresholds and reasons"
            ),
            Column(
                FOUND,
                K,
                "digest of the evaluation's findings: subjects, severities, scores, reasons and evidence; with it, "
                "`health` detects deleted and edited findings",
            ),
            Column(
                "tocsin.run.attempt",
                L,
                "number of the attempt: 1 plus the number of failed attempts before it",
            ),
            Column("event.duration", L, "duration in nanoseconds"),
            Column(
                "event.reason", T, "why the window was skipped, why its evaluation failed, or why it is a gap"
            ),
            Column(
                "error.type",
                K,
                "kind of failure: raised, output, baseline, store, hang, memory, crash or import",
            ),
            Column(
                "tocsin.run.searched",
                Type.DATE,
                "oldest event time that the evaluation covered, including history and baseline",
            ),
            Column("tocsin.baseline.digest", K, "digest of the baseline that was used"),
            _CLAIM,
            _SILENT,
        ),
        {
            "@timestamp": "2026-03-03T00:00:00Z",
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
        "One change to Tocsin by a person or by Tocsin itself, such as a pinned baseline or an acknowledged alert.",
        (
            *COMMON,
            Column("user.name", K, "person who made the change"),
            Column("event.reason", T, "reason that the person gave"),
            Column("tocsin.audit.object", K, "object that was changed"),
            Column("tocsin.audit.details", Type.JSON, "arguments of the command, old and new values"),
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
        "An event that ingest rejected, with the reason and its position in the source.",
        (
            *COMMON,
            Column("tocsin.dead_letter.stream", K, "stream that the event was intended for"),
            Column("tocsin.dead_letter.position", K, "position in the source, such as file and byte offset"),
            Column("tocsin.dead_letter.bytes", L, "size of the original event in bytes"),
            Column("error.message", T, "reason for the rejection"),
            Column(
                "event.hash",
                K,
                "digest of the original event; a keyed digest if protection rules are configured",
            ),
            Column("event.original", T, "original event after the protection rules; truncated if it is long"),
        ),
        {
            "@timestamp": "2026-03-03T00:05:00Z",
            "error": {"message": "@timestamp: required field is missing"},
            "tocsin": {"dead_letter": {"stream": "access", "position": "access.ndjson@2048"}},
        },
        {"event.kind": "pipeline_error"},
        internal=True,
    ),
)
