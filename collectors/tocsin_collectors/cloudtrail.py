"""Access events from AWS CloudTrail files."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec

from tocsin.contract.plugin import Batch, Collector, Rejected, Resume, Stability, param
from tocsin_collectors._aws import access_events, skipped
from tocsin_collectors._envelopes import JSON_FAULTS, sequence, split, unpacked
from tocsin_collectors._find import Faults, Found, find, log
from tocsin_collectors._lines import SHOWN, fill, opened

if TYPE_CHECKING:
    from io import BufferedReader

#: A file that is larger than this after decompression is rejected. CloudTrail writes at most about 50 MB.
LARGEST = 256 * 1024 * 1024
_WANTED = re.compile(r"\.(json|jsonl|ndjson)(\.gz)?$")
_EVENTS = 10_000
_NO_JSON = "the file is not JSON, or is cut short"


@dataclass(frozen=True, slots=True)
class Params:
    """Settings of the CloudTrail collector."""

    paths: tuple[str, ...] = param(
        doc="files, folders or globs; in a folder, *.json, *.jsonl and *.ndjson are read, also with .gz"
    )


@dataclass(slots=True)
class _Pending:
    checkpoint: dict[str, int] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)

    def full(self) -> bool:
        return len(self.events) + len(self.rejected) >= _EVENTS

    def reject(self, reason: str, place: str, original: bytes) -> None:
        self.rejected.append(Rejected(reason, place, original[:SHOWN]))


class Unreadable(Exception):  # noqa: N818 - it describes a file, not a defect of the program
    """The reason why a file has no readable CloudTrail records, and the part of the file to show."""

    def __init__(self, reason: str, shown: bytes = b"") -> None:
        super().__init__(reason)
        self.shown = shown[:SHOWN]


class Cloudtrail(Collector[Params]):
    """Reads CloudTrail files from S3 and files that tools export: arrays, single events, ndjson, concatenated JSON, the
    output of `lookup-events`, EventBridge events, and log events of CloudWatch.

    Delivery: at least once, and the store drops repeated events: no `eventID` is lost or stored twice. The collector
    identifies a file by its content. It never reads a completely committed file again, and it resumes a partly committed
    file at its checkpoint. Every record of a file becomes an event or a rejection. The record of a copy becomes two events:
    one for the copy, and one for the access to the copied resource. Digest files, insight records and CloudWatch's control
    messages describe no access: the collector skips and counts them. A file that is not JSON or is truncated becomes one
    rejection, and the collector continues with the next file.
    """

    id = "cloudtrail"
    stability = Stability.BETA

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        self._warned: set[str] = set()
        self._known: dict[Path, tuple[int, int, str]] = {}

    def collect(self, resume: Resume) -> Iterator[Batch]:
        pending: dict[str, _Pending] = {}
        done: set[str] = set()
        faults = Faults()
        for found in find(self.params.paths, _WANTED, self._warned, faults=faults):
            try:
                key = f"{self.id}:{self._identity(found.path)}"
                if key in done or resume("access", key) is not None:
                    continue
                done.add(key)
                for _ in self._read(found, key, resume, pending):
                    yield self._batch(found.root, pending.pop(found.root))
            except FileNotFoundError:
                continue
            except OSError as error:
                faults.add(found.path, error)
        for root, waiting in pending.items():
            yield self._batch(root, waiting)
        faults.check()

    def check(self) -> None:
        faults = Faults()
        find(self.params.paths, _WANTED, set(), faults=faults)
        faults.check()

    def _read(self, found: Found, key: str, resume: Resume, pending: dict[str, _Pending]) -> Iterator[None]:
        """Read a file into `pending`; yields each time `pending` is full, with the checkpoint set."""
        part, number = f"{key}.part", 0
        start = resume("access", part) or 0
        for number, (place, original) in enumerate(_records(found.path), 1):
            if number <= start:
                continue
            waiting = pending.setdefault(found.root, _Pending())
            _take(place, original, waiting)
            waiting.checkpoint[part] = number
            if waiting.full():
                yield
        checkpoint = pending.setdefault(found.root, _Pending()).checkpoint
        checkpoint.pop(part, None)
        checkpoint[key] = number

    def _identity(self, path: Path) -> str:
        """The digest of a file's content. It is computed again only after the file has changed."""
        stat = path.stat()
        size, changed, digest = self._known.get(path, (0, 0, ""))
        if (size, changed) != (stat.st_size, stat.st_mtime_ns):
            with opened(path, raw=True) as file:
                digest = hashlib.file_digest(cast("BufferedReader", file), "sha256").hexdigest()[:32]
            self._known[path] = stat.st_size, stat.st_mtime_ns, digest
        return digest

    def _batch(self, root: str, waiting: _Pending) -> Batch:
        if waiting.skipped:
            counts = ", ".join(f"{what} {count:,}" for what, count in sorted(waiting.skipped.items()))
            log.warning("%s: skipped, because they describe no access: %s", root, counts)
        return Batch(
            "access",
            f"{self.id}:{root}",
            waiting.checkpoint,
            waiting.events,
            position=waiting.places.__getitem__,
            rejected=waiting.rejected,
        )


def _take(place: str, original: bytes | Unreadable, to: _Pending) -> None:
    if isinstance(original, Unreadable):
        to.reject(str(original), place, original.shown)
        return
    try:
        record = msgspec.json.decode(original)
        if what := skipped(record):
            to.skipped[what] += 1
            return
        events = access_events(record)
    except (ValueError, RecursionError) as error:  # invalid JSON raises a ValueError, too
        to.reject(f"not a CloudTrail record: {error}", place, original)
        return
    to.events += events
    to.places += [place] * len(events)


def _records(path: Path) -> Iterator[tuple[str, bytes | Unreadable]]:
    """Every record of a file with its place, not yet decoded."""
    try:
        data = _content(path)
        try:
            records = list(unpacked(data))
        except JSON_FAULTS as error:
            records = split(data)
            found = sequence(data)
            first = None if records else next(found, None)
            if not records and (first is None or (first[2] and next(found, None) is None)):
                why = "not JSON" if "$.Records" in str(error) else _NO_JSON
                raise Unreadable(f"{why}: {error}", data) from None
            if not records:
                for number, original, reason in sequence(data):
                    yield f"{path}:{number}", Unreadable(reason, original) if reason else original
                return
    except Unreadable as error:
        yield str(path), error
        return
    for index, record in enumerate(records):
        yield f"{path}[{index}]", record


def _content(path: Path) -> bytes:
    with opened(path) as file:
        data, damage = fill(file, LARGEST + 1)
    if damage:
        raise Unreadable(damage, data)
    if len(data) > LARGEST:
        raise Unreadable(f"the file holds more than {LARGEST >> 20} MiB; split it", data)
    if not data.strip():
        raise Unreadable("the file is empty")
    return data.removeprefix(b"\xef\xbb\xbf")
