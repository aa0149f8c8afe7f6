"""Segments: what could not be written to a store yet, in a folder, one file an append, in order.

A segment is a line with the SHA-256 of all that follows, a line of JSON that says what it is, and its rows as Arrow
IPC. It is written under another name, synced, and then renamed: after a crash it is there as a whole or not at all.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import logging
import os
import re
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Self

import msgspec
import polars as pl

from tocsin.clock import format_time
from tocsin.config.sizes import format_size
from tocsin.contract.frames import conform
from tocsin.errors import InputError, StoreAway, StoreError

_LOCK, _DAMAGED, _PARTIAL = "lock", "damaged", ".partial"
_NAME = re.compile(r"(\d{12})-\w+\.arrow")
log = logging.getLogger("tocsin")


class _Header(msgspec.Struct, frozen=True):
    stream: str
    events: int
    checkpoint: dict[str, int]
    written: datetime
    size: int  # bytes of the rows that follow


@dataclass(frozen=True, slots=True)
class Segment:
    """One append that waits: its file of `size` bytes, and what its header says."""

    path: Path
    number: int
    size: int
    stream: str
    events: int
    checkpoint: Mapping[str, int]
    written: datetime


@dataclass(slots=True, weakref_slot=True)
class Segments:
    """A folder of segments that one process holds; `all` is in order, the oldest first."""

    folder: Path
    max_bytes: int
    all: tuple[Segment, ...] = ()
    bytes: int = 0
    _number: int = 0
    _marks: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    _release: Callable[[], object] = lambda: None

    @classmethod
    def open(cls, folder: Path, max_bytes: int) -> Self | None:
        """Take a folder, made where it is not there; None where another process holds it.

        Raises:
            StoreError: the folder cannot be used.
        """
        found = cls(folder, max_bytes)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
            found._release = weakref.finalize(found, os.close, lock)  # also where nobody closes it
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return None
            found._load()
        except OSError as error:
            raise StoreError(
                f"the spool {folder} cannot be used: {error.strerror or error}; make it a folder that Tocsin may "
                "write, or set `store.spool` to another"
            ) from None
        return found

    def close(self) -> None:
        """Let another process have the folder."""
        self._release()

    def _load(self) -> None:
        for left in self.folder.glob(f"*{_PARTIAL}"):  # of a write that a crash cut off
            left.unlink()
        found = []
        for path in sorted(self.folder.iterdir()):
            match = _NAME.fullmatch(path.name)
            if match is None:
                continue
            segment = _described(path, int(match[1]))
            if segment is None:
                self._set_aside(path, "what it held is not known")
            else:
                found.append(segment)
        self._add(*found)
        aside = [int(m[1]) for p in self.folder.glob(f"{_DAMAGED}/*") if (m := _NAME.fullmatch(p.name))]
        self._number = max([self._number, *aside])

    def _add(self, *segments: Segment) -> None:
        self.all += segments
        for segment in segments:
            self.bytes += segment.size
            self._number = segment.number
            for key, number in segment.checkpoint.items():
                self._marks[segment.stream, key] = (segment.number, number)

    def checkpoint(self, stream: str, key: str) -> int | None:
        """The newest number for a key of a stream that waits here, or None."""
        found = self._marks.get((stream, key))
        return None if found is None else found[1]

    def write(self, stream: str, frame: pl.DataFrame, checkpoint: Mapping[str, int], now: datetime) -> None:
        """Add a segment: durable when this returns, else not there.

        Raises:
            StoreAway: there is no room for it.
        """
        rows = io.BytesIO()
        frame.write_ipc(rows, compression="zstd")
        body = rows.getbuffer()
        header = msgspec.json.encode(_Header(stream, len(frame), dict(checkpoint), now, len(body)))
        digest = hashlib.sha256(header + b"\n")
        digest.update(body)
        head = digest.hexdigest().encode() + b"\n" + header + b"\n"
        size = len(head) + len(body)
        if self.bytes + size > self.max_bytes:
            raise StoreAway(
                f"the spool {self.folder} is full: {format_size(self.bytes)} of {format_size(self.max_bytes)} "
                "(`store.spool_limit`); collectors wait until the cluster is back, nothing is lost"
            )
        path = self.folder / f"{self._number + 1:012d}-{stream}.arrow"
        try:
            _write(path, head, body)
        except OSError as error:
            raise StoreAway(
                f"the spool {self.folder} cannot be written: {error.strerror or error}; collectors wait, nothing "
                "is lost; make room there or set `store.spool` to another disk"
            ) from None
        self._add(Segment(path, self._number + 1, size, stream, len(frame), dict(checkpoint), now))

    def read(self, segment: Segment) -> pl.DataFrame | None:
        """The rows of the oldest segment; None where it is damaged: then it is set aside.

        Raises:
            StoreError: its file cannot be read.
        """
        try:
            content = segment.path.read_bytes()
        except FileNotFoundError:
            content = b""
        except OSError as error:
            raise StoreError(f"{segment.path} cannot be read: {error.strerror or error}") from None
        frame = _rows(content, segment.stream)
        if frame is None:
            events = f"{segment.events:,} events of stream {segment.stream}"
            self._set_aside(
                segment.path,
                f"its {events}, collected at {format_time(segment.written)}, are not in the store",
            )
            self._forget(segment)
        return frame

    def remove(self, segment: Segment) -> None:
        """Remove the oldest segment, which the store has.

        Raises:
            StoreError: its file cannot be removed.
        """
        try:
            segment.path.unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"{segment.path} cannot be removed: {error.strerror or error}") from None
        self._forget(segment)

    def _forget(self, segment: Segment) -> None:
        self.all = self.all[1:]
        self.bytes -= segment.size
        for key in segment.checkpoint:
            if self._marks[segment.stream, key][0] == segment.number:
                del self._marks[segment.stream, key]

    def _set_aside(self, path: Path, lost: str) -> None:
        target = path.parent / _DAMAGED / path.name
        with contextlib.suppress(FileNotFoundError):
            target.parent.mkdir(exist_ok=True)
            path.replace(target)
        log.error(
            "the spool's segment %s is damaged and was moved to %s: %s. If you have a good copy, put it back while "
            "Tocsin is stopped; else give the lines of that time to `tocsin collect` in a file of their own",
            path,
            target,
            lost,
        )


def _described(path: Path, number: int) -> Segment | None:
    """What a segment says it is; None where its header is damaged or its end is missing."""
    with path.open("rb") as file:
        file.readline()
        try:
            header = msgspec.json.decode(file.readline(), type=_Header)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        size = path.stat().st_size
        if size != file.tell() + header.size:
            return None
    return Segment(path, number, size, header.stream, header.events, header.checkpoint, header.written)


def _rows(content: bytes, stream: str) -> pl.DataFrame | None:
    """The rows in a segment's file; None where it is not as it was written."""
    digest, _, rest = content.partition(b"\n")
    if hashlib.sha256(rest).hexdigest().encode() != digest:
        return None
    try:
        return conform(pl.read_ipc(io.BytesIO(rest.partition(b"\n")[2])), stream)
    except (pl.exceptions.PolarsError, InputError):  # written by another version of Tocsin
        return None


def _write(path: Path, head: bytes, body: memoryview) -> None:
    partial = path.with_name(path.name + _PARTIAL)
    try:
        with partial.open("wb") as file:
            file.write(head)
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError:
        for left in (partial, path):
            with contextlib.suppress(OSError):
                left.unlink(missing_ok=True)
        raise
