"""Attempts of a partner who writes dataset files to blind the detectors of datasets, through the real pipeline."""

from __future__ import annotations

import atexit
import functools
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import polars as pl

from tests.generators.data_integrity import LABEL, applications
from tocsin.clock import ScriptedClock, SystemClock, floor_time
from tocsin.config.load import load
from tocsin.contract.findings import Finding, Outcome
from tocsin.datasets.digest import digest_file
from tocsin.pipeline.detecting.detect import Detect
from tocsin.worker.app import App

DAYS, ROWS = 36, 600
#: The days end today: the file system records the time of a change, and nobody can set that time.
START = floor_time(SystemClock().now(), timedelta(days=1)) - timedelta(days=DAYS)
DAY = START + timedelta(days=DAYS, hours=3)
NAME = "loans-{:%Y-%m-%d}.csv"
_CONFIG = """\
store: {{path: "{folder}/store"}}
collectors:
  - {{type: dataset, params: {{paths: ["{folder}/in"], name: loans, label: default, writer: partner}}}}
  - {{type: ndjson, params: {{paths: ["{folder}/events"]}}}}
detectors: {{{detectors}}}
"""
_DETECTORS = ("dataset_profile", "label_poisoning", "feature_drift", "prediction_drift", "model_extraction",
              "query_budget", "registry_access", "principal_spelling")  # fmt: skip

Put = Callable[[Path, pl.DataFrame], None]


class FileAttempt(NamedTuple):
    """One attempt: its name, and how the partner writes the poisoned rows into a folder."""

    name: str
    put: Put


def poisoned() -> pl.DataFrame:
    """A day's applications of which many labels are turned, with incomes in another unit."""
    return applications(ROWS, 99, approve=0.3, unit=1.6)


def attempts() -> Iterator[FileAttempt]:
    """The attempts; each writes the file of the day in its own form."""
    for name, side in _SIDECARS.items():
        yield FileAttempt(f"sidecar: {name}", _with_sidecar(side))
    for name, form in _FORMS.items():
        yield FileAttempt(f"file: {name}", _bytes(form))
    for name, change in _TABLES.items():
        yield FileAttempt(f"table: {name}", _table(change))
    yield FileAttempt(
        "file: Parquet", lambda folder, rows: _stamp(_parquet(folder / "loans-x.parquet", rows))
    )
    yield FileAttempt("name: another one", lambda folder, rows: _write(folder / "other.csv", rows))
    yield FileAttempt("name: a suffix", lambda folder, rows: _write(folder / "loans-b.csv", rows))
    yield FileAttempt("name: spaces", lambda folder, rows: _write(folder / "loans final (2).csv", rows))
    yield FileAttempt(
        "name: a Hive folder", lambda folder, rows: _write(folder / "dt=2026-03-18" / "part-0.csv", rows)
    )
    yield FileAttempt(
        "time: 1970", lambda folder, rows: _write(folder / _name(), rows, START.replace(year=1970))
    )
    yield FileAttempt(
        "time: last month", lambda folder, rows: _write(folder / _name(), rows, START - timedelta(days=30))
    )
    yield FileAttempt("beside it: 200 small files", _flood)
    yield FileAttempt("beside it: an event with the same digest", _forged)


def _name(day: datetime = DAY) -> str:
    return NAME.format(day)


def _stamp(path: Path, when: datetime = DAY) -> None:
    os.utime(path, (when.timestamp(), when.timestamp()))


def _write(path: Path, rows: pl.DataFrame, when: datetime = DAY) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows.write_csv(path)
    _stamp(path, when)


def _parquet(path: Path, rows: pl.DataFrame) -> Path:
    rows.write_parquet(path)
    return path


def _with_sidecar(text: str) -> Put:
    def put(folder: Path, rows: pl.DataFrame) -> None:
        _write(folder / _name(), rows)
        (folder / f"{_name()}.meta.json").write_text(text)

    return put


def _bytes(form: Callable[[str], bytes]) -> Put:
    def put(folder: Path, rows: pl.DataFrame) -> None:
        path = folder / _name()
        path.write_bytes(form(rows.write_csv()))
        _stamp(path)

    return put


def _table(change: Callable[[pl.DataFrame], pl.DataFrame]) -> Put:
    return lambda folder, rows: _write(folder / _name(), change(rows))


def _flood(folder: Path, rows: pl.DataFrame) -> None:
    _write(folder / _name(), rows)
    for i in range(200):
        _write(folder / f"loans-{i}.csv", rows.head(3).with_columns(age=pl.lit(i)))


def _forged(folder: Path, rows: pl.DataFrame) -> None:
    _write(folder / _name(), rows)
    event = {
        "@timestamp": f"{DAY + timedelta(minutes=1):%Y-%m-%dT%H:%M:%SZ}",
        "event": {"id": "forged", "action": "write"},
        "tocsin": {
            "dataset": {
                "name": "unrelated",
                "digest": digest_file(folder / _name()),
                "path": "/nowhere/x.csv",
            }
        },
    }
    (folder.parent / "events" / "dataset-x.ndjson").write_text(json.dumps(event) + "\n")


_SIDECARS: Mapping[str, str] = {
    "another name": '{"name": "loans2"}',
    "an old time": '{"time": "2009-01-01T00:00:00Z"}',
    "a label that is not there": '{"label": "nothing"}',
    "another label": '{"label": "age"}',
    "an unknown key": '{"nope": 1}',
    "not JSON": "{",
    "another writer": '{"writer": "us"}',
}
_FORMS: Mapping[str, Callable[[str], bytes]] = {
    "a Latin-1 byte": lambda text: text.replace("north", "n\xf6rth", 1).encode("latin-1"),
    "UTF-16": lambda text: text.encode("utf-16"),
    "a byte order mark": lambda text: text.encode("utf-8-sig"),
    "semicolons": lambda text: text.replace(",", ";").encode(),
    "tabs": lambda text: text.replace(",", "\t").encode(),
    "CR line ends": lambda text: text.replace("\n", "\r").encode(),
    "CRLF line ends": lambda text: text.replace("\n", "\r\n").encode(),
    "empty lines at the end": lambda text: (text + "\n\n\n").encode(),
    "a space before the label's name": lambda text: text.replace(LABEL, f" {LABEL}", 1).encode(),
    "the label's name in capitals": lambda text: text.replace(LABEL, LABEL.upper(), 1).encode(),
    "garbage": lambda _: bytes(range(256)) * 20,
    "cut short": lambda text: text.encode()[: len(text) // 2],
    "a NUL byte": lambda text: text.replace("north", "no\0th", 1).encode(),
}
_TABLES: Mapping[str, Callable[[pl.DataFrame], pl.DataFrame]] = {
    "labels 1.0 and 0.0": lambda rows: rows.with_columns(pl.col(LABEL).cast(pl.Float64)),
    "labels True and False": lambda rows: rows.with_columns(pl.col(LABEL).cast(pl.Boolean)),
    "labels with spaces": lambda rows: rows.with_columns(" " + pl.col(LABEL).cast(pl.String)),
    "columns in another order": lambda rows: rows.select(rows.columns[::-1]),
    "a further column": lambda rows: rows.with_columns(note=pl.lit("x")),
    "no label column": lambda rows: rows.drop(LABEL),
    "income as text": lambda rows: rows.with_columns(pl.lit("EUR ") + pl.col("income").cast(pl.String)),
    "income with a few NA": lambda rows: rows.with_columns(
        pl.when(pl.int_range(pl.len()) % 50 == 0)
        .then(pl.lit("NA"))
        .otherwise(pl.col("income").cast(pl.String))
        .alias("income")
    ),
    "each row twice": lambda rows: pl.concat([rows, rows]),
    "rows sorted": lambda rows: rows.sort("income"),
}


class Partner:
    """A folder with weeks of honest files that were collected and evaluated; each attempt works on a copy of it."""

    def __init__(self) -> None:
        self._found: dict[str, list[Finding]] = {}
        self._folder = Path(tempfile.mkdtemp(prefix="tocsin-blinding-"))
        self._work, self._base = self._folder / "work", self._folder / "base"
        for name in ("in", "events"):
            (self._work / name).mkdir(parents=True)
        on = ("dataset_profile", "label_poisoning")
        detectors = ", ".join(f"{name}: {{enabled: {str(name in on).lower()}}}" for name in _DETECTORS)
        (self._work / "tocsin.yaml").write_text(_CONFIG.format(folder=self._work, detectors=detectors))
        for day in range(DAYS):
            when = START + timedelta(days=day, hours=3)
            _write(self._work / "in" / _name(when), applications(ROWS, day), when)
        self._process(DAY.replace(hour=1))
        self._work.rename(self._base)

    def findings(self, attempt: FileAttempt) -> list[Finding]:
        """The findings of the day after an attempt, of all detectors; computed once for each attempt."""
        if attempt.name not in self._found:
            self._found[attempt.name] = self._tried(attempt.put)
        return self._found[attempt.name]

    def _tried(self, put: Put) -> list[Finding]:
        shutil.rmtree(self._work, ignore_errors=True)
        shutil.copytree(self._base, self._work)
        put(self._work / "in", poisoned())
        return self._process(DAY + timedelta(days=1, hours=3))

    def close(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _process(self, now: datetime) -> list[Finding]:
        app = App(load(self._work / "tocsin.yaml"), ScriptedClock(now))
        try:
            app.collect()
            detect = Detect(app.store, app.clock)  # in this process: no attempt attacks the fence
            runs = detect.run(app.settings)
            for run in runs:
                if run.outcome is Outcome.FAILED:
                    raise SystemExit(f"{run.detector} failed: {run.reason}\n{run.traceback}")
            return [finding for run in runs for finding in run.findings]
        finally:
            app.close()


def _control(folder: Path, rows: pl.DataFrame) -> None:
    """The poisoned file in the usual form."""
    _write(folder / _name(), rows)


CONTROL = FileAttempt("(unblinded)", _control)


@functools.cache
def partner() -> Partner:
    """The partner that all detectors of datasets share."""
    found = Partner()
    atexit.register(found.close)
    return found
