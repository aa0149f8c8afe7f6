"""The event of one dataset file: what the settings, the file and its sidecar say, and what was noticed."""

from __future__ import annotations

import difflib
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from tocsin.clock import format_time, parse_time
from tocsin.datasets.columns import nearly_numbers
from tocsin.datasets.digest import content
from tocsin.datasets.forms import Form
from tocsin.datasets.labels import label_column
from tocsin.datasets.names import dataset_name
from tocsin.datasets.tables import FAULTS, Opened, open_snapshot, read_error
from tocsin.errors import InputError, SnapshotError
from tocsin_collectors._profile import label_counts, profile
from tocsin_collectors._sidecar import Sidecar, read_sidecar

_LATE = timedelta(
    days=1
)  # how far before the newest snapshot of a source the declared time of a new one may be
_SHOWN = 10  # columns named in an error


class Declared(NamedTuple):
    """What the settings of a source say. Empty values are taken from the sidecar, or found out."""

    name: str
    label: str
    writer: str
    inputs: tuple[str, ...]
    time: str
    form: Form


@dataclass(slots=True)
class Snapshot:
    """The event of a file.

    `time` is the event time, but not in the future. `faults` are reasons for dead letters, `warnings` for the operator.
    """

    event: dict[str, Any]
    time: datetime
    faults: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def snapshot(path: Path, declared: Declared, newest: datetime | None) -> Snapshot:
    """Read a file and its sidecar.

    What the settings declare wins over the sidecar; a contradiction is a remark in the event. A file that cannot be
    read has an event too, with the outcome `failure` and the digest of its bytes.

    Args:
        path: the file.
        declared: the settings.
        newest: event time of the newest snapshot that the source delivered before; None for a new source.

    Raises:
        FileNotFoundError: the file has been removed.
    """
    stat, faults = path.stat(), []
    try:
        sidecar, remarks = read_sidecar(path), {}
    except InputError as error:
        sidecar, remarks = Sidecar(), {"sidecar": str(error)}
        faults.append(str(error))
    place = path.resolve()
    time = _time(stat, declared.time, sidecar.time, newest, remarks)
    _compare(declared, sidecar, remarks)
    event: dict[str, Any] = {
        "@timestamp": format_time(time),
        "event.action": "write",
        "event.outcome": "success",
        "user.id": declared.writer or sidecar.writer,
        "tocsin.dataset.name": declared.name or sidecar.name or dataset_name(place),
        "tocsin.dataset.format": "csv" if ".csv" in path.suffixes else "parquet",
        "tocsin.dataset.path": str(place),
        "tocsin.dataset.bytes": stat.st_size,
        "tocsin.dataset.inputs": list(declared.inputs or sidecar.inputs),
    }
    taken = Snapshot(event, min(time, datetime.fromtimestamp(stat.st_ctime, UTC)), faults)
    try:
        event |= _content(
            path, open_snapshot(path, declared.form), declared.label or sidecar.label, taken, remarks
        )
    except SnapshotError as error:
        if not path.exists():
            raise FileNotFoundError(path) from None
        faults.append(str(error))
        remarks["unreadable"] = str(error)
        event |= {"event.outcome": "failure", "tocsin.dataset.digest": _bytes_digest(path, stat)}
    event["tocsin.dataset.remarks"] = remarks
    taken.event = {name: value for name, value in event.items() if value not in (None, "", [], {})}
    taken.event["event.id"] = hashlib.sha256(msgspec.json.encode(taken.event)).hexdigest()[:32]
    return taken


def _content(path: Path, opened: Opened, label: str, to: Snapshot, remarks: dict[str, str]) -> dict[str, Any]:
    """The fields of an event that depend on the rows."""
    rows = opened.rows
    try:
        facts = content(rows)
        names = [name for name, _ in facts.columns]
        column = label_column(label, names) if label else None
        odd = nearly_numbers(rows, opened.form) if opened.form else {}
        columns = profile(rows, column, opened.form, opened.keys)
        labels = label_counts(rows, column) if column else None
    except FAULTS as error:
        raise read_error(path, error) from None
    if label and names and column is None:
        to.faults.append(_no_column(path, label, names))
        remarks["label"] = f"the file has no column {label!r}"
    if opened.form and len(names) == 1:
        to.warnings.append(f"{path}: has one column; if it has more, set `separator`")
        remarks["separator"] = "one column"
    for name, values in odd.items():
        shown = ", ".join(map(repr, values))
        to.warnings.append(f"{path}: column {name!r} is text, but numbers except for {shown}; set `missing`")
        remarks["columns"] = f"numbers with some other texts: {', '.join(list(odd)[:_SHOWN])}"
    return {
        "tocsin.dataset.digest": facts.digest,
        "tocsin.dataset.form": msgspec.to_builtins(opened.form) if opened.form else None,
        "tocsin.dataset.rows": facts.rows,
        "tocsin.dataset.schema": [list(column) for column in facts.columns],
        "tocsin.dataset.profile": columns,
        "tocsin.dataset.label": column or label,
        "tocsin.dataset.labels": labels,
    }


def _no_column(path: Path, label: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(label, names, 1, 0.6)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    columns = ", ".join(map(repr, names[:_SHOWN])) + more
    hint = f"the nearest is {near[0]!r}" if near else "correct the setting `label`"
    return f"{path}: the label column {label!r} does not exist; {hint}; the columns are {columns}"


def _compare(declared: Declared, sidecar: Sidecar, remarks: dict[str, str]) -> None:
    for kind in ("name", "label", "writer"):
        configured, said = getattr(declared, kind), getattr(sidecar, kind)
        if configured and said and configured != said:
            remarks[kind] = f"the sidecar says {said!r}, the settings say {configured!r}"


def _time(
    stat: os.stat_result, configured: str, said: str, newest: datetime | None, remarks: dict[str, str]
) -> datetime:
    """The event time: what is configured, else what is declared by the sidecar or as time of the last change.

    Of a source that has delivered before, a declared time is not accepted if it is more than a day before the newest
    snapshot, or in the future: it would move the snapshot to a window that nobody judges. Instead, the time of change
    counts that the file system itself recorded, which the writer of a file cannot set.
    """
    if configured != "mtime":
        return parse_time(configured)
    changed, modified = (datetime.fromtimestamp(t, UTC) for t in (stat.st_ctime, stat.st_mtime))
    for time in (parse_time(said), modified) if said else (modified,):
        if newest is None or newest - _LATE <= time <= changed + _LATE:
            return time
        remarks["time"] = f"a declared time, {format_time(time)}, is not credible; the file changed later"
    return changed


def _bytes_digest(path: Path, stat: os.stat_result) -> str:
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise
    except OSError:  # no permission: the state of the file stands for its content
        digest = hashlib.sha256(f"{path.resolve()} {stat.st_size} {stat.st_mtime_ns}".encode()).hexdigest()
    return f"file-sha256:{digest}"
