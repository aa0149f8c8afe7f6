"""Digests of what detection writes, from values or from rows that were read back."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from tocsin.contract.streams import ASPECT

_CONTENT = (
    "event.action",
    "tocsin.severity",
    "tocsin.score",
    "tocsin.threshold",
    "event.reason",
    "tocsin.evidence",
)


def digest(*parts: Any) -> str:
    """The digest of some values: the first 32 hexadecimal digits of their SHA-256."""
    return hashlib.sha256(msgspec.json.encode(parts, enc_hook=str)).hexdigest()[:32]


def content(row: Mapping[str, Any]) -> list[Any]:
    """The values of a finding's row that a new revision may change."""
    return [row[name] for name in _CONTENT]


def judged_digest(verdicts: Iterable[tuple[str, str, float, float, str]]) -> str | None:
    """The digest of an evaluation's verdicts: type and id of the subject, score, threshold and reason of each."""
    known = sorted(verdicts)
    return digest(*known) if known else None


def found_digest(findings: Iterable[Mapping[str, Any]]) -> str:
    """The digest of an evaluation's findings, from their rows. It does not depend on the order of keys in the evidence."""
    rows = sorted(
        (
            row["tocsin.finding.id"],
            row["tocsin.subject.type"],
            row["tocsin.subject.id"],
            row["tocsin.severity"],
            float(row["tocsin.score"]),
            float(row["tocsin.threshold"]),
            row["event.reason"],
            row[ASPECT] or "",
            msgspec.json.encode(msgspec.json.decode(row["tocsin.evidence"] or "{}"), order="sorted").decode(),
        )
        for row in findings
    )
    return digest(*rows)
