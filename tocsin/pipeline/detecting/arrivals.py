"""What sources declared of the events of the last day: times long past or still to come, and ids of other sources."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from tocsin.clock import format_time
from tocsin.contract.aspects import THRESHOLD, changed, unusual
from tocsin.contract.findings import Json, Score, Subject
from tocsin.contract.query import COUNT, Condition
from tocsin.contract.streams import INGESTED, SOURCE, SOURCES
from tocsin.pipeline.detecting.settings import Setting
from tocsin.store import shared_ids
from tocsin.store.protocol import Store

_RECENT = timedelta(days=1)
_DAY = timedelta(days=1)
_PAST = timedelta(days=2)  # windows that ended longer ago are windows of the past
_AHEAD = timedelta(minutes=15)
_BATCH, _IMPORT = (
    14,
    400,
)  # days of the past that one late batch, or the first import of a source, may contain


def arrivals(store: Store, now: datetime, settings: Sequence[Setting]) -> Iterator[Score]:
    """The aspects of sources whose events of the last day are unusual, for `tocsin health`.

    Cost: three queries for each stream that a detector reads, and two for each source that sent events of the past.

    Raises:
        StoreError: the store cannot be read.
    """
    for stream in sorted({stream for setting in settings for stream in setting.detector.requires.streams}):
        if stream in SOURCES:
            yield from _past(store, stream, now)
            yield from _future(store, stream, now)
    yield from _shared(store, now)


def _past(store: Store, stream: str, now: datetime) -> Iterator[Score]:
    """Sources that touched more windows of the past than a late batch does: all of them are evaluated again."""
    new, until = Condition(INGESTED, ">", now - _RECENT), now - _PAST
    for source in store.summarize(stream, None, until, [SOURCE], [COUNT], [new])[SOURCE].drop_nulls():
        own = Condition(SOURCE, "==", source)
        days = len(store.windows(stream, _DAY, None, until, [new, own]))
        if days <= _BATCH:
            continue
        before = [own, Condition(INGESTED, "<=", now - _RECENT)]
        known = int(store.summarize(stream, None, None, [], [COUNT], before)[COUNT.name].sum())
        usual = _BATCH if known else _IMPORT
        value = unusual(days, usual)
        if value >= THRESHOLD:
            reason = f"{source} touched {days:,} days of the past in {stream}; up to {usual} are usual"
            evidence: dict[str, Json] = {"stream": stream, "days": days, "usual": usual}
            yield changed(
                Subject("source", source), f"windows of the past: {stream}", reason, value, evidence
            )


def _future(store: Store, stream: str, now: datetime) -> Iterator[Score]:
    """Sources with events that are dated ahead: they are judged only when their window has ended."""
    found = store.summarize(stream, now + _AHEAD, None, [SOURCE], [COUNT])
    for source, count in found.select(SOURCE, COUNT.name).drop_nulls().iter_rows():
        reason = f"{source} sent {count:,} events in {stream} with a time in the future; they wait until then"
        evidence = {"stream": stream, "count": count}
        value = unusual(count, 0.0)
        yield changed(Subject("source", source), f"times of the future: {stream}", reason, value, evidence)


def _shared(store: Store, now: datetime) -> Iterator[Score]:
    """Sources that sent the id and time of another source's event. Both events are stored."""
    for entry in store.entries(shared_ids.KIND):
        value = entry.value
        if value["last"] >= format_time(now - _RECENT):
            source, count, stream = value["source"] or "a notebook", value["count"], value["stream"]
            reason = (
                f"{source} and another source used the same ids in {stream}: {count:,} events; all are kept"
            )
            evidence = {"stream": stream, "count": count, "ids": value["ids"]}
            yield changed(Subject("source", source), f"shared ids: {stream}", reason, 1.5, evidence)
