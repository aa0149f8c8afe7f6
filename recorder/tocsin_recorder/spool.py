"""A spool: a folder of ndjson segments that model servers write and the `ndjson` collector reads."""

from __future__ import annotations

import os
import re
import secrets
import socket
import time
from pathlib import Path

_RESCAN = 1.0


class Spool:
    """Appends whole lines to its own segment files, up to a size limit for the whole folder.

    A segment ends after `segment_bytes` or `segment_seconds` and is never written to again. A segment's name holds
    the host, the process and a random word, so that any number of processes can share a folder. Together the processes
    may exceed `max_bytes` by the bytes that they write within one second. A written line survives the process. Lines
    are not synced, so a crash of the machine may lose the last seconds.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        *,
        max_bytes: int,
        segment_bytes: int = 16 * 1024 * 1024,
        segment_seconds: float = 60.0,
    ) -> None:
        self._folder, self._max = folder, max_bytes
        self._segment_bytes, self._segment_seconds = segment_bytes, segment_seconds
        words = (name, socket.gethostname(), str(os.getpid()), secrets.token_hex(4))
        self._stem = "-".join(re.sub(r"[^\w.-]+", "_", word)[:64] for word in words)
        self._file: int | None = None
        self._number = self._size = self._used = 0
        self._opened = self._scanned = float("-inf")

    def write(self, lines: bytes) -> bool:
        """Append whole lines; False if the folder would exceed `max_bytes`.

        Raises:
            OSError: the lines could not be written; the segment holds no part of them.
        """
        now = time.monotonic()
        if now - self._scanned >= _RESCAN:
            self._used, self._scanned = self._measure(), now
        if self._used + len(lines) > self._max:
            return False
        full = self._size + len(lines) > self._segment_bytes and self._size
        if self._file is None or full or now - self._opened >= self._segment_seconds:
            self._begin(now)
        self._append(lines)
        self._size += len(lines)
        self._used += len(lines)
        return True

    def close(self) -> None:
        """End the segment. The next write starts another."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _begin(self, now: float) -> None:
        self.close()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._number += 1
        path = self._folder / f"{self._stem}-{self._number:06d}.ndjson"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o640)
        self._size, self._opened = 0, now

    def _append(self, lines: bytes) -> None:
        assert self._file is not None
        left = memoryview(lines)
        try:
            while left:
                left = left[os.write(self._file, left) :]
        except OSError:
            os.ftruncate(self._file, self._size)
            self.close()
            raise

    def _measure(self) -> int:
        try:
            with os.scandir(self._folder) as entries:
                return sum(entry.stat().st_size for entry in entries if ".ndjson" in entry.name)
        except OSError:
            return 0  # no folder yet, or a segment was removed during the scan: the next scan measures again
