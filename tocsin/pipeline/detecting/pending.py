"""A pending window in a detector's record: its state, its claim, and the effect of an attempt on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from tocsin.clock import floor_time, format_time, parse_time
from tocsin.contract.findings import Outcome
from tocsin.pipeline.detecting.records import Run
from tocsin.pipeline.detecting.settings import Setting
from tocsin.store.protocol import Entry

#: Keys: seen, since, attempts; optional: gap, fault, after, and by, until and token of a claim.
Pending = dict[str, Any]
_BACKOFF, _LONGEST = timedelta(minutes=1), timedelta(days=1)
_LAG = timedelta(days=1)
_LEARNED = 3  # baselines: an import of so much history is evaluated in the order of time
_PAST = 4  # one in so many claimed windows is a window of the past while windows of now are due


class Claim(NamedTuple):
    """The right of this worker to evaluate one window of one detector."""

    detector: str
    start: datetime
    length: timedelta
    fence: int  # fencing token: higher than that of every earlier claim
    seen: str = ""  # a marker that changes whenever the window is touched again
    attempts: int = 0
    gap: bool = False
    reevaluation: bool = True  # whether the window may have been evaluated before
    token: str = (
        ""  # of the claim in the record; empty if the window was not pending, or is claimed by another worker
    )
    early: bool = False  # the window has not ended


@dataclass(frozen=True, slots=True)
class Waiting:
    """A pending window for display: since when it is pending, and the result of its attempts."""

    detector: str
    start: datetime
    since: datetime
    attempts: int
    gap: bool
    fault: str


def complete(pending: dict[str, Pending], claim: Claim, run: Run, now: datetime) -> None:
    """Remove an evaluated window from the pending ones, or keep it pending.

    A failed window is retried later. A window stays due at once if it was touched again, has not ended, or was evaluated
    silently.

    If the claim was lost but rows were written under it, the window becomes pending again: if the worker that took over
    had nothing to write, no row with a higher fencing token would supersede them.
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


def first(
    setting: Setting, due: Sequence[datetime], record: Mapping[str, Any], now: datetime, limit: int
) -> list[datetime]:
    """The windows to claim next. Windows of now come before windows of the past, so that neither waits for the other.

    Windows of now are those that ended after the newest evaluated window, or at most a day or two windows before it, but
    not longer ago than three baselines. A detector with a baseline evaluates them in the order of time, because a baseline
    excludes windows in which something was found before. Another detector begins with the newest if more than four claims
    wait. Windows of now get at least three of four claims, so whoever sends old events cannot delay them. If there are at
    most `limit` windows, all are claimed in the order of time.

    Args:
        setting: the detector.
        due: the starts of the windows that are due, oldest first.
        record: the record of the detector.
        now: the current time.
        limit: the largest number of windows to claim.
    """
    if len(due) <= limit:
        return list(due)
    requires = setting.detector.requires
    learned = now - requires.window - _LEARNED * (requires.baseline or timedelta(0))
    reached = parse_time(record["reached"]) if record.get("reached") else learned
    horizon = max(min(reached, now), learned) - max(_LAG, 2 * requires.window)
    past = [start for start in due if start < horizon]
    current = list(due[len(past) :])
    if requires.baseline is None and len(due) > _PAST * limit:
        current.reverse()
    share = max(-(-limit // _PAST), limit - len(current)) if past else 0
    return [*current[: limit - share], *past[:share]]


def realigned(record: Mapping[str, Any], length: int) -> dict[str, Pending]:
    """The pending windows of a record. If their length was reconfigured, the new windows that cover the old ones.

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
    """The display form of a pending window."""
    return Waiting(
        detector,
        parse_time(start),
        parse_time(pending["since"]),
        pending["attempts"],
        bool(pending.get("gap")),
        pending.get("fault", ""),
    )


def claimed(setting: Setting, start: datetime, entry: Entry, token: str, now: datetime) -> Claim:
    """The claim of a window, from the record that was written with it."""
    key, detector, length = format_time(start), setting.detector.id, setting.detector.requires.window
    value = entry.value["pending"].get(key, {})
    reevaluation, early = key <= entry.value.get("reached", ""), setting.due(start) > now
    if value.get("token") != token:
        return Claim(detector, start, length, entry.version, reevaluation=reevaluation, early=early)
    gap = bool(value.get("gap"))
    return Claim(
        detector,
        start,
        length,
        entry.version,
        value["seen"],
        value["attempts"],
        gap,
        reevaluation,
        token,
        early,
    )
