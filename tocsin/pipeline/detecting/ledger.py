"""Records in the store: the pending windows of each detector, and the claims of workers on these windows.

Each detector has one record in the keyed state (kind `detect`): its cursors in its streams, and its pending windows. A
worker claims a pending window before it evaluates the window, and a claim expires. The fencing token of the claim is
written into every row of the results, so a worker that was suspended cannot overwrite the results of the worker that took
over.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from tocsin.clock import Clock, format_time, parse_time
from tocsin.contract.findings import Outcome
from tocsin.datasets.tables import FAULTS
from tocsin.errors import StoreAway, StoreError
from tocsin.logs import logger
from tocsin.pipeline.detecting.cursors import Cursor, Touched
from tocsin.pipeline.detecting.leases import LENGTH, Expiry
from tocsin.pipeline.detecting.pending import (
    Claim,
    Pending,
    Waiting,
    claimed,
    complete,
    first,
    looks,
    realigned,
    waiting,
)
from tocsin.pipeline.detecting.records import Run
from tocsin.pipeline.detecting.settings import Setting
from tocsin.store.protocol import Entry, Store

_FAULTS: tuple[type[BaseException], ...] = (StoreError, *FAULTS)
log = logger()
KIND = "detect"
#: If a window is not evaluated this long after it was due, a gap is recorded.
GRACE = timedelta(minutes=15)


class Ledger:
    """Reads and writes the records of all detectors for one worker."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        worker: str,
        length: timedelta = LENGTH,
        grace: timedelta = GRACE,
    ) -> None:
        self._store, self._clock, self.worker, self._grace = store, clock, worker, grace
        self._expiry = Expiry(clock, length)
        #: The claims that this worker holds: detector, start and token → monotonic time of the last renewal.
        self._held: dict[tuple[str, datetime, str], float] = {}
        self.unread: dict[str, str] = {}  # detectors whose streams could not be read → error

    def update_pending(self, settings: Sequence[Setting]) -> list[Run]:
        """Add the windows that received events since the last call, and find windows that were not evaluated in time.

        Detectors with equal cursors share one scan of a stream.

        Returns:
            A gap record for each window that was not evaluated in time. Append these records to the store, then call
            `note_gaps`.
        """
        known = {entry.key: entry for entry in self._store.entries(KIND)}
        shared: dict[Any, Touched] = {}
        gaps: list[Run] = []
        for setting in settings:
            id = setting.detector.id
            try:
                gaps += self._update(setting, known.get(id), shared)
                self.unread.pop(id, None)
            except StoreAway:
                raise
            except _FAULTS as error:  # an unreadable stream must not stop other detectors
                self.unread[id] = str(error)
                log.error("cannot read the streams of a detector", detector=id, error=str(error))  # noqa: TRY400
        return sorted(gaps, key=lambda gap: (gap.start, gap.detector))

    def _update(self, setting: Setting, entry: Entry | None, shared: dict[Any, Touched]) -> list[Run]:
        detector = setting.detector
        while True:
            value: Mapping[str, Any] = entry.value if entry else {"cursors": {}, "pending": {}}
            length = _microseconds(detector.requires.window)
            cursors, pending = dict(value["cursors"]), realigned(value, length)
            now = format_time(self._clock.now())
            for stream in detector.requires.streams:
                touched = self._touched(stream, detector.requires.window, cursors.get(stream), shared)
                cursors[stream] = touched.cursor.to_dict()
                for start, seen in touched.windows.items():
                    key = format_time(start)
                    before = pending.get(key, {"attempts": 0, "since": now})
                    pending[key] = {**before, "seen": seen}
            new = {**value, "cursors": cursors, "pending": pending, "length": length}
            if new == value or self._put(detector.id, new, entry) is not None:
                break
            entry = self._store.get(KIND, detector.id)  # another worker changed the record at the same time
        late = [(parse_time(k), p) for k, p in pending.items() if self._late(setting, k, p)]
        return [self._gap(setting, start, p, entry.version if entry else 0) for start, p in late]

    def _touched(
        self, stream: str, length: timedelta, value: Mapping[str, Any] | None, shared: dict[Any, Touched]
    ) -> Touched:
        cursor = Cursor.read(value)
        key = (stream, length, cursor.newest, tuple(cursor.recent.items()))
        if key not in shared:
            shared[key] = cursor.advance(self._store, stream, length)
        return shared[key]

    def _late(self, setting: Setting, start: str, pending: Pending) -> bool:
        """Whether a window is overdue, not recorded as a gap, and not claimed by a worker."""
        due = max(parse_time(pending["since"]), setting.due(parse_time(start)))
        late = self._clock.now() - due > self._grace
        return not pending.get("gap") and late and self._free(setting.detector.id, start, pending)

    def _gap(self, setting: Setting, start: datetime, pending: Pending, fence: int) -> Run:
        """The gap record of a window. The fencing token of the record is higher than the token of every earlier claim."""
        due = max(parse_time(pending["since"]), setting.due(start))
        reason = f"no worker evaluated the window in time: it was due at {format_time(due)}"
        if pending["attempts"]:
            reason = f"{pending['attempts']} attempts failed; the last error: {pending.get('fault', '')}"
        end = start + setting.detector.requires.window
        attempt = pending["attempts"]
        return Run(setting.detector.id, start, end, Outcome.GAP, reason, attempt=attempt, fence=fence)

    def note_gaps(self, gaps: Iterable[Run]) -> None:
        """Mark the windows of stored gap records. A later evaluation of such a window has the outcome `filled`."""
        by_detector: dict[tuple[str, timedelta], list[str]] = {}
        for gap in gaps:
            by_detector.setdefault((gap.detector, gap.end - gap.start), []).append(format_time(gap.start))
        for (detector, length), starts in by_detector.items():
            for pending in self._changing(detector, length):
                for start in starts:
                    if start in pending:
                        pending[start] = {**pending[start], "gap": True}

    def due(self, setting: Setting) -> list[datetime]:
        """Starts of the pending windows that have ended and are not claimed, oldest first."""
        entry = self._store.get(KIND, setting.detector.id)
        return self._due(setting, entry.value["pending"]) if entry else []

    def _due(self, setting: Setting, pending: Mapping[str, Pending]) -> list[datetime]:
        now, id = self._clock.now(), setting.detector.id
        return sorted(
            start
            for key, value in pending.items()
            if setting.due(start := parse_time(key)) <= now
            and (not value.get("after") or parse_time(value["after"]) <= now)
            and self._free(id, key, value)
        )

    def _free(self, detector: str, start: str, pending: Pending) -> bool:
        by = pending.get("by")
        if by is None:
            return True
        if by == self.worker:  # a claim that is not held is left over from a call that failed
            return (detector, parse_time(start), pending.get("token", "")) not in self._held
        return self._expiry.over(f"{detector} {start}", by, pending["until"])

    def fits(self, setting: Setting) -> bool:
        """Whether a detector's pending windows have the configured length. If not, `update_pending` replaces them."""
        own = _microseconds(setting.detector.requires.window)
        entry = self._store.get(KIND, setting.detector.id)
        return entry is None or entry.value.get("length", own) == own

    def claim(self, setting: Setting, limit: int) -> list[Claim]:
        """Claim at most `limit` of the windows that are due: windows of now, and a share for windows of the past.

        See `tocsin.pipeline.detecting.pending.first`.
        """
        now = self._clock.now()
        return self._claim(
            setting, lambda value: first(setting, self._due(setting, value["pending"]), value, now, limit)
        )

    def claim_early(self, setting: Setting, every: timedelta, limit: int) -> list[Claim]:
        """Claim at most `limit` open windows to evaluate early; `every`: the shortest time between two evaluations."""
        now, id = self._clock.now(), setting.detector.id

        def choose(value: Mapping[str, Any]) -> list[datetime]:
            free = {key: p for key, p in value["pending"].items() if self._free(id, key, p)}
            return looks(setting, free, now, every)[:limit]

        return [claim for claim in self._claim(setting, choose) if claim.token]

    def claim_named(self, setting: Setting, starts: Sequence[datetime]) -> list[Claim]:
        """Return a claim for each of these windows. Windows that are not pending, or are claimed by another worker, get a
        claim without a token, which changes no record.
        """
        return self._claim(setting, lambda _: starts)

    def _claim(
        self, setting: Setting, choose: Callable[[Mapping[str, Any]], Sequence[datetime]]
    ) -> list[Claim]:
        detector, own = setting.detector.id, _microseconds(setting.detector.requires.window)
        while True:
            entry = self._store.get(KIND, detector)
            value: Mapping[str, Any] = entry.value if entry else {"cursors": {}, "pending": {}}
            pending, starts = dict(value["pending"]), choose(value)
            # another length: a worker with another configuration wrote the record
            if not starts or value.get("length", own) != own:
                return []
            token = secrets.token_hex(4)
            claim = {"by": self.worker, "until": self._expiry.until(), "token": token}
            for key in map(format_time, starts):
                if key in pending and self._free(detector, key, pending[key]):
                    pending[key] = {**pending[key], **claim}
            done = self._put(detector, {**value, "pending": pending}, entry)
            if done is not None:
                claims = [claimed(setting, s, done, token, self._clock.now()) for s in starts]
                self._hold(claims)
                return claims

    def _hold(self, claims: Iterable[Claim]) -> None:
        now = self._clock.monotonic()
        self._held |= {(c.detector, c.start, c.token): now for c in claims if c.token}

    def renew(self, claims: Sequence[Claim]) -> None:
        """Extend each claim to the full length from now, if a quarter of the length has passed since its last renewal."""
        now, old = self._clock.monotonic(), self._expiry.length.total_seconds() / 4
        stale = [c for c in claims if now - self._held.get((c.detector, c.start, c.token), now) >= old]
        for detector, length in sorted({(c.detector, c.length) for c in stale}):
            own = [c for c in stale if c.detector == detector]
            found = False
            for pending in self._changing(detector, length):
                found = True
                self.forget(own)  # `_hold` below restores the claims that the record still contains
                kept = [c for c in own if pending.get(format_time(c.start), {}).get("token") == c.token]
                for claim in kept:
                    key = format_time(claim.start)
                    pending[key] = {**pending[key], "until": self._expiry.until()}
                self._hold(kept)
            if not found:  # the window length has changed: these windows are no longer pending
                self.forget(own)

    def held(self, claim: Claim) -> bool:
        """Whether this worker held the claim at the last renewal. A claim without a token counts as held."""
        return not claim.token or (claim.detector, claim.start, claim.token) in self._held

    def forget(self, claims: Iterable[Claim]) -> None:
        """Stop holding claims. This worker may claim the windows again at once, other workers when the claims expire."""
        for claim in claims:
            self._held.pop((claim.detector, claim.start, claim.token), None)

    def complete(self, done: Sequence[tuple[Claim, Run]]) -> None:
        """Remove evaluated windows from the pending windows, and schedule a retry of failed windows.

        A window that received more events during its evaluation stays pending.
        """
        for detector, length in sorted({(run.detector, run.end - run.start) for _, run in done}):
            own = [(claim, run) for claim, run in done if claim.detector == detector]
            reached = max((format_time(run.start) for _, run in own if run.done), default="")
            for pending in self._changing(detector, length, reached):
                for claim, run in own:
                    complete(pending, claim, run, self._clock.now())
        self.forget(claim for claim, _ in done)

    def waiting(self, detector: str | None = None) -> list[Waiting]:
        """Every pending window, by detector and start."""
        prefix = detector or ""
        return [
            waiting(entry.key, start, pending)
            for entry in self._store.entries(KIND, prefix)
            if detector in {None, entry.key}
            for start, pending in sorted(entry.value["pending"].items())
        ]

    def _changing(self, detector: str, length: timedelta, reached: str = "") -> Iterator[dict[str, Pending]]:
        """Yield the detector's pending windows, which the caller changes, and write them. Repeat after a conflict.

        Yields nothing if the window length has changed. `reached` is the start of the newest evaluated window.
        """
        while True:
            entry = self._store.get(KIND, detector)
            if entry is None or entry.value.get("length", _microseconds(length)) != _microseconds(length):
                return
            pending = dict(entry.value["pending"])
            yield pending
            value = {
                **entry.value,
                "pending": pending,
                "reached": max(reached, entry.value.get("reached", "")),
            }
            if value == entry.value or self._put(detector, value, entry) is not None:
                return

    def _put(self, detector: str, value: Mapping[str, Any], entry: Entry | None) -> Entry | None:
        return self._store.put(KIND, detector, value, entry.version if entry else None)


def _microseconds(length: timedelta) -> int:
    return length // timedelta(microseconds=1)
