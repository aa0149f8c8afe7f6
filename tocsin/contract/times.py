"""The times of a finding and its alert, from the newest event that was read to the acknowledgement."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime, timedelta

from tocsin.clock import format_time


@dataclass(frozen=True, slots=True)
class Times:
    """When a finding and its alert came about. None: unknown, or not yet.

    The decisive event is the last event without which there would be no finding. It can only be found offline. Its
    stand-in in production is the newest event: it is at least as new as the decisive event. `to_detect` is therefore a
    lower bound of the time from the decisive event. If the evaluation came soon after each event, both are nearly equal.

    Attributes:
        newest_event: event time of the subject's newest event that the evaluation had read.
        ingested: ingest time of the last of these events to arrive.
        evaluated: end of the first evaluation that gave the finding.
        found: ingest time of the finding's first revision.
        notified: delivery of the first notification about the alert.
        acknowledged: the first acknowledgement of the alert.
    """

    newest_event: datetime | None = None
    ingested: datetime | None = None
    evaluated: datetime | None = None
    found: datetime | None = None
    notified: datetime | None = None
    acknowledged: datetime | None = None

    @property
    def to_detect(self) -> timedelta | None:
        """From the newest event to the first delivered notification; None if the event's time lies after it."""
        return _between(self.newest_event, self.notified)

    @property
    def to_acknowledge(self) -> timedelta | None:
        """From the first delivered notification to the first acknowledgement; None if nobody waited for it."""
        return _between(self.notified, self.acknowledged)

    def to_dict(self) -> dict[str, str | None]:
        """The times under the keys that the command line's `--json` prints."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: None if at is None else format_time(at) for name, at in found.items()}


def _between(start: datetime | None, end: datetime | None) -> timedelta | None:
    return None if start is None or end is None or end < start else end - start
