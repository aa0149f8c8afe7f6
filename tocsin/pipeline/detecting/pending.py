"""A pending window in a detector's record: what is known of it, who is at it, and what an attempt makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from tocsin.clock import floor_time, format_time, parse_time
from tocsin.contract.findings import Outcome
from tocsin.pipeline.detecting.records import Run
from tocsin.pipeline.detecting.settings import Setting
from tocsin.store.protocol import Entry

#: seen, since, attempts; where there is something to say: gap, fault, after, by and until.
Pending = dict[str, Any]
_BACKOFF, _LONGEST = timedelta(minutes=1), timedelta(days=1)


class Claim(NamedTuple):
    """The right of this worker to evaluate one window of one detector."""

    detector: str
    start: datetime
    length: timedelta
    fence: int  # higher than that of every claim before
    seen: str = ""  # another text whenever the window was touched again
    attempts: int = 0
    gap: bool = False
    reevaluation: bool = True  # whether the window may have been evaluated before
    token: str = ""  # of the claim in the record; empty where the window was not pending, or another worker's
    early: bool = False  # the window is not over yet


@dataclass(frozen=True, slots=True)
class Waiting:
    """A pending window, for people: since when it could have been evaluated, and what became of it so far."""

    detector: str
    start: datetime
    since: datetime
    attempts: int
    gap: bool
    fault: str


def complete(pending: dict[str, Pending], claim: Claim, run: Run, now: datetime) -> None:
    """Cross a window off, or put it back: to be tried again later where it failed, at once where it was touched
    again, and where it is not over or nobody was to be told of it.

    What was written although the claim had gone to another worker meanwhile makes the window pending once more: where
    its successor found nothing to write, nothing of a higher number stands against it.
    """
    key = format_time(claim.start)
    value = pending.get(key)
    if not claim.token:
        return
    if value is None or value.get("token") != claim.token:
        value = value or {"since": format_time(now), "attempts": 0}
        pending[key] = {**value, "seen": f"{value.get('seen', '')} and claim {claim.fence} came late"}
        return
    value = {k: v for k, v in value.items() if k not in {"by", "until", "token"}}
    if run.outcome is Outcome.FAILED:
        wait = min(_BACKOFF * 2 ** min(run.attempt - 1, 20), _LONGEST)
        value |= {"attempts": run.attempt, "after": format_time(now + wait), "fault": run.reason}
    elif value["seen"] == claim.seen and not run.silent and not claim.early:
        del pending[key]
        return
    pending[key] = value


def realigned(record: Mapping[str, Any], length: int) -> dict[str, Pending]:
    """The pending windows of a record; where the configuration changed their length, those that hold the old ones.

    `length` is in microseconds, as in the record.
    """
    old = record.get("length", length)
    if old == length:
        return dict(record["pending"])
    step, found = timedelta(microseconds=length), dict[str, Pending]()
    for key, value in record["pending"].items():
        start = parse_time(key)
        at = floor_time(start, step)
        while at < start + timedelta(microseconds=old):
            found[format_time(at)] = {"seen": value["seen"], "since": value["since"], "attempts": 0}
            at += step
    return found


def waiting(detector: str, start: str, pending: Pending) -> Waiting:
    """A pending window, for people."""
    return Waiting(
        detector,
        parse_time(start),
        parse_time(pending["since"]),
        pending["attempts"],
        bool(pending.get("gap")),
        pending.get("fault", ""),
    )


def claimed(setting: Setting, start: datetime, entry: Entry, token: str, now: datetime) -> Claim:
    """The claim of a window that was written with a record."""
    key, detector, length = format_time(start), setting.detector.id, setting.detector.requires.window
    value = entry.value["pending"].get(key, {})
    reevaluation, early = key <= entry.value.get("reached", ""), setting.due(start) > now
    if value.get("token") != token:
        return Claim(detector, start, length, entry.version, reevaluation=reevaluation, early=early)
    gap = bool(value.get("gap"))
    return Claim(
        detector, start, length, entry.version, value["seen"], value["attempts"], gap, reevaluation, token, early
    )
