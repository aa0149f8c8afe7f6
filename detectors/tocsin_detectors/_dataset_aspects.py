"""What changed in the form of a dataset's snapshots, and which of them cannot be judged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TypeVar

import msgspec
import polars as pl

from tocsin.contract.aspects import changed, not_judged, unusual
from tocsin.contract.findings import Json, Score, Subject
from tocsin.datasets.labels import label_column
from tocsin.words import count, short
from tocsin_detectors._dataset_history import (
    DIGEST,
    LABEL_COLUMN,
    NAME,
    OUTCOME,
    SOURCE,
    Event,
    History,
    Past,
)

T = TypeVar("T")

_LOW, _MEDIUM, _HIGH = 1.0, 1.5, 2.0
#: Remarks of the collector: what a finding says about them, and its score.
_REMARKS = {
    "name": ("a sidecar gives {} another name", _MEDIUM),
    "label": ("the label column of {} is missing or contradicted", _MEDIUM),
    "sidecar": ("a sidecar of {} cannot be used", _MEDIUM),
    "time": ("a snapshot of {} declares a time that is not credible", _LOW),
    "writer": ("a sidecar gives {} another writer", _LOW),
    "separator": ("a CSV file of {} has only one column", _LOW),
    "columns": ("a column of {} has numbers mixed with other text", _LOW),
}
_USUAL = 2  # earlier snapshots with the same remark from which it is usual
_FEW = 20  # new names of a source in a window; more are one finding
_SHOWN = 20  # names in the evidence


def unreadable(subject: Subject, events: Sequence[Event], past: Past, *, known: bool) -> Iterator[Score]:
    """Snapshots that cannot be read: `high` for a known dataset, `medium` for a new one of a known source, else `low`."""
    failed = [event for event in events if event[OUTCOME] == "failure"]
    if not failed:
        return
    share = past.failures / max(len(past.digests) + past.failures, 1)
    usual = share * len(events)
    most = _HIGH if past.digests else _MEDIUM if known else _LOW
    value = unusual(len(failed), usual)
    reason = f"not judged: {count(len(failed), 'snapshot')} of {short(subject.id)} cannot be read"
    first: dict[str, Json] = {
        "snapshot": failed[0][DIGEST],
        "cause": _remarks(failed[0]).get("unreadable", ""),
    }
    facts = first | {"count": len(failed), "usual": round(usual, 2)}
    yield changed(subject, "unreadable", reason, max(value, most) if value >= 1 else value, facts)


def changes(subject: Subject, events: Sequence[Event], past: Sequence[Event]) -> Iterator[Score]:
    """Remarks of the collector that earlier snapshots do not have, and another source, label column or form of a file."""
    earlier = Counter(kind for event in past for kind in _remarks(event))
    found: dict[str, Score] = {}
    for event in events:
        for kind, text in _remarks(event).items():
            if kind in _REMARKS and kind not in found and earlier[kind] < _USUAL:
                words, value = _REMARKS[kind]
                facts: dict[str, Json] = {"snapshot": event[DIGEST], "remark": text}
                found[kind] = changed(
                    subject, f"declared {kind}", words.format(short(subject.id)), value, facts
                )
    yield from found.values()
    if past:
        yield from _sources(subject, events, past)
        yield from _labels(subject, events, past)
        yield from _forms(subject, events, past)


def usual_label(past: Sequence[Event]) -> str | None:
    """The label column that most of the earlier snapshots have."""
    labels = Counter(event[LABEL_COLUMN] for event in past if event[LABEL_COLUMN])
    return labels.most_common(1)[0][0] if labels else None


def new_datasets(history: History, likes: dict[str, str]) -> Iterator[Score]:
    """Names that the history does not have: one finding each for a known source, one in all for many names.

    `likes` has the datasets with which new ones were compared.
    """
    if history.is_empty:
        return
    for (source,), rows in history.others.partition_by(SOURCE, as_dict=True, maintain_order=True).items():
        names = rows[NAME].to_list()
        if len(names) > _FEW:
            reason = f"{len(names):,} new dataset names from {source or 'events without a source'}"
            subject, facts = Subject("source", str(source or "")), {"first": names[:_SHOWN]}
            yield not_judged(subject, "new datasets", reason, len(names), evidence=facts)
        elif source in history.sources:
            for name in names:
                yield _new_dataset(name, str(source), likes.get(name, ""))


def _new_dataset(name: str, source: str, like: str) -> Score:
    reason = f"not judged: {short(name)} is a new dataset of a known source"
    if like:
        reason = f"{short(name)} is a new name of a known source; it was compared with {short(like)}, whose columns it has"
    return changed(Subject("dataset", name), "new dataset", reason, _LOW, {"source": source, "like": like})


def _sources(subject: Subject, events: Sequence[Event], past: Sequence[Event]) -> Iterator[Score]:
    known = {event[SOURCE] for event in past if event[SOURCE]}
    new = sorted({event[SOURCE] for event in events if event[SOURCE]} - known)
    if known and new:
        reason = f"{short(subject.id)} comes from another source than before"
        yield changed(subject, "source", reason, _LOW, {"sources": list(new[:_SHOWN])})


def _labels(subject: Subject, events: Sequence[Event], past: Sequence[Event]) -> Iterator[Score]:
    usual = usual_label(past)
    if usual is None:
        return
    others = [e for e in events if label_column(usual, [e[LABEL_COLUMN] or ""]) is None]
    if others and all(event[LABEL_COLUMN] for event in past[-_USUAL:]):
        now = others[0][LABEL_COLUMN]
        reason = f"the label column of {short(subject.id)} is {now or 'not set'}, before {usual}"
        yield changed(
            subject, "label column", reason, _MEDIUM, {"snapshot": others[0][DIGEST], "now": now or ""}
        )


def _forms(subject: Subject, events: Sequence[Event], past: Sequence[Event]) -> Iterator[Score]:
    """A file in another format, encoding or with another separator; events of version 0.2 have no form."""
    known = {form for event in past if (form := _form(event))}
    new = sorted({form for event in events if (form := _form(event))} - known)
    if known and new:
        now, before = new[0], min(known)
        reason = f"the files of {short(subject.id)} have another form: {now}, before {before}"
        yield changed(subject, "form", reason, _LOW, {"now": list(new), "before": sorted(known)})


def _form(event: Event) -> str:
    if event["tocsin.dataset.format"] == "parquet":
        return "parquet"
    form = _decoded(event["tocsin.dataset.form"])
    separator = str(form.get("separator", ""))
    return f"csv {form.get('encoding', '')} separated by {separator!r}" if form else ""


def _remarks(event: Event) -> dict[str, str]:
    return {kind: str(text) for kind, text in _decoded(event["tocsin.dataset.remarks"]).items()}


def _decoded(text: str | None) -> dict[str, object]:
    try:
        return msgspec.json.decode(text, type=dict[str, object]) if text else {}
    except msgspec.DecodeError:
        return {}


def sampled(events: Sequence[T], most: int) -> list[T]:
    """At most `most` items, evenly spaced."""
    return [events[i * len(events) // most] for i in range(most)] if len(events) > most else list(events)


def chosen(others: pl.DataFrame, most: int) -> list[str]:
    """At most `most` new names of each source, in the order of the alphabet."""
    return sorted(set(others.group_by(SOURCE, maintain_order=True).head(most)[NAME]))
