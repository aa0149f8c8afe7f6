"""Following files that grow, are rotated, truncated or compressed.

A file is identified by its first line, not by its name: a rotated file keeps its checkpoint, and a new
file under an old name is read from its beginning. The checkpoint also contains a checksum of the bytes
before it. The checksum detects another file that begins with the same line, and a file that was truncated
and then grew.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tocsin.clock import Clock, SystemClock
from tocsin.contract.plugin import Rejected, Resume
from tocsin_collectors._find import Faults, Found
from tocsin_collectors._lines import KNOWN, SHOWN, Lines, Run, compressed, head, offset, opened, seek

#: Seconds without a change after which an incomplete last line is read as it is.
SETTLED = 600.0
#: Seconds without a change after which a file that was read to its end may be removed.
DONE = 3600.0


class Progress:
    """The committed checkpoints, replaced by this run's positions where it has read further."""

    def __init__(self, resume: Resume) -> None:
        self._resume = resume
        self._read: dict[tuple[str, str], int] = {}

    def __call__(self, stream: str, key: str) -> int | None:
        number = self._read.get((stream, key))
        return self._resume(stream, key) if number is None else number

    def note(self, stream: str, key: str, number: int) -> None:
        """Record how far a key was read, even if this position is not committed yet."""
        self._read[stream, key] = number


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of whole lines of one file, or a rejected part of it. An empty `key` commits nothing."""

    found: Found
    key: str = ""
    number: int = 0
    start: int = 0
    lines: bytes = b""
    rejected: Rejected | None = None

    def split(self) -> Iterator[tuple[int, bytes]]:
        """The lines that are not blank, each with its byte offset in the file."""
        at = self.start
        for line in self.lines.split(b"\n"):
            if line.strip():
                yield at, line
            at += len(line) + 1


def positions(pieces: Sequence[Piece]) -> Callable[[int], str]:
    """A function that returns the position of the i-th non-blank line: `file@byte`."""
    places: list[tuple[Path, int]] = []

    def position(index: int) -> str:
        if not places:
            places.extend((p.found.path, at) for p in pieces for at, _ in p.split())
        path, at = places[index]
        return f"{path}@{at}"

    return position


@dataclass(frozen=True, slots=True)
class _End:
    """How far a file was read, with its size and time of change then."""

    size: int
    changed: int
    key: str
    number: int


class Follower:
    """Reads new lines of files.

    `finished` returns whether an unterminated last line is complete. A line that is not complete is read in
    a later run, or when the file has not changed for `SETTLED` seconds. The last line of a compressed file
    is always read, because a compressed file does not grow. `size` is the maximum number of bytes of a piece.
    """

    def __init__(
        self, id: str, finished: Callable[[bytes], bool], size: int, clock: Clock | None = None
    ) -> None:
        self._id, self._finished, self._size, self._clock = id, finished, size, clock or SystemClock()
        self._ends: dict[Path, _End] = {}

    def pieces(self, found: Found, stream: str, progress: Progress, faults: Faults) -> Iterator[Piece]:
        """The pieces of a file after its checkpoint, in order. A file that no longer exists has none.

        If the file cannot be read, that is added to `faults`.
        """
        try:
            yield from self._pieces(found, stream, progress)
        except FileNotFoundError:
            return
        except OSError as error:
            faults.add(found.path, error)

    def removable(self, path: Path, stream: str, resume: Resume) -> bool:
        """Whether a file is completely read and committed and has not changed for an hour."""
        end = self._ends.get(path)
        if end is None or resume(stream, end.key) != end.number:
            return False
        whole = compressed(path) or offset(end.number) == end.size
        try:
            return whole and self._same(path, end) and self._age(path) >= DONE
        except FileNotFoundError:
            return False

    def _pieces(self, found: Found, stream: str, progress: Progress) -> Iterator[Piece]:
        path = found.path
        end, stat = self._ends.get(path), path.stat()
        if end is not None and self._same(path, end) and progress(stream, end.key) == end.number:
            return
        last = self._last_line(path)
        begin, damage = head(path)
        if damage and not begin:
            yield Piece(found, rejected=Rejected(damage, f"{path}@0", b""))
        first, newline, _ = begin.partition(b"\n")
        if not begin or not (newline or len(begin) == KNOWN or last(first)):
            return
        name = f"{self._id}:{hashlib.sha256(first.rstrip()).hexdigest()[:24]}"
        for generation in itertools.count():
            key = f"{name}.{generation}" if generation else name
            number = progress(stream, key)
            with opened(path) as file:
                tail = seek(file, number)
                if tail is None:
                    continue
                for run in Lines(file, offset(number or 0), tail, last, self._size).runs():
                    number = run.number
                    progress.note(stream, key, number)
                    yield _piece(found, key, run)
            if number is not None:
                self._ends[path] = _End(stat.st_size, stat.st_mtime_ns, key, number)
            return

    def _same(self, path: Path, end: _End) -> bool:
        stat = path.stat()
        return (stat.st_size, stat.st_mtime_ns) == (end.size, end.changed)

    def _last_line(self, path: Path) -> Callable[[bytes], bool]:
        if compressed(path) or self._age(path) >= SETTLED:
            return lambda _: True
        return self._finished

    def _age(self, path: Path) -> float:
        return self._clock.now().timestamp() - path.stat().st_mtime


def _piece(found: Found, key: str, run: Run) -> Piece:
    if not run.reason:
        return Piece(found, key, run.number, run.start, run.lines)
    rejected = Rejected(run.reason, f"{found.path}@{run.start}", run.lines[:SHOWN])
    return Piece(found, key, run.number, run.start, b"", rejected)
