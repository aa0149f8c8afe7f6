"""Segments: a folder with one numbered file for each append that has not been written to the store yet.

A segment file contains a line with the SHA-256 of the rest of the file, a header line in JSON, and the rows as Arrow
IPC. It is written under a temporary name, synced to disk and then renamed, so that a crash never leaves a partial
segment.
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
from tocsin.store.private import private_files
from tocsin.words import count

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
    """One buffered append: its file, the file's size in bytes, and the content of its header."""

    path: Path
    number: int
    size: int
    stream: str
    events: int
    checkpoint: Mapping[str, int]
    written: datetime


@dataclass(slots=True, weakref_slot=True)
class Segments:
    """A folder of segments, locked by one process. `all` are the segments, oldest first."""

    folder: Path
    max_bytes: int
    all: tuple[Segment, ...] = ()
    bytes: int = 0
    _number: int = 0
    #: By stream and key: the number of the newest segment that contains a checkpoint for the key, and the checkpoint.
    _checkpoints: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    _release: Callable[[], object] = lambda: None

    @classmethod
    def open(cls, folder: Path, max_bytes: int) -> Self | None:
        """Lock a folder and load its segments. The folder is created if it does not exist.

        Returns:
            The segments, or None if another process has locked the folder.

        Raises:
            StoreError: the folder cannot be created, read or written.
        """
        found = cls(folder, max_bytes)
        try:
            with private_files():
                folder.mkdir(parents=True, exist_ok=True)
                lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            found._release = weakref.finalize(found, os.close, lock)  # releases the lock even without close()
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return None
            found._load()
        except OSError as error:
            raise StoreError(
                f"the spool {folder} cannot be used: {error.strerror or error}; make it a folder that Tocsin can "
                "write to, or set `store.spool` to another folder"
            ) from None
        return found

    def close(self) -> None:
        """Release the lock on the folder, so that another process can use the folder."""
        self._release()

    def _load(self) -> None:
        for partial in self.folder.glob(f"*{_PARTIAL}"):  # left by a crash during a write
            partial.unlink()
        found = []
        for path in sorted(self.folder.iterdir()):
            match = _NAME.fullmatch(path.name)
            if match is None:
                continue
            segment = _read_header(path, int(match[1]))
            if segment is None:
                self._set_aside(
                    path, "its header cannot be read, so its stream and number of events are unknown"
                )
            else:
                found.append(segment)
        self._add(*found)
        damaged = [int(m[1]) for p in self.folder.glob(f"{_DAMAGED}/*") if (m := _NAME.fullmatch(p.name))]
        self._number = max([self._number, *damaged])

    def _add(self, *segments: Segment) -> None:
        self.all += segments
        for segment in segments:
            self.bytes += segment.size
            self._number = segment.number
            for key, number in segment.checkpoint.items():
                self._checkpoints[segment.stream, key] = (segment.number, number)

    def checkpoint(self, stream: str, key: str) -> int | None:
        """The newest buffered checkpoint for a key of a stream, or None."""
        found = self._checkpoints.get((stream, key))
        return None if found is None else found[1]

    def write(self, stream: str, frame: pl.DataFrame, checkpoint: Mapping[str, int], now: datetime) -> None:
        """Write a segment. When this method returns, the segment is durable. If the method raises, nothing was written.

        Raises:
            StoreAway: the spool or its disk is full.
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
                "(`store.spool_limit`); collectors wait until the cluster is reachable, and no event is lost"
            )
        path = self.folder / f"{self._number + 1:012d}-{stream}.arrow"
        try:
            _write(path, head, body)
        except OSError as error:
            raise StoreAway(
                f"the spool {self.folder} cannot be written: {error.strerror or error}; collectors wait, and no event "
                "is lost; free disk space, or set `store.spool` to a folder on another disk"
            ) from None
        self._add(Segment(path, self._number + 1, size, stream, len(frame), dict(checkpoint), now))

    def read(self, segment: Segment) -> pl.DataFrame | None:
        """The rows of the oldest segment. A damaged segment is moved to the folder `damaged`, and None is returned.

        Raises:
            StoreError: the file cannot be read.
        """
        try:
            content = segment.path.read_bytes()
        except FileNotFoundError:
            content = b""
        except OSError as error:
            raise StoreError(
                f"the spool's segment {segment.path} cannot be read: {error.strerror or error}; "
                "check the permissions of the file and the disk"
            ) from None
        frame = _read_rows(content, segment.stream)
        if frame is None:
            events = f"{count(segment.events, 'event')} of stream {segment.stream}"
            self._set_aside(
                segment.path,
                f"the store does not have its {events}, collected at {format_time(segment.written)}",
            )
            self._forget(segment)
        return frame

    def remove(self, segment: Segment) -> None:
        """Delete the oldest segment after its rows were written to the store.

        Raises:
            StoreError: the file cannot be deleted.
        """
        try:
            segment.path.unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(
                f"the spool's segment {segment.path} cannot be deleted: {error.strerror or error}; "
                "check the permissions of its folder"
            ) from None
        self._forget(segment)

    def _forget(self, segment: Segment) -> None:
        self.all = self.all[1:]
        self.bytes -= segment.size
        for key in segment.checkpoint:
            if self._checkpoints[segment.stream, key][0] == segment.number:
                del self._checkpoints[segment.stream, key]

    def _set_aside(self, path: Path, lost: str) -> None:
        target = path.parent / _DAMAGED / path.name
        with contextlib.suppress(FileNotFoundError), private_files():
            target.parent.mkdir(exist_ok=True)
            path.replace(target)
        log.error(
            "the spool's segment %s is damaged and was moved to %s: %s. If you have an undamaged copy of the segment, stop "
            "Tocsin and move the copy to the spool. Otherwise, copy the lines that the source wrote at that time to a "
            "separate file, and run `tocsin collect` with this file",
            path,
            target,
            lost,
        )


def _read_header(path: Path, number: int) -> Segment | None:
    """A segment from the header of its file; None if the header is damaged or the file is truncated."""
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


def _read_rows(content: bytes, stream: str) -> pl.DataFrame | None:
    """The rows in a segment's file; None if the content does not match its digest or cannot be decoded."""
    digest, _, rest = content.partition(b"\n")
    if hashlib.sha256(rest).hexdigest().encode() != digest:
        return None
    try:
        return conform(pl.read_ipc(io.BytesIO(rest.partition(b"\n")[2])), stream)
    except (pl.exceptions.PolarsError, InputError):  # undamaged, but written by another version of Tocsin
        return None


def _write(path: Path, head: bytes, body: memoryview) -> None:
    partial = path.with_name(path.name + _PARTIAL)
    try:
        with private_files(), partial.open("wb") as file:
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
        for unfinished in (partial, path):
            with contextlib.suppress(OSError):
                unfinished.unlink(missing_ok=True)
        raise
