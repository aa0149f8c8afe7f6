"""Leases in the keyed state: which of several workers may do a job, and until when.

A lease has expired when its end time has passed, or when another worker has seen it unchanged for its whole length by
that worker's own monotonic clock. The second rule ends a dead worker's lease even if clocks disagree or are set back. For
workers on the same machine, a lease also ends with the holder's process. A lease only prevents workers from doing the same
work at the same time. A paused worker is kept from overwriting its successor's results by the fencing token of the claim
(`Entry.version`, which rises with every write), or by compare-and-set on the record.
"""

from __future__ import annotations

import functools
import hashlib
import os
import secrets
import socket
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from tocsin.clock import Clock, format_time, parse_time
from tocsin.errors import StoreError
from tocsin.store.protocol import Store

KIND = "lease"
LENGTH = timedelta(minutes=2)
_WATCHED = 4_096  # the most claims of other workers to remember


class LeaseLost(StoreError):  # noqa: N818 — the established name of this condition
    """Another worker has taken over the lease and does the remaining work."""


def worker_name(name: str = "") -> str:
    """A unique worker name: host, process id, an id of the machine or container, and a random part."""
    return f"{name or socket.gethostname()}:{os.getpid()}:{_place()}{secrets.token_hex(4)}"


@functools.cache
def _place() -> str:
    """An id of the scope in which this process id is valid: the machine since its boot, and the container."""
    boot, namespace = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    facts = f"{socket.gethostname()} {uuid.getnode()}"
    if boot.exists() and namespace.exists():
        facts += f" {boot.read_text().strip()} {namespace.stat().st_ino}"
    return hashlib.sha256(facts.encode()).hexdigest()[:8]


def gone(worker: str) -> bool:
    """Whether a worker is known to be dead: it ran on this machine, and its process no longer exists."""
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
    """Decides whether a claim of another worker has expired."""

    def __init__(self, clock: Clock, length: timedelta = LENGTH) -> None:
        self.length = length
        self._clock = clock
        self._seen: dict[str, tuple[str, float]] = {}

    def until(self) -> str:
        """The end time of a claim that is made or renewed now."""
        return format_time(self._clock.now() + self.length)

    def over(self, key: str, by: str, until: str) -> bool:
        """Whether a claim has expired: by its end time, by being seen unchanged for its length, or with its worker."""
        if parse_time(until) <= self._clock.now() or gone(by):
            return True
        now, claim = self._clock.monotonic(), f"{by} {until}"
        seen, first = self._seen.pop(key, ("", now))
        self._seen[key] = (claim, first if seen == claim else now)
        if len(self._seen) > _WATCHED:  # mostly claims that were completed and are not checked again
            del self._seen[next(iter(self._seen))]
        if seen != claim:
            return False
        return now - first >= self.length.total_seconds()


@dataclass(slots=True)
class Lease:
    """A lease that this worker holds. `fence` is the fencing token: higher than that of every earlier holder."""

    name: str
    fence: int
    renewed: float  # monotonic


class Leases:
    """Acquires, renews and releases leases for one worker."""

    def __init__(self, store: Store, clock: Clock, worker: str, length: timedelta = LENGTH) -> None:
        self._store, self._clock, self.worker = store, clock, worker
        self._expiry = Expiry(clock, length)

    def acquire(self, name: str) -> Lease | None:
        """Acquire the lease with this name; None while another worker holds it."""
        entry = self._store.get(KIND, name)
        if entry is not None and not self._free(name, entry.value):
            return None
        taken = self._store.put(KIND, name, self._claim(), entry.version if entry else None)
        return None if taken is None else Lease(name, taken.version, self._clock.monotonic())

    @contextmanager
    def held(self, name: str) -> Iterator[Callable[[], None] | None]:
        """Hold a lease for the block. Yields a function that renews it, or None while another worker holds it."""
        lease = self.acquire(name)
        try:
            yield None if lease is None else functools.partial(self.renew, lease)
        finally:
            if lease is not None:
                self.release(lease)

    def _free(self, name: str, value: Mapping[str, Any]) -> bool:
        return value["by"] == self.worker or self._expiry.over(name, value["by"], value["until"])

    def _claim(self) -> dict[str, Any]:
        return {"by": self.worker, "until": self._expiry.until()}

    def renew(self, lease: Lease) -> None:
        """Extend a lease to its full length from now, once a quarter of it has passed.

        Raises:
            LeaseLost: another worker holds the lease.
        """
        now = self._clock.monotonic()
        if now - lease.renewed < self._expiry.length.total_seconds() / 4:
            return
        renewed = self._store.put(KIND, lease.name, self._claim(), lease.fence)
        if renewed is None:
            raise LeaseLost(
                f"another worker took over the lease {lease.name!r} while this one was suspended or stalled"
            )
        lease.fence, lease.renewed = renewed.version, now

    def release(self, lease: Lease) -> None:
        """End a lease early. A lease that another worker has taken over is not changed."""
        self._store.delete(KIND, lease.name, lease.fence)
