"""Stores the fitted baselines of detectors as numbered versions with a digest. A version may be pinned.

The keyed state holds each version's digest and metadata (kind `baseline`, key `detector/000001`). Frames are stored as
Parquet files, values as a JSON file. A baseline whose content does not match its digest is not used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from tocsin.clock import Clock, format_time, parse_time
from tocsin.contract.findings import Json
from tocsin.contract.windows import Baseline
from tocsin.errors import BaselineChanged, BaselineError
from tocsin.store.protocol import Entry, Store

KIND = "baseline"


@dataclass(frozen=True, slots=True)
class Version:
    """The metadata of one baseline version."""

    detector: str
    number: int
    digest: str
    start: datetime
    end: datetime
    fitted: datetime
    threshold: float | None
    pinned: bool
    frames: tuple[str, ...]

    def to_dict(self) -> dict[str, Json]:
        """The version as the command line's `--json` prints it."""
        return {
            "detector": self.detector,
            "version": self.number,
            "digest": self.digest,
            "start": format_time(self.start),
            "end": format_time(self.end),
            "fitted": format_time(self.fitted),
            "threshold": self.threshold,
            "pinned": self.pinned,
            "frames": list(self.frames),
        }


class Baselines:
    """All baselines of a store."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._read: dict[tuple[str, int], Baseline] = {}

    def versions(self, detector: str | None = None) -> list[Version]:
        """Every version, oldest first; with `detector`, only its versions."""
        prefix = "" if detector is None else f"{detector}/"
        return [_version(entry) for entry in self._store.entries(KIND, prefix)]

    def version(self, detector: str, number: int) -> Version:
        """One version.

        Raises:
            BaselineError: the detector has no version with that number.
        """
        entry = self._store.get(KIND, _key(detector, number))
        if entry is None:
            known = ", ".join(str(v.number) for v in self.versions(detector)) or "none"
            raise BaselineError(
                f"detector {detector} has no baseline version {number}; existing versions: {known}"
            )
        return _version(entry)

    def pinned(self, detector: str) -> Version | None:
        """The pinned version, or None."""
        return next((v for v in self.versions(detector) if v.pinned), None)

    def rolling(self, detector: str, before: datetime) -> Version | None:
        """The version with the latest end among those that end at or before `before`, whether pinned or not."""
        return max(
            (v for v in self.versions(detector) if v.end <= before),
            key=lambda v: (v.end, v.number),
            default=None,
        )

    def save(self, detector: str, baseline: Baseline, start: datetime, end: datetime) -> Version:
        """Store a fitted baseline as the next version. If a version has equal content and times, return that version."""
        known = self.versions(detector)
        for version in known:
            if (version.digest, version.start, version.end) == (baseline.digest, start, end):
                return version
        number = known[-1].number + 1 if known else 1
        folder = _folder(detector, number, baseline.digest)
        for name, frame in baseline.frames.items():
            self._store.save_file(f"{folder}/{name}.parquet", frame.write_parquet)
        content = msgspec.json.encode(baseline.content)
        self._store.save_file(f"{folder}/values.json", lambda path: _write(path, content))
        value = {
            "digest": baseline.digest,
            "start": format_time(start),
            "end": format_time(end),
            "fitted": format_time(self._clock.now()),
            "threshold": baseline.threshold,
            "pinned": False,
            "frames": sorted(baseline.frames),
        }
        entry = self._store.put(KIND, _key(detector, number), value)
        if entry is None:  # another process has stored this number; its files are in another folder
            return self.save(detector, baseline, start, end)
        return _version(entry)

    def load(self, version: Version) -> Baseline:
        """Read a baseline and check its digest.

        Raises:
            BaselineError: the content has changed since the baseline was fitted.
        """
        key = (version.detector, version.number)
        if key not in self._read:
            folder = _folder(version.detector, version.number, version.digest)
            frames: dict[str, pl.DataFrame] = {}
            for name in version.frames:
                with self._store.file_path(f"{folder}/{name}.parquet") as path:
                    frames[name] = pl.read_parquet(path)
            with self._store.file_path(f"{folder}/values.json") as path:
                content = msgspec.json.decode(Path(path).read_bytes())
            baseline = Baseline(frames, content["values"], content["threshold"], content.get("scores"))
            if baseline.digest != version.digest:
                raise BaselineChanged(
                    f"baseline {version.detector}/{version.number} has changed since it was fitted (digest "
                    f"{baseline.digest}, not {version.digest}); find out who changed the baseline, and fit "
                    "a new one with `tocsin baseline fit`"
                )
            self._read[key] = baseline
        return self._read[key]

    def pin(self, detector: str, number: int | None) -> Version | None:
        """Pin one version of a detector and unpin the others; None unpins all.

        Raises:
            BaselineError: the detector has no version with that number.
        """
        chosen = None if number is None else self.version(detector, number)
        for entry in self._store.entries(KIND, f"{detector}/"):
            wanted = chosen is not None and entry.key == _key(detector, chosen.number)
            if entry.value["pinned"] != wanted:
                self._store.put(KIND, entry.key, {**entry.value, "pinned": wanted}, entry.version)
        return None if chosen is None else replace(chosen, pinned=True)


def _folder(detector: str, number: int, digest: str) -> str:
    """The folder of a version's files. It contains the digest, so that concurrent fits do not overwrite each other."""
    return f"baselines/{detector}/{number:06d}-{digest}"


def _key(detector: str, number: int) -> str:
    return f"{detector}/{number:06d}"


def _version(entry: Entry) -> Version:
    detector, _, number = entry.key.rpartition("/")
    value: Mapping[str, Any] = entry.value
    return Version(
        detector,
        int(number),
        value["digest"],
        parse_time(value["start"]),
        parse_time(value["end"]),
        parse_time(value["fitted"]),
        value["threshold"],
        value["pinned"],
        tuple(value["frames"]),
    )


def _write(path: str, content: bytes) -> None:
    Path(path).write_bytes(content)
