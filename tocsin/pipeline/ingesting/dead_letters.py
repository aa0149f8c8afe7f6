"""Converts rejected events to rows of the dead-letter stream."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
import polars as pl

from tocsin.contract.frames import conform, schema
from tocsin.contract.plugin import Batch, Rejected
from tocsin.contract.streams import STREAMS, TIME, Column
from tocsin.pipeline.ingesting.copies import Copies
from tocsin.pipeline.ingesting.protect import Protector
from tocsin.store.protocol import Refused

_ORIGINAL = 8192  # bytes of a rejected event that are stored
_REASON = 500  # characters
_QUOTED = re.compile(r"`.*`|\".*\"|'.*'", re.DOTALL)


def dead_letters(
    batch: Batch, rejected: Sequence[Rejected], protector: Protector, now: datetime
) -> pl.DataFrame:
    """Rows of the dead-letter stream for rejected events. The protection rules apply to them as well."""
    rows, collectors = [], set(map(id, batch.rejected))
    for item in rejected:
        foreign = id(item) in collectors  # in the source's own format, to which no rule can be applied
        place = "\x1f".join((batch.source, batch.stream, item.position))
        original, copies = _original(batch.stream, item.original, protector, foreign=foreign)
        bare = item.reason[:_REASON] if not protector else _bare(item.reason, copies, foreign=foreign)
        key = "\x1f".join((place, hashlib.sha256(item.original).hexdigest(), item.reason))
        rows.append(
            {
                TIME: now,
                "event.id": protector.identity(key.encode("utf-8", "replace"), f"{place}\x1f{bare}"),
                "event.kind": "pipeline_error",
                "tocsin.source.id": batch.source,
                "tocsin.dead_letter.stream": batch.stream,
                "tocsin.dead_letter.position": item.position,
                "tocsin.dead_letter.bytes": len(item.original),
                "error.message": bare,
                "event.hash": protector.identity(item.original, place),
                "event.original": original,
            }
        )
    known = schema("dead_letter")
    return conform(pl.DataFrame(rows, schema={name: known[name] for name in rows[0]}), "dead_letter")


def refused_dead_letters(
    stream: str, frame: pl.DataFrame, refused: Sequence[Refused], protector: Protector, now: datetime
) -> pl.DataFrame:
    """Rows of the dead-letter stream for rows of one source that the store rejected."""
    rejected = [Rejected(row.reason, f"event.id {row.id}", b"") for row in refused]
    return dead_letters(Batch(stream, frame["tocsin.source.id"][0], {}), rejected, protector, now)


def _original(
    stream: str, original: bytes, protector: Protector, *, foreign: bool
) -> tuple[str | None, Copies | None]:
    """The content that is stored, and what replaces copies of its protected values in the reason of the rejection."""
    if not protector:
        return original[:_ORIGINAL].decode("utf-8", "replace"), None
    try:  # if the rules cannot be applied, the content is not stored: only its position and digest
        event = msgspec.json.decode(original)
        if not isinstance(event, dict):
            return None, None
        protected, copies = protector.whole(stream, _dotted(event, STREAMS[stream].by_name))
        stored = msgspec.json.encode(protected)[:_ORIGINAL].decode("utf-8", "replace")
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None, None
    return None if foreign else stored, copies


def _bare(reason: str, copies: Copies | None, *, foreign: bool) -> str:
    """Remove the quoted value from a reason: a rule may protect the value."""
    if copies:
        reason = copies.text(reason)
    if foreign:
        return _QUOTED.sub("…", reason)[:_REASON]
    head, _, _ = reason.partition(" is needed, not ")
    return (f"{head} is needed" if head != reason else reason)[:_REASON]


def _dotted(
    event: dict[str, Any], columns: Mapping[str, Column], prefix: str = ""
) -> Iterator[tuple[str, Any]]:
    """Fields by dotted name."""
    for key, value in event.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and value and name not in columns:
            yield from _dotted(value, columns, f"{name}.")
        else:
            yield name, value
