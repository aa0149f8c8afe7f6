"""A loaded configuration, with the line of each setting in its file."""

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

#: The path to a setting: keys and list indices, such as `("store", "hosts", 0)`.
Place = tuple[str | int, ...]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Config:
    """A loaded configuration. `lines` holds the line of each setting; `error` and `at` add it to error messages."""

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
        """The folder that relative paths in the configuration are relative to."""
        return self.path.parent if self.path else Path()

    def error(self, message: str, place: Place) -> ConfigError:
        """An error about the setting at `place`, with its file and line."""
        return error_at(message, place, self.path, self.lines)

    def at(self, place: Place, build: Callable[[], T]) -> T:
        """Return the result of `build`, and add the file and line of a setting to a ConfigError that it raises.

        Raises:
            ConfigError: `build` raised it.
        """
        try:
            return build()
        except ConfigError as error:
            if error.line is not None:
                raise
            raise self.error(str(error), nested_place(place, error.key)) from None

    def length(self, text: str, *place: str | int, zero: bool = False) -> timedelta:
        """Parse the length of time that is set at `place`; zero is allowed only with `zero`.

        Raises:
            ConfigError: `text` is not a length of time, is too long, or is zero.
        """
        try:
            length = parse_length(text)
        except (ValueError, OverflowError) as error:
            raise self.error(str(error), place) from None
        if not length and not zero:
            raise self.error(f"{place[-1]} is {text}; it must be longer than 0s", place)
        return length

    def size(self, text: str, *place: str | int) -> int:
        """Parse the size in bytes that is set at `place`.

        Raises:
            ConfigError: `text` is not a size, or is zero.
        """
        try:
            size = parse_size(text)
        except ValueError as error:
            raise self.error(str(error), place) from None
        if not size:
            raise self.error(f"{place[-1]} is {text}; it must be larger than 0B", place)
        return size


def nested_place(place: Place, key: str) -> Place:
    """The place of a dotted `key` inside the value at `place`."""
    return (*place, *(int(k) if k.isdigit() else k for k in key.split("."))) if key else place


def error_at(message: str, place: Place, path: Path | None, lines: Mapping[Place, int]) -> ConfigError:
    """An error about the setting at `place`. If the file does not contain it, the line is that of its section."""
    known = place
    while known and known not in lines:
        known = known[:-1]
    section = ".".join(map(str, place[:-1]))
    where = f" (in {section})" if section else ""
    return ConfigError(
        f"{message}{where}", path, lines.get(known) if path else None, ".".join(map(str, place))
    )
