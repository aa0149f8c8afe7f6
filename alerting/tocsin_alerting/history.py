"""Writes alert_history: the transitions in the records that are not in the stream yet."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import Any

import polars as pl

from tocsin.contract.alerts import Action, Transition
from tocsin.contract.frames import conform
from tocsin.contract.streams import ID, STREAMS, TIME
from tocsin.store.protocol import Store
from tocsin_alerting.context import Context
from tocsin_alerting.records import Table

_STREAM = "alert_history"


def write_history(context: Context) -> list[Transition]:
    """Append every unwritten transition in one commit, then remove them from the records.

    After a crash between the two, they are written again with the same ids and times. The store deduplicates them.
    """
    tables: tuple[Table[Any], ...] = (context.alerts, context.incidents, context.groups)
    written = [t for table in tables for record in table.all() for t in record.unwritten]
    append(context.store, written)
    done = frozenset(written)
    for table in tables:
        table.amend_all([r.id for r in table.all() if r.unwritten], partial(_written, done))
    return written


def append(store: Store, transitions: Iterable[Transition]) -> None:
    """Append transitions as rows of alert_history."""
    rows = [_row(transition) for transition in transitions]
    if rows:
        store.append(_STREAM, conform(pl.DataFrame(rows, infer_schema_length=None), _STREAM))


def _written(done: frozenset[Transition], record: Any) -> Any:
    return replace(record, unwritten=tuple(t for t in record.unwritten if t not in done))


def _row(transition: Transition) -> dict[str, Any]:
    failed = transition.action is Action.NOTIFICATION_FAILED
    return {
        **STREAMS[_STREAM].constants,
        TIME: transition.at,
        ID: transition.id,
        "event.action": transition.action.value,
        "event.outcome": "failure" if failed else "success",
        "tocsin.subject.type": transition.subject.type,
        "tocsin.subject.id": transition.subject.id,
        "tocsin.detector.id": transition.detector or None,
        "tocsin.alert.fingerprint": transition.fingerprint or None,
        "tocsin.alert.state": transition.state or None,
        "tocsin.alert.started": transition.started,
        "tocsin.severity": transition.severity or None,
        "tocsin.finding.id": transition.finding or None,
        "tocsin.incident.id": transition.incident or None,
        "tocsin.receiver": transition.receiver or None,
        "tocsin.notification.key": transition.notification or None,
        "user.name": transition.by or None,
        "event.reason": transition.reason or None,
        "message": _message(transition),
        "tags": [word for word in (transition.severity, transition.detector) if word],
    }


def _message(transition: Transition) -> str:
    """A sentence that names the action, the subject and the reason."""
    what = f"{transition.action.value.replace('_', ' ')}: {transition.subject.type} {transition.subject.id}"
    return f"{what}: {transition.reason}" if transition.reason else what
