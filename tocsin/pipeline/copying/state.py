"""Copies all data of a store except rows: the keyed state, stored files and the checkpoints of collectors."""

from __future__ import annotations

import functools
import hashlib
import shutil
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import msgspec

from tocsin.clock import EPOCH, format_time, parse_time
from tocsin.contract.frames import empty
from tocsin.contract.query import COUNT, Condition
from tocsin.contract.streams import INGESTED, STREAMS
from tocsin.errors import StoreError
from tocsin.pipeline.copying.progress import KIND, Progress, identity
from tocsin.pipeline.detecting.cursors import Cursor
from tocsin.store import shared_ids
from tocsin.store.protocol import Entry, Store
from tocsin.words import listed

#: Kinds that are not copied: they belong to one store and its processes. `source` holds a cluster's checkpoints, which
#: are copied as checkpoints. Shared ids are counted again when the rows are appended.
_STAYS = frozenset({"lease", "upkeep", "worker", "source", shared_ids.KIND, KIND})
_DETECT = "detect"
#: The record of the ingest times up to which alerting has read: its kind and key, and the stream of each of its fields.
_ALERTING, _READ = ("checkpoint", "alerting"), {"runs": "run", "findings": "finding"}
_DETECTOR, _START, _END = "tocsin.detector.id", "tocsin.window.start", "tocsin.window.end"

Cuts = Mapping[str, set[datetime]]


class Moved(NamedTuple):
    """The numbers of records, files and checkpoints copied in addition to rows."""

    records: int
    files: int
    checkpoints: int


def newest_version(store: Store) -> int:
    """The highest version of a store's records."""
    return max((e.version for kind in store.kinds() for e in store.entries(kind)), default=0)


class StateCopy:
    """Copies the state of one store into another that has no state yet."""

    def __init__(self, source: Store, target: Store) -> None:
        self._source, self._target = source, target
        self._key = f"{identity(source)} state"

    def check(self) -> None:
        """Check that the copy may write the target's state.

        Raises:
            StoreError: the target's state is not from this copy, or has changed since this copy wrote it, or the
                namespaces differ: alert fingerprints contain the namespace.
        """
        source, target = self._source, self._target
        if source.namespace != target.namespace:
            raise StoreError(
                f"the source has the namespace {source.namespace!r}, the target {target.namespace!r}, and alert "
                f"fingerprints contain the namespace; set the same `namespace` in both configurations, or copy with "
                "--streams-only"
            )
        entry, found = target.get(KIND, self._key), _content(target)
        if found and entry is None:
            raise StoreError(
                f"the store {target.place} already has state ({listed(sorted(found), 1)}), which a copy must not overwrite; "
                "copy into an empty store, or with --streams-only"
            )
        if entry is not None and entry.value["digest"] not in {"", _digest(found)}:
            raise StoreError(
                f"the state of {target.place} has changed since it was copied: Tocsin has used this store, or another copy "
                "was made; copy later rows with --streams-only"
            )

    def cuts(self) -> Cuts:
        """The ingest times up to which detectors or alerting have read each stream. Slices of rows must end there."""
        found: dict[str, set[datetime]] = {}
        for entry in self._copied_records():
            for stream, _, position in self._positions(entry):
                found.setdefault(stream, set()).add(position)
        return found

    def run(self, progress: Mapping[str, Progress]) -> Moved:
        """Copy the state, and delete records in the target that are no longer in the source.

        Raises:
            StoreError: a store cannot be read or written, or the target's state may not be overwritten.
        """
        self.check()
        self._note("")
        files = self._files()
        wanted = {(e.kind, e.key): self._translated(e, progress) for e in self._copied_records()}
        for entry in _records(self._target):
            if (entry.kind, entry.key) not in wanted:
                self._target.delete(entry.kind, entry.key, entry.version)
        for (kind, key), value in wanted.items():
            self._put(kind, key, value)
        checkpoints = sum(self._checkpoints(stream) for stream in STREAMS)
        self._note(_digest(_content(self._target)))
        return Moved(len(wanted), files, checkpoints)

    def _copied_records(self) -> Iterator[Entry]:
        return _records(self._source)

    def _note(self, digest: str) -> None:
        """Record that the target's state is from this copy. An empty digest means that the state is incomplete."""
        self._put(KIND, self._key, {"digest": digest})

    def _put(self, kind: str, key: str, value: Mapping[str, Any]) -> None:
        entry = self._target.get(kind, key)
        if entry is not None and entry.value == value:
            return
        if self._target.put(kind, key, value, entry.version if entry else None) is None:
            raise StoreError(
                f"{self._target.place} is in use: {kind} {key} was written during the copy; "
                "stop the workers that use this store, and copy again"
            )

    def _files(self) -> int:
        names = self._source.file_names()
        for name in names:
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                raise StoreError(
                    f"{self._source.place} stores a file under a name outside its folder, {name!r}; the copy was stopped"
                )
            with self._source.file_path(name) as path:
                self._target.save_file(name, functools.partial(_copy_file, path))
        return len(names)

    def _checkpoints(self, stream: str) -> int:
        marks = dict(self._source.checkpoints(stream))
        if marks and marks != dict(self._target.checkpoints(stream)):
            self._target.append(stream, empty(stream), marks)
        return len(marks)

    # Positions by ingest time

    def _positions(self, entry: Entry) -> Iterator[tuple[str, str, datetime]]:
        """The stream and name of each position in a record, and the ingest time up to which all rows were read."""
        if entry.kind == _DETECT:
            for stream, value in entry.value["cursors"].items():
                yield stream, stream, self._seen(stream, Cursor.read(value))
        elif (entry.kind, entry.key) == _ALERTING:
            for name, stream in _READ.items():
                yield stream, name, parse_time(entry.value[name]) - self._source.overlap

    def _seen(self, stream: str, cursor: Cursor) -> datetime:
        """The ingest time up to which a cursor has read all rows.

        The cursor contains the number of rows that it read in the overlap. If the source now has more rows in the
        overlap, some rows became visible after they were counted.
        """
        if not self._source.overlap:
            return cursor.newest
        start = cursor.newest - self._source.overlap
        where = [Condition(INGESTED, ">", start), Condition(INGESTED, "<=", cursor.newest)]
        rows = self._source.summarize(stream, None, None, [], [COUNT], where)[COUNT.name].sum()
        return cursor.newest if rows == sum(cursor.recent.values()) else start

    def _translated(self, entry: Entry, progress: Mapping[str, Progress]) -> Mapping[str, Any]:
        """A record's value with its positions in the target: the latest positions up to which all rows were surely read."""
        here = {name: (stream, progress[stream].here(at)) for stream, name, at in self._positions(entry)}
        if not here:
            return entry.value
        if entry.kind == _DETECT:
            length = self._window(entry.key)
            cursors = {s: Cursor(at, self._recent(s, at, length)).to_dict() for s, at in here.values()}
            return {**entry.value, "cursors": cursors}
        return {**entry.value, **{name: format_time(at) for name, (_, at) in here.items()}}

    def _window(self, detector: str) -> timedelta | None:
        """The window length in a detector's last run record. None if the target has no overlap, or if there is no record."""
        if not self._target.overlap:
            return None
        columns, where = [_START, _END, INGESTED], [Condition(_DETECTOR, "==", detector)]
        runs = self._source.scan("run", columns=columns, where=where).sort(INGESTED).last().collect()
        found = (runs[_END] - runs[_START]).to_list()
        return found[0] if found else None

    def _recent(self, stream: str, newest: datetime, length: timedelta | None) -> dict[str, int]:
        """The number of rows of each window in the overlap before a cursor.

        Without these numbers, all these windows would be evaluated again.
        """
        if length is None or newest == EPOCH:
            return {}
        where = [
            Condition(INGESTED, ">", max(newest - self._target.overlap, EPOCH)),
            Condition(INGESTED, "<=", newest),
        ]
        counts = self._target.windows(stream, length, where=where)
        return {format_time(start): count for start, count in counts.iter_rows()}


def _records(store: Store) -> Iterator[Entry]:
    for kind in store.kinds():
        if kind not in _STAYS:
            yield from store.entries(kind)


def _copy_file(there: str, here: str) -> None:
    shutil.copyfile(there, here)


def _content(store: Store) -> dict[str, Any]:
    """All records and checkpoints of a store that are copied as state, by kind and key."""
    found: dict[str, Any] = {f"{entry.kind} {entry.key}": entry.value for entry in _records(store)}
    for stream in STREAMS:
        found |= {f"checkpoint of {stream} {key}": n for key, n in store.checkpoints(stream).items()}
    return found


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(msgspec.json.encode(content, order="sorted")).hexdigest()[:32]
