"""Dataset snapshots from CSV and Parquet files: digest, schema, profile, labels, writer, lineage."""

from __future__ import annotations

import codecs
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tocsin.clock import parse_time
from tocsin.contract.plugin import Batch, Collector, Rejected, Resume, Stability, param
from tocsin.datasets.forms import Form
from tocsin.datasets.names import BOOKKEEPING
from tocsin.datasets.tables import SUFFIXES
from tocsin.errors import ConfigError
from tocsin_collectors._find import Faults, Found, find, log
from tocsin_collectors._sidecar import SIDECAR, sidecar_path
from tocsin_collectors._snapshot import Declared, snapshot

_BATCH = 50
_READ, _READ_BY_0_2 = 2, 1  # values of checkpoints


@dataclass(frozen=True, slots=True)
class Params:
    """Settings of the dataset collector. They take precedence over a file's sidecar."""

    paths: tuple[str, ...] = param(doc="files, folders or globs; in a folder *.csv, *.csv.gz, *.parquet")
    name: str = param(
        "",
        doc="name of the dataset; if empty, the name in the sidecar, else the file's name without date or counter, or "
        "the folder's name",
    )
    label: str = param("", doc="name of the label column")
    writer: str = param("", doc="writer of the files; becomes user.id")
    inputs: tuple[str, ...] = param((), doc="digests of the datasets from which the files were made")
    time: str = param("mtime", doc="time of writing: mtime, or a time such as 2026-03-02T03:00:00Z")
    separator: str = param("", doc="separator of CSV files; if empty, detected")
    encoding: str = param(
        "", doc="encoding of CSV files; if empty, detected: UTF-8, UTF-16, cp1252 or Latin-1"
    )
    decimal: str = param("", choices=("", ".", ","), doc="decimal mark of CSV files; if empty, detected")
    missing: tuple[str, ...] = param(
        (),
        doc="further markers of missing values in CSV files, in addition to NA, N/A, NULL, NaN, None and \\N",
    )


@dataclass(slots=True)
class _Pending:
    """What is read of one configured path. `known` is the newest event time before this pass, `newest` includes it."""

    known: datetime | None
    newest: datetime | None
    checkpoint: dict[str, int] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)


class Dataset(Collector[Params]):
    """Writes one event for each state of a dataset file. An unchanged file is not read again.

    Delivery: at least once, and the store drops repeated events. The collector identifies the state of a file by path,
    size and time of the last change. If a setting is changed, the collector reads all files again. If a file changes
    while the collector reads it, the collector skips the file until the next time that it runs. Write a new file under
    another name and then rename it, so that the collector never reads an incomplete file as a snapshot. If a file cannot
    be read, the collector writes a dead letter, and an event with the outcome `failure`.

    A sidecar is a file `<file>.meta.json` or `<file>.meta.yaml`, in which the producer declares the name, label column,
    writer, inputs and time of a dataset file. If settings and sidecar differ, the settings have precedence. A source
    that has delivered before does not accept a declared time that is in the future, or more than a day before its
    newest snapshot. The event time is then the time of the last change that the file system recorded.
    """

    id = "dataset"
    stability = Stability.BETA

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        self._warned: set[str] = set()
        _check(params)
        form = Form(params.separator, params.encoding, params.decimal, params.missing)
        self._declared = Declared(params.name, params.label, params.writer, params.inputs, params.time, form)

    def collect(self, resume: Resume) -> Iterator[Batch]:
        pending: dict[str, _Pending] = {}
        faults = Faults()
        for found in find(self.params.paths, SUFFIXES, self._warned, SIDECAR, faults):
            if SIDECAR.search(found.path.name) or BOOKKEEPING.intersection(found.path.parts):
                continue
            if found.root not in pending:
                seconds = resume("dataset", _newest_key(found.root))
                newest = None if seconds is None else datetime.fromtimestamp(seconds, UTC)
                pending[found.root] = _Pending(newest, newest)
            waiting = pending[found.root]
            self._take(found, resume, waiting)
            if len(waiting.events) >= _BATCH:
                yield self._batch(found.root, waiting)
                pending[found.root] = _Pending(waiting.known, waiting.newest)
        for root, waiting in pending.items():
            if waiting.checkpoint:
                yield self._batch(root, waiting)
        faults.check()

    def check(self) -> None:
        faults = Faults()
        find(self.params.paths, SUFFIXES, set(), SIDECAR, faults)
        faults.check()

    def _take(self, found: Found, resume: Resume, to: _Pending) -> None:
        path = found.path
        try:
            state = _state(path)
            if self._is_read(state, resume):
                return
            taken = snapshot(path, self._declared, to.known)
            if _state(path) != state:
                log.info("%s: changed while it was read; left for the next time", path)
                return
        except FileNotFoundError:
            return
        to.events.append(taken.event)
        to.places.append(str(path))
        to.rejected += [Rejected(reason, str(path), b"") for reason in taken.faults]
        exact, form = self._keys(state)
        to.checkpoint |= {exact: _READ} if taken.faults else {exact: _READ, form: _READ}
        to.newest = max(to.newest or taken.time, taken.time)
        self._warn([*taken.faults, *taken.warnings])
        if not taken.event.get("tocsin.dataset.label"):
            self._warn(
                [
                    f"{found.root}: no label column is set; label_poisoning cannot judge its datasets; set `label`"
                ]
            )

    def _warn(self, warnings: list[str]) -> None:
        for warning in warnings:
            if warning not in self._warned:
                self._warned.add(warning)
                log.warning("%s", warning)

    def _batch(self, root: str, waiting: _Pending) -> Batch:
        newest = {} if waiting.newest is None else {_newest_key(root): int(waiting.newest.timestamp())}
        return Batch(
            "dataset",
            f"{self.id}:{root}",
            waiting.checkpoint | newest,
            waiting.events,
            position=waiting.places.__getitem__,
            rejected=waiting.rejected,
        )

    def _is_read(self, state: str, resume: Resume) -> bool:
        """Whether a state of a file was read with these settings, or with more settings, or by version 0.2."""
        exact, form = self._keys(state)
        return (
            resume("dataset", exact) is not None
            or (not any(self._declared[:4]) and resume("dataset", form) is not None)
            or resume("dataset", _digest(state)) == _READ_BY_0_2
        )

    def _keys(self, state: str) -> tuple[str, str]:
        """Two checkpoints: one for all settings, and one for those that say how a file is read."""
        *facts, time, form = self._declared
        declared = "" if (time, form) == ("mtime", Form()) else f"\n{time} {form!r}"
        return _digest(f"{state}{declared}\n{facts!r}"), _digest(f"{state}{declared}")


def _check(params: Params) -> None:
    if params.time != "mtime":
        try:
            parse_time(params.time)
        except ValueError as error:
            raise ConfigError(f"time: {error}, or mtime", key="time") from None
    if len(params.separator.encode()) > 1:
        raise ConfigError(f"separator: {params.separator!r} is not one ASCII character", key="separator")
    try:
        codecs.lookup(params.encoding or "utf-8")
    except LookupError:
        raise ConfigError(
            f"encoding: {params.encoding!r} is not known; use for example cp1252", key="encoding"
        ) from None


def _state(path: Path) -> str:
    known = [str(path.resolve())]
    for file in (path, sidecar_path(path)):
        stat = file.stat() if file else None
        known.append(f"{stat.st_size} {stat.st_mtime_ns}" if stat else "")
    return "\n".join(known)


def _newest_key(root: str) -> str:
    return f"{_digest(root)}:newest"


def _digest(text: str) -> str:
    return f"dataset:{hashlib.sha256(text.encode()).hexdigest()[:32]}"
