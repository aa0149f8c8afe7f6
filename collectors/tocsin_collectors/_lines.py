"""Reads whole lines from a file, compressed or not, in bounded memory."""

from __future__ import annotations

import errno
import gzip
import hashlib
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from tocsin_collectors._find import irregular

#: Number of bytes that identify a file: at its head, and before a checkpoint.
KNOWN = 1024
SHOWN = 4096
_STEP = 1024 * 1024
_CHECK = 20
_BOM = b"\xef\xbb\xbf"


class Run(NamedTuple):
    """Whole lines that begin at a byte offset, or the reason why they cannot be read, and the checkpoint after them."""

    start: int
    lines: bytes
    number: int
    reason: str = ""


def compressed(path: Path) -> bool:
    """Whether a file is compressed with gzip, by its name."""
    return path.suffix == ".gz"


@contextmanager
def opened(path: Path, *, raw: bool = False) -> Iterator[BinaryIO]:
    """Open a regular file for reading, decompressed unless `raw`. A pipe is never waited for.

    Raises:
        OSError: the file cannot be opened, or is not a regular file.
    """
    with open(path, "rb", opener=_regular) as file:
        if raw or not compressed(path):
            yield file
        else:
            with gzip.GzipFile(fileobj=file) as plain:
                yield cast("BinaryIO", plain)


def _regular(path: str, flags: int) -> int:
    number = os.open(path, flags | os.O_NONBLOCK)  # opening a pipe waits for its writer otherwise
    if reason := irregular(os.fstat(number).st_mode):
        os.close(number)
        raise OSError(errno.EINVAL, reason, path)
    return number


def fill(file: BinaryIO, size: int, data: bytes = b"") -> tuple[bytes, str]:
    """Read on until `data` has `size` bytes or the file ends. Returns the data, and the damage that was found or ""."""
    if not isinstance(file, gzip.GzipFile):
        more = file.read(max(size - len(data), 0))
        return data + more if data else more, ""
    parts, left, damage = [data], size - len(data), ""
    while left > 0:
        try:
            part = file.read1(min(left, _STEP))
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            damage = f"the gzip file is damaged or cut short: {error}"
            break
        if not part:
            break
        parts.append(part)
        left -= len(part)
    return b"".join(parts) if len(parts) > 1 else data, damage


def head(path: Path, size: int = KNOWN) -> tuple[bytes, str]:
    """The first bytes of a file, and the damage found there or an empty text.

    Raises:
        OSError: it cannot be read.
    """
    with opened(path) as file:
        return fill(file, size)


def seek(file: BinaryIO, number: int | None) -> bytes | None:
    """Go to a checkpoint. Returns the bytes before it, or None if the checkpoint belongs to another file."""
    if number is None:
        return b""
    at, tail = number >> _CHECK, b""
    if isinstance(file, gzip.GzipFile):
        for left in range(at, 0, -_STEP):
            tail = (tail + fill(file, min(left, _STEP))[0])[-KNOWN:]
    else:
        file.seek(max(at - KNOWN, 0))
        tail, _ = fill(file, min(at, KNOWN))
    return tail if checkpoint(at, tail) == number else None


def checkpoint(at: int, tail: bytes) -> int:
    """A byte offset, with a checksum of the bytes before it in its low bits."""
    check = int.from_bytes(hashlib.sha256(tail).digest()[:4], "big") >> (32 - _CHECK)
    return at << _CHECK | check


def offset(number: int) -> int:
    """The byte offset of a checkpoint."""
    return number >> _CHECK


class Lines:
    """One pass over a file, from a checkpoint to where the file ends now.

    `last` says whether an unterminated last line is complete. `size` is the maximum number of bytes of a run. A line that
    is longer than a quarter of `size` is too long.
    """

    def __init__(
        self, file: BinaryIO, at: int, tail: bytes, last: Callable[[bytes], bool], size: int
    ) -> None:
        self._file, self._at, self._tail, self._last = file, at, tail, last
        self._size, self._longest = size, size // 4

    def runs(self) -> Iterator[Run]:
        """The runs of whole lines. A line that is too long is skipped, and is a run of its own with a reason."""
        rest = b""
        while True:
            data, damage = fill(self._file, self._size, rest)
            if self._at == 0 and data.startswith(_BOM):
                self._pass(_BOM)
                data = data[len(_BOM) :]
            ended = len(data) < self._size - len(_BOM)
            end, too_long = _whole(data, self._longest)
            if ended and not damage and not too_long and end < len(data) and self._last(data[end:]):
                end = len(data)
            lines, rest = data[:end], data[end:]
            del data  # while the caller works on the lines, only the lines are held
            if lines:
                yield self._run(lines)
            if too_long and not damage:
                run, rest = self._overlong(rest)
                yield run
            elif damage:
                yield self._run(b"", rest[:SHOWN], damage)
                return
            elif ended:
                return

    def _overlong(self, data: bytes) -> tuple[Run, bytes]:
        shown, start, size = data[:SHOWN], self._at, 0
        while data:
            line, newline, data = data.partition(b"\n")
            size += len(line)
            self._pass(line + newline)
            if newline:
                break
            data, _ = fill(self._file, _STEP)
        reason = f"line of {size:,} bytes is longer than the limit of {self._longest:,}"
        return Run(start, shown, checkpoint(self._at, self._tail), reason), data

    def _run(self, lines: bytes, shown: bytes = b"", reason: str = "") -> Run:
        start = self._at
        self._pass(lines)
        return Run(start, lines or shown, checkpoint(self._at, self._tail), reason)

    def _pass(self, data: bytes) -> None:
        self._at += len(data)
        self._tail = (self._tail + data[-KNOWN:])[-KNOWN:]


def _whole(data: bytes, longest: int) -> tuple[int, bool]:
    """The offset where the whole lines end, and whether a line that is too long begins there."""
    end = 0
    while end < len(data):
        newline = data.rfind(b"\n", end, end + longest + 1)
        if newline < 0:
            return end, len(data) - end > longest
        end = newline + 1
    return end, False
