"""Leases in the keyed state: who may do what, among several workers, and until when.

A lease is over when its time has come, or when a worker has watched it unchanged for its whole length by its own
monotonic clock: so a dead worker's lease also ends where clocks disagree or are set back. On its own machine it ends
with its process. A lease only keeps workers from doing the same at once. What keeps a paused worker from writing over
its successor is the number of the claim (`Entry.version`, which rises with every write), or compare-and-set on the
record itself.
"""

from __future__ import annotations

import functools
import hashlib
import os
import secrets
import socket
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from tocsin.clock import Clock, format_time, parse_time
from tocsin.errors import StoreError
from tocsin.store.protocol import Store

KIND = "lease"
LENGTH = timedelta(minutes=2)
_WATCHED = 4_096  # claims of others


class LeaseLost(StoreError):  # noqa: N818 — what happened, in the words of the field
    """Another worker has taken over; what was not written yet is left to it."""


def worker_name(name: str = "") -> str:
    """A name that no other worker has, and none before: host, process, and a word for the place and at random."""
    return f"{name or socket.gethostname()}:{os.getpid()}:{_place()}{secrets.token_hex(4)}"


@functools.cache
def _place() -> str:
    """Where this process's number means something: the machine since it was started, and its container."""
    boot, namespace = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    facts = f"{socket.gethostname()} {uuid.getnode()}"
    if boot.exists() and namespace.exists():
        facts += f" {boot.read_text().strip()} {namespace.stat().st_ino}"
    return hashlib.sha256(facts.encode()).hexdigest()[:8]


def gone(worker: str) -> bool:
    """Whether a worker is known to be dead: one of this place, whose process is no more."""
    _, pid, word = worker.rsplit(":", 2)
    if not word.startswith(_place()):
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


class Expiry:
    """Says when a claim of another worker is over."""

    def __init__(self, clock: Clock, length: timedelta = LENGTH) -> None:
        self.length = length
        self._clock = clock
        self._seen: dict[str, tuple[str, float]] = {}

    def until(self) -> str:
        """The end of a claim that begins or is renewed now."""
        return format_time(self._clock.now() + self.length)

    def over(self, key: str, by: str, until: str) -> bool:
        """Whether a claim has ended: by the clock, by being watched unchanged for as long, or with its worker."""
        if parse_time(until) <= self._clock.now() or gone(by):
            return True
        now, claim = self._clock.monotonic(), f"{by} {until}"
        seen, first = self._seen.pop(key, ("", now))
        self._seen[key] = (claim, first if seen == claim else now)
        if len(self._seen) > _WATCHED:  # mostly claims that ended well, which nobody looks at any more
            del self._seen[next(iter(self._seen))]
        if seen != claim:
            return False
        return now - first >= self.length.total_seconds()


@dataclass(slots=True)
class Lease:
    """A right that this worker holds. `fence` is higher than that of every holder before."""

    name: str
    fence: int
    renewed: float  # monotonic


class Leases:
    """Takes and gives back leases for one worker."""

    def __init__(self, store: Store, clock: Clock, worker: str, length: timedelta = LENGTH) -> None:
        self._store, self._clock, self.worker = store, clock, worker
        self._expiry = Expiry(clock, length)

    def acquire(self, name: str) -> Lease | None:
        """The lease of that name, or None while another worker holds it."""
        entry = self._store.get(KIND, name)
        if entry is not None and not self._free(name, entry.value):
            return None
        taken = self._store.put(KIND, name, self._claim(), entry.version if entry else None)
        return None if taken is None else Lease(name, taken.version, self._clock.monotonic())

    def _free(self, name: str, value: Mapping[str, Any]) -> bool:
        return value["by"] == self.worker or self._expiry.over(name, value["by"], value["until"])

    def _claim(self) -> dict[str, Any]:
        return {"by": self.worker, "until": self._expiry.until()}

    def renew(self, lease: Lease) -> None:
        """Hold a lease for its whole length from now on; does nothing while most of it is left.

        Raises:
            LeaseLost: another worker has it.
        """
        now = self._clock.monotonic()
        if now - lease.renewed < self._expiry.length.total_seconds() / 4:
            return
        renewed = self._store.put(KIND, lease.name, self._claim(), lease.fence)
        if renewed is None:
            raise LeaseLost(f"the lease {lease.name!r} went to another worker while this one stood still")
        lease.fence, lease.renewed = renewed.version, now

    def release(self, lease: Lease) -> None:
        """End a lease before its time; one that is lost already is left to its holder."""
        self._store.delete(KIND, lease.name, lease.fence)
