"""Events of any stream from ndjson files: one JSON object a line, nested or dotted ECS."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tocsin.contract.json_text import read_json
from tocsin.contract.plugin import Batch, Collector, Resume, Stability, param
from tocsin.contract.streams import SOURCES
from tocsin.errors import ConfigError
from tocsin_collectors._find import Faults, Found, find, log
from tocsin_collectors._follow import Follower, Piece, Progress, positions
from tocsin_collectors._lines import head

#: Maximum bytes of lines in one batch: about 20,000 events. Larger batches only need more memory.
RUN = 12 * 1024 * 1024
_WANTED = re.compile(r"\.(ndjson|jsonl)([.-]\d[\d.-]*)?(\.gz)?$")
_NAMED = re.compile(rf"({'|'.join(SOURCES)})(?![a-z])")
_FIRST, _LINES = 64 * 1024, 100  # bytes and lines at the head of a file in which event.dataset is looked for


@dataclass(frozen=True, slots=True)
class Params:
    """Settings of the ndjson collector."""

    paths: tuple[str, ...] = param(doc="files, folders or globs; in a folder *.ndjson and *.jsonl are read")
    stream: str = param(
        "", doc="stream of every file; if empty, taken from the file's name or its first event.dataset"
    )
    remove: bool = param(
        False, doc="remove a file an hour after its last change if it is completely committed (for spools)"
    )


@dataclass(slots=True)
class _Pending:
    pieces: list[Piece] = field(default_factory=list)
    size: int = 0


class Ndjson(Collector[Params]):
    """Follows ndjson files that grow, are rotated, truncated or compressed.

    Delivery: at least once, and the store drops repeated events: no line is lost or stored twice. The order within a
    file is preserved. If the last line of a file is incomplete, the collector reads it when it is complete, or when the
    file has not changed for ten minutes.
    """

    id = "ndjson"
    stability = Stability.BETA

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        if params.stream and params.stream not in SOURCES:
            raise ConfigError(
                f"stream {params.stream!r} takes no events; write one of {', '.join(SOURCES)}", key="stream"
            )
        self._warned: set[str] = set()
        self._follower = Follower(self.id, _is_object, RUN)

    def collect(self, resume: Resume) -> Iterator[Batch]:
        progress = Progress(resume)
        pending: dict[tuple[str, str], _Pending] = {}
        faults = Faults()
        for found in find(self.params.paths, _WANTED, self._warned, faults=faults):
            stream = self._stream(found, faults)
            if not stream:
                continue
            key = (stream, found.root)
            for piece in self._follower.pieces(found, stream, progress, faults):
                waiting = pending.setdefault(key, _Pending())
                if waiting.size + len(piece.lines) > RUN:
                    yield self._batch(*key, pending.pop(key).pieces)
                    waiting = pending.setdefault(key, _Pending())
                waiting.pieces.append(piece)
                waiting.size += len(piece.lines) + 1
            if self.params.remove and self._follower.removable(found.path, stream, resume):
                found.path.unlink(missing_ok=True)
        for key, waiting in pending.items():
            yield self._batch(*key, waiting.pieces)
        faults.check()

    def check(self) -> None:
        faults = Faults()
        find(self.params.paths, _WANTED, set(), faults=faults)
        faults.check()

    def _stream(self, found: Found, faults: Faults) -> str:
        """The stream of a file; empty if it is not known, or if the file is empty or cannot be read."""
        if self.params.stream:
            return self.params.stream
        name = _NAMED.match(found.path.name)
        if name:
            return name[1]
        begin, damage = _head(found)
        datasets = [_dataset(line) for line in begin.split(b"\n", _LINES)[:_LINES]]
        dataset = next((d for d in datasets if d in SOURCES), datasets[0])
        if dataset in SOURCES:
            return dataset
        if not begin.strip() and not damage:
            return ""
        cause = f"its first event.dataset is {dataset!r}" if dataset else damage or "it has no event.dataset"
        why = (
            f"which stream is this? {cause}; begin the file's name with one of "
            f"{', '.join(SOURCES)}, or set `stream`"
        )
        if found.named:
            faults.add(found.path, why)
        else:
            log.warning("%s: %s (left alone)", found.path, why)
        return ""

    def _batch(self, stream: str, root: str, pieces: list[Piece]) -> Batch:
        return Batch(
            stream,
            f"{self.id}:{root}",
            {piece.key: piece.number for piece in pieces if piece.key},
            lines=_joined(pieces),
            position=positions(pieces),
            rejected=[piece.rejected for piece in pieces if piece.rejected],
        )


def _joined(pieces: list[Piece]) -> bytes:
    filled = [piece.lines for piece in pieces if piece.lines]
    if len(filled) <= 1:
        return filled[0] if filled else b""
    return b"".join(lines if lines.endswith(b"\n") else lines + b"\n" for lines in filled)


def _head(found: Found) -> tuple[bytes, str]:
    try:
        return head(found.path, _FIRST)
    except OSError as error:
        return b"", f"it cannot be read: {error.strerror or error}"


def _dataset(line: bytes) -> str:
    event = _object(line)
    inner = event.get("event")
    name: Any = event.get("event.dataset") or (inner.get("dataset") if isinstance(inner, dict) else None)
    return name.removeprefix("tocsin.") if isinstance(name, str) else ""


def _is_object(line: bytes) -> bool:
    return bool(_object(line))


def _object(line: bytes) -> dict[str, Any]:
    try:
        value = read_json(line)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
