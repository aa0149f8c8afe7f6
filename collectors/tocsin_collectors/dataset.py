"""Dataset snapshots from CSV and Parquet files: digest, schema, profile, labels, writer, lineage."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import yaml

from tocsin.clock import format_time, parse_time
from tocsin.contract.plugin import Batch, Collector, Rejected, Resume, Stability, param
from tocsin.datasets.digest import content
from tocsin.datasets.tables import FAULTS, SUFFIXES, read_error, read_snapshot
from tocsin.errors import ConfigError, InputError, SnapshotError
from tocsin_collectors._find import Faults, Found, find, log
from tocsin_collectors._profile import label_counts, profile

_SIDECAR = re.compile(r"\.meta\.(json|ya?ml)$")
_COUNTER = re.compile(r"(?:^|[-_. ])(?:v?\d[\dwWqQtTzZ:.-]*|part[-_]?\d.*)$")
_GENERIC = frozenset({"", "batch", "chunk", "data", "day", "month", "part", "snapshot", "week"})
_BATCH = 50


@dataclass(frozen=True, slots=True)
class Params:
    """Settings of the dataset collector. Values in a file's sidecar take precedence."""

    paths: tuple[str, ...] = param(doc="files, folders or globs; in a folder *.csv, *.csv.gz, *.parquet")
    name: str = param(
        "", doc="name of the dataset; if empty, the file's name without date or counter, or the folder's name"
    )
    label: str = param("", doc="name of the label column")
    writer: str = param("", doc="writer of the files; becomes user.id")
    inputs: tuple[str, ...] = param((), doc="digests of the datasets from which the files were made")
    time: str = param("mtime", doc="time of writing: mtime, or a time such as 2026-03-02T03:00:00Z")


class Sidecar(msgspec.Struct, forbid_unknown_fields=True):
    """A producer's description of a file, in `<file>.meta.json` or `<file>.meta.yaml` beside the file."""

    name: str = ""
    label: str = ""
    writer: str = ""
    inputs: tuple[str, ...] = ()
    time: str = ""


@dataclass(slots=True)
class _Pending:
    checkpoint: dict[str, int] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)


class Dataset(Collector[Params]):
    """Writes one event for each state of a dataset file. An unchanged file is not read again.

    Delivery: at least once. Each combination of name, digest, path and time is stored once. The collector
    identifies the state of a file by path, size and time of the last change. If a file changes while the
    collector reads it, the collector skips the file until the next run. Write a new file under another name and
    then rename it, so that the collector never reads an incomplete file as a snapshot.
    """

    id = "dataset"
    stability = Stability.BETA

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        self._warned: set[str] = set()
        if params.time != "mtime":
            try:
                parse_time(params.time)
            except ValueError as error:
                raise ConfigError(f"time: {error}, or mtime", key="time") from None

    def collect(self, resume: Resume) -> Iterator[Batch]:
        pending: dict[str, _Pending] = {}
        faults = Faults()
        for found in find(self.params.paths, SUFFIXES, self._warned, _SIDECAR, faults):
            if _SIDECAR.search(found.path.name):
                continue
            waiting = pending.setdefault(found.root, _Pending())
            self._take(found, resume, waiting)
            if len(waiting.checkpoint) >= _BATCH:
                yield self._batch(found.root, pending.pop(found.root))
        for root, waiting in pending.items():
            if waiting.checkpoint:
                yield self._batch(root, waiting)
        faults.check()

    def check(self) -> None:
        faults = Faults()
        find(self.params.paths, SUFFIXES, set(), _SIDECAR, faults)
        faults.check()

    def _take(self, found: Found, resume: Resume, to: _Pending) -> None:
        path = found.path
        try:
            key = self._key(path)
            if resume("dataset", key) is not None:
                return
            event = self._event(path)
            if self._key(path) != key:
                log.info("%s: changed while it was read; left for the next time", path)
                return
        except FileNotFoundError:
            return
        except (SnapshotError, InputError) as error:
            to.rejected.append(Rejected(str(error), str(path), b""))
        else:
            to.events.append(event)
            to.places.append(str(path))
        to.checkpoint[key] = 1

    def _batch(self, root: str, waiting: _Pending) -> Batch:
        return Batch(
            "dataset",
            f"{self.id}:{root}",
            waiting.checkpoint,
            waiting.events,
            position=waiting.places.__getitem__,
            rejected=waiting.rejected,
        )

    def _key(self, path: Path) -> str:
        known = [str(path.resolve())]
        for file in (path, _sidecar_path(path)):
            stat = file.stat() if file else None
            known.append(f"{stat.st_size} {stat.st_mtime_ns}" if stat else "")
        return f"{self.id}:{hashlib.sha256(chr(10).join(known).encode()).hexdigest()[:32]}"

    def _event(self, path: Path) -> dict[str, Any]:
        sidecar = _sidecar(path)
        stat = path.stat()
        name = sidecar.name or self.params.name or _name(path)
        label = sidecar.label or self.params.label
        rows = read_snapshot(path)
        try:
            facts = content(rows)
            columns = profile(rows, label)
            labels = label_counts(rows, label) if label in columns else None
        except FAULTS as error:
            raise read_error(path, error) from None
        time = sidecar.time or self.params.time
        written = datetime.fromtimestamp(stat.st_mtime, UTC) if time == "mtime" else parse_time(time)
        place = str(path.resolve())
        identity = "\n".join((name, facts.digest, place, format_time(written)))
        event = {
            "@timestamp": format_time(written),
            "event.id": hashlib.sha256(identity.encode()).hexdigest()[:32],
            "event.action": "write",
            "event.outcome": "success",
            "user.id": sidecar.writer or self.params.writer,
            "tocsin.dataset.name": name,
            "tocsin.dataset.digest": facts.digest,
            "tocsin.dataset.format": "csv" if ".csv" in path.suffixes else "parquet",
            "tocsin.dataset.path": place,
            "tocsin.dataset.rows": facts.rows,
            "tocsin.dataset.bytes": stat.st_size,
            "tocsin.dataset.schema": [list(column) for column in facts.columns],
            "tocsin.dataset.profile": columns,
            "tocsin.dataset.label": label,
            "tocsin.dataset.labels": labels,
            "tocsin.dataset.inputs": list(sidecar.inputs or self.params.inputs),
        }
        return {name: value for name, value in event.items() if value not in (None, "", [])}


def _name(path: Path) -> str:
    """The file's name without extension, date and counter; the folder's name if the rest is generic."""
    name = SUFFIXES.sub("", path.name)
    while stripped := _COUNTER.search(name):
        name = name[: stripped.start()]
    return name if name.lower() not in _GENERIC else path.resolve().parent.name or path.name


def _sidecar_path(path: Path) -> Path | None:
    names = (path.with_name(f"{path.name}.meta.{suffix}") for suffix in ("json", "yaml", "yml"))
    return next((name for name in names if name.exists()), None)


def _sidecar(path: Path) -> Sidecar:
    """The sidecar of a file, empty if the file has none.

    Raises:
        InputError: the sidecar cannot be read.
    """
    beside = _sidecar_path(path)
    if beside is None:
        return Sidecar()
    try:
        data = beside.read_bytes()
        if beside.suffix == ".json":
            found = msgspec.json.decode(data, type=Sidecar)
        else:  # the base loader returns only text, so that a time keeps its written form
            found = msgspec.convert(yaml.load(data, yaml.BaseLoader) or {}, Sidecar)  # noqa: S506
        if found.time:
            parse_time(found.time)
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        reason = str(error).replace("\n", " ")
        raise InputError(
            f"{beside}: cannot be used: {reason}; correct it, and the file is read again"
        ) from None
    return found
