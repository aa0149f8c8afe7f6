"""The settings that were read, and the place of each of them in its file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from tocsin.clock import parse_length
from tocsin.config.sections import (
    CollectorSection,
    DetectorSection,
    GrafanaSection,
    IngestSection,
    MonitoringSection,
    ProtectRule,
    ScheduleSection,
    StoreSection,
    WorkerSection,
)
from tocsin.config.sizes import parse_size
from tocsin.errors import ConfigError

Place = tuple[str | int, ...]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Config:
    """A configuration that has been read; `at` turns an error of a setting into one with its line."""

    path: Path | None
    namespace: str
    store: StoreSection
    ingest: IngestSection
    protect: tuple[ProtectRule, ...]
    collectors: tuple[CollectorSection, ...]
    detectors: Mapping[str, DetectorSection]
    alerting: Mapping[str, Any]
    schedule: ScheduleSection
    worker: WorkerSection
    monitoring: MonitoringSection
    grafana: GrafanaSection
    plugins: tuple[str, ...]
    lines: Mapping[Place, int] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """What relative paths in the configuration are relative to."""
        return self.path.parent if self.path else Path()

    def error(self, message: str, place: Place) -> ConfigError:
        """An error at a setting."""
        return error_at(message, place, self.path, self.lines)

    def at(self, place: Place, build: Callable[[], T]) -> T:
        """What `build` gives; a ConfigError from it gets the file and line of the setting.

        Raises:
            ConfigError: as `build` raised it, with its place.
        """
        try:
            return build()
        except ConfigError as error:
            if error.line is not None:
                raise
            raise self.error(str(error), deeper(place, error.key)) from None

    def length(self, text: str, *place: str | int, zero: bool = False) -> timedelta:
        """A length of time that stands at `place`; `zero` says that it may be none.

        Raises:
            ConfigError: it is no length, or is too long for any clock, or is zero.
        """
        try:
            length = parse_length(text)
        except (ValueError, OverflowError) as error:
            raise self.error(str(error), place) from None
        if not length and not zero:
            raise self.error(f"{place[-1]} is {text}; it must be longer than nothing", place)
        return length

    def size(self, text: str, *place: str | int) -> int:
        """A size in bytes that stands at `place`.

        Raises:
            ConfigError: it is no size, or is zero.
        """
        try:
            size = parse_size(text)
        except ValueError as error:
            raise self.error(str(error), place) from None
        if not size:
            raise self.error(f"{place[-1]} is {text}; it must be more than nothing", place)
        return size


def deeper(place: Place, key: str) -> Place:
    """The place of a key inside the value at `place`."""
    return (*place, *(int(k) if k.isdigit() else k for k in key.split("."))) if key else place


def error_at(message: str, place: Place, path: Path | None, lines: Mapping[Place, int]) -> ConfigError:
    """An error at a place; where the file has no such line, at the nearest one around it."""
    spot = place
    while spot and spot not in lines:
        spot = spot[:-1]
    section = ".".join(map(str, place[:-1]))
    where = f" (in {section})" if section else ""
    return ConfigError(
        f"{message}{where}", path, lines.get(spot) if path else None, ".".join(map(str, place))
    )
