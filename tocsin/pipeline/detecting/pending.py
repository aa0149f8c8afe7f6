"""A pending window in a detector's record: its state, its claim, and the effect of an attempt on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from tocsin.clock import EPOCH, floor_time, format_time, parse_time
from tocsin.contract.findings import Outcome
from tocsin.pipeline.detecting.cursors import Cursor
from tocsin.pipeline.detecting.records import Run
from tocsin.pipeline.detecting.settings import Setting
from tocsin.store.protocol import Entry

#: Keys: seen, since, attempts; optional: gap, fault, after, and by, until and token of a claim; of the last early
#: evaluation: looked (the `seen` that it judged), at (when), read (the ingest time up to which it counted rows), misses
#: (failures), and rest (seconds until the next one).
Pending = dict[str, Any]
_BACKOFF, _LONGEST = timedelta(minutes=1), timedelta(days=1)
_LAG = timedelta(days=1)
#: A window is evaluated early again after at least ten times the time that the last evaluation took. Whatever the events
#: are, early evaluations of a detector use at most about a tenth of a core.
_REST, _LONGEST_REST = 10, timedelta(minutes=15)
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
    read: datetime = EPOCH  # ingest time up to which the last early evaluation counted rows
    reach: datetime = EPOCH  # ingest time up to which this one counts them
    first: bool = False  # no earlier window of the detector is pending


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
    if run.early:
        value |= (
            {} if run.silent else _looked(value, claim, run, now)
        )  # what was silent is judged again, aloud
    elif run.outcome is Outcome.FAILED:
        wait = min(_BACKOFF * 2 ** min(run.attempt - 1, 20), _LONGEST)
        value |= {"attempts": run.attempt, "after": format_time(now + wait), "fault": run.reason}
    elif value["seen"] == claim.seen and not run.silent and not claim.early:
        del pending[key]
        return
    pending[key] = value


def _looked(value: Pending, claim: Claim, run: Run, now: datetime) -> Pending:
    """What an early evaluation leaves in the record. After a failure, the next one waits longer and counts the same rows."""
    misses = value.get("misses", 0) + 1 if run.reason else 0
    rest = _BACKOFF * 2 ** min(misses, 20) if misses else _REST * timedelta(seconds=run.seconds)
    read = claim.read if misses else claim.reach
    kept = {"looked": claim.seen, "at": format_time(now), "read": format_time(read), "misses": misses}
    return kept | {"rest": min(rest, _LONGEST_REST).total_seconds()}


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
    claim = Claim(detector, start, length, entry.version, reevaluation=reevaluation, early=early)
    if value.get("token") != token:
        return claim
    return claim._replace(
        seen=value["seen"],
        attempts=value["attempts"],
        gap=bool(value.get("gap")),
        token=token,
        read=parse_time(value["read"]) if "read" in value else EPOCH,
        first=key == min(entry.value["pending"]),
        reach=max((Cursor.read(c).newest for c in entry.value["cursors"].values()), default=EPOCH),
    )


def looks(
    setting: Setting, pending: Mapping[str, Pending], now: datetime, every: timedelta
) -> list[datetime]:
    """The open windows to evaluate early: those with rows that the last early evaluation did not see, oldest first.

    Args:
        setting: the detector.
        pending: its pending windows that are not claimed.
        now: the current time.
        every: the shortest time between two early evaluations of a window.
    """
    if setting.looks_early is None:
        return []
    return sorted(
        start
        for key, value in pending.items()
        if value["seen"] != value.get("looked")
        and (start := parse_time(key)) <= now < setting.due(start)
        and _has_rested(value, now, every)
    )


def _has_rested(value: Pending, now: datetime, every: timedelta) -> bool:
    """Whether the last early evaluation is long enough ago. One in the future was made by a clock that was wrong."""
    if "at" not in value:
        return True
    ago = now - parse_time(value["at"])
    return ago < timedelta(0) or ago >= max(every, timedelta(seconds=value["rest"]))
