"""`tocsin.yaml`: read once, checked whole, every error with its file, line and nearest known key.

Settings are declared once, as dataclass fields with `param(default, bounds, doc)`; `docs/configuration.md` is
generated from them. Secrets never stand here: they come from an environment variable or a file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import yaml

from tocsin import params
from tocsin.clock import parse_length
from tocsin.config_checks import check
from tocsin.errors import ConfigError
from tocsin.sections import (
    CollectorSection,
    DetectorSection,
    GrafanaSection,
    IngestSection,
    MonitoringSection,
    ProtectRule,
    ScheduleSection,
    StoreSection,
    Top,
    WorkerSection,
)
from tocsin.sizes import parse_size

DEFAULT_PATH = Path("tocsin.yaml")
Place = tuple[str | int, ...]
T = TypeVar("T")
_MOST = 100_000  # values in a configuration


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
        return _error(message, place, self.path, self.lines)

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
            raise self.error(str(error), _deeper(place, error.key)) from None

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


def load(path: Path | None = None) -> Config:
    """Read a configuration file; without one, all defaults.

    Raises:
        ConfigError: the file is missing, is not YAML, or a setting is wrong.
    """
    if path is None:
        return _config({}, None, {})
    try:
        text = path.read_text()
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", path) from None
    except UnicodeDecodeError:
        raise ConfigError("is not UTF-8 text", path) from None
    lines: dict[Place, int] = {}
    values = parse(text, path, lines)
    if not isinstance(values, dict):
        raise ConfigError("must be a mapping of settings", path, 1)
    return _config(values, path, lines)


def parse(text: str, path: Path | None, lines: dict[Place, int]) -> Any:
    """YAML as plain values, a time as its text; `lines` gets the line of every one. An empty text is a mapping.

    Raises:
        ConfigError: it is not YAML, or holds more than a configuration does.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        return {} if node is None else _value(node, (), path, lines)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise ConfigError(
            f"is not YAML: {getattr(error, 'problem', error)}", path, mark.line + 1 if mark else None
        ) from None
    except RecursionError:
        raise ConfigError(
            "is nested too deeply, or an alias stands for what it is part of", path, 1
        ) from None


def _config(values: Mapping[str, Any], path: Path | None, lines: Mapping[Place, int]) -> Config:
    def section(type_: type[T], given: Any, *place: str | int) -> T:
        if not isinstance(given, Mapping):
            raise _error(f"{place[-1]} must be a mapping", place, path, lines)
        try:
            built: T = params.build(type_, given)
        except ConfigError as error:
            raise _error(str(error), _deeper(place, error.key), path, lines) from None
        return built

    values = _from_environment(values)
    top = section(Top, values)
    config = Config(
        path=path,
        namespace=top.namespace,
        store=section(StoreSection, top.store, "store"),
        ingest=(ingest := section(IngestSection, top.ingest, "ingest")),
        protect=tuple(section(ProtectRule, r, "ingest", "protect", i) for i, r in enumerate(ingest.protect)),
        collectors=tuple(section(CollectorSection, c, "collectors", i) for i, c in enumerate(top.collectors)),
        detectors={id: section(DetectorSection, d or {}, "detectors", id) for id, d in top.detectors.items()},
        alerting=top.alerting,
        schedule=section(ScheduleSection, top.schedule, "schedule"),
        worker=section(WorkerSection, top.worker, "worker"),
        monitoring=section(MonitoringSection, top.monitoring, "monitoring"),
        grafana=section(GrafanaSection, top.grafana, "grafana"),
        plugins=tuple(top.plugins),
        lines=lines,
    )
    check(config)
    return config


def _from_environment(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the file does not say: TOCSIN_NAMESPACE, TOCSIN_STORE_URL for a cluster, TOCSIN_GRAFANA_URL."""
    namespace, url = os.environ.get("TOCSIN_NAMESPACE"), os.environ.get("TOCSIN_STORE_URL")
    more: dict[str, Any] = {"namespace": namespace} if namespace else {}
    more |= {"store": {"type": "elasticsearch", "hosts": url.split(",")}} if url else {}
    grafana = os.environ.get("TOCSIN_GRAFANA_URL")
    more |= {"grafana": {"url": grafana, "token": {"env": "TOCSIN_GRAFANA_TOKEN"}}} if grafana else {}
    return {**more, **values}


def _value(node: yaml.Node, place: Place, path: Path | None, lines: dict[Place, int]) -> Any:
    lines.setdefault(place, node.start_mark.line + 1)
    if len(lines) > _MOST:  # aliases of aliases
        raise ConfigError(f"holds more than {_MOST:,} values", path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            if key in found:
                raise ConfigError(f"key {key!r} is given twice", path, key_node.start_mark.line + 1, key)
            lines[(*place, key)] = key_node.start_mark.line + 1
            found[key] = _value(value_node, (*place, key), path, lines)
        return found
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, (*place, i), path, lines) for i, item in enumerate(node.value)]
    try:
        value = yaml.SafeLoader("").construct_object(node)
    except (yaml.YAMLError, ValueError) as error:
        why = getattr(error, "problem", None) or error
        raise ConfigError(f"{node.value!r} cannot be read: {why}", path, node.start_mark.line + 1) from None
    return value if value is None or isinstance(value, bool | int | float | str) else str(node.value)


def _deeper(place: Place, key: str) -> Place:
    return (*place, *(int(k) if k.isdigit() else k for k in key.split("."))) if key else place


def _error(message: str, place: Place, path: Path | None, lines: Mapping[Place, int]) -> ConfigError:
    spot = place
    while spot and spot not in lines:
        spot = spot[:-1]
    section = ".".join(map(str, place[:-1]))
    where = f" (in {section})" if section else ""
    return ConfigError(
        f"{message}{where}", path, lines.get(spot) if path else None, ".".join(map(str, place))
    )
