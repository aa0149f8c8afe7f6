"""`tocsin.yaml`: read once, checked whole, every error with its file, line and nearest known key.

Settings are declared once, as dataclass fields with `param(default, bounds, doc)`; `docs/configuration.md` is
generated from them. Secrets never stand here: they come from an environment variable or a file.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import yaml

from tocsin import params
from tocsin.clock import parse_length
from tocsin.errors import ConfigError
from tocsin.plugin import param
from tocsin.streams import SOURCES, STREAMS

DEFAULT_PATH = Path("tocsin.yaml")
Place = tuple[str | int, ...]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StoreSection:
    """`store:` where streams and state are kept."""

    path: str = param("tocsin-data", doc="folder of the embedded store; relative to the configuration file")
    retention: dict[str, str] = param(
        {}, doc="how long a stream is kept, in place of its default: `access: 400d`"
    )


@dataclass(frozen=True, slots=True)
class IngestSection:
    """`ingest:` what is done to events before they are written."""

    protect: list[dict[str, Any]] = param([], doc="rules for sensitive fields: `{field, action, streams}`")
    pseudonym_key: dict[str, str] | None = param(
        None, doc="where the key is: `{env: NAME}` or `{file: PATH}`"
    )
    max_age: str = param("7300d", doc="an event older than this is rejected")
    max_ahead: str = param("1d", doc="an event further in the future than this is rejected")


@dataclass(frozen=True, slots=True)
class ProtectRule:
    """`ingest.protect[]` one rule for a field and all below it."""

    field: str = param(doc="dotted name of a field, known or not: `user.id`, `customer`")
    action: str = param(doc="what is done to it", choices=("pseudonymize", "mask", "drop"))
    streams: list[str] = param([], doc="the streams it is done in; all where left out")


@dataclass(frozen=True, slots=True)
class CollectorSection:
    """`collectors[]` one source to collect from while `tocsin run` runs."""

    type: str = param(doc="the collector: ndjson, access_log, cloudtrail, dataset or a plug-in's id")
    params: dict[str, Any] = param({}, doc="the collector's own settings")


@dataclass(frozen=True, slots=True)
class DetectorSection:
    """`detectors.<id>:` changes to one detector; every detector that needs no setting is on by default."""

    type: str | None = param(None, doc="the detector, where it is not the key itself: `{type: pyod}`")
    enabled: bool = param(True, doc="false turns it off")
    params: dict[str, Any] = param({}, doc="the detector's own settings")
    window: str | None = param(None, doc="length of a window of event time")
    lateness: str = param("0s", doc="how long after its end a window waits for late events")
    baseline: str | None = param(None, doc="how much history a baseline covers")
    rolling: bool = param(
        True, doc="fit baselines anew as time goes on; a pinned one is compared with as well"
    )
    refit: str | None = param(
        None, doc="age at which a rolling baseline is fitted anew; left out: a quarter of its length"
    )
    false_alarms: float = param(
        0.01, ge=1e-6, le=0.5, doc="wanted probability that a quiet score reaches the threshold"
    )
    threshold: float | None = param(None, ge=0, doc="a fixed threshold in place of the calibrated one")


@dataclass(frozen=True, slots=True)
class ScheduleSection:
    """`schedule:` how often `tocsin run` does what."""

    collect: str = param("1m", doc="between two visits of a collector")
    detect: str = param("1m", doc="between two looks for windows that are due")
    alert: str = param("15s", doc="between two rounds of alerting and delivery")
    maintain: str = param("1h", doc="between two compactions")


@dataclass(frozen=True, slots=True)
class Top:
    """The top level of `tocsin.yaml`."""

    namespace: str = param("default", doc="keeps the data of one environment apart from another's")
    store: dict[str, Any] = param({}, doc="see `store`")
    ingest: dict[str, Any] = param({}, doc="see `ingest`")
    collectors: list[dict[str, Any]] = param([], doc="see `collectors[]`")
    detectors: dict[str, Any] = param({}, doc="see `detectors.<id>`")
    alerting: dict[str, Any] = param({}, doc="route, receivers, incidents; see the on-call page")
    schedule: dict[str, Any] = param({}, doc="see `schedule`")
    plugins: list[str] = param([], doc="modules to load plug-ins from, beside the installed packages")


#: Every section with the heading it has in the docs.
SECTIONS: Mapping[str, type[Any]] = {
    "Top level": Top,
    "store": StoreSection,
    "ingest": IngestSection,
    "ingest.protect[]": ProtectRule,
    "collectors[]": CollectorSection,
    "detectors.<id>": DetectorSection,
    "schedule": ScheduleSection,
}


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
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise ConfigError(
            f"is not YAML: {getattr(error, 'problem', error)}", path, mark.line + 1 if mark else None
        ) from None
    lines: dict[Place, int] = {}
    try:
        values = {} if node is None else _value(node, (), path, lines)
    except RecursionError:
        raise ConfigError("an alias stands for what it is part of", path, 1) from None
    if not isinstance(values, dict):
        raise ConfigError("must be a mapping of settings", path, 1)
    return _config(values, path, lines)


def _config(values: Mapping[str, Any], path: Path | None, lines: Mapping[Place, int]) -> Config:
    def section(type_: type[T], given: Any, *place: str | int) -> T:
        if not isinstance(given, Mapping):
            raise _error(f"{place[-1]} must be a mapping", place, path, lines)
        try:
            built: T = params.build(type_, given)
        except ConfigError as error:
            raise _error(str(error), _deeper(place, error.key), path, lines) from None
        return built

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
        plugins=tuple(top.plugins),
        lines=lines,
    )
    _check(config)
    return config


def _check(config: Config) -> None:
    for setting in dataclasses.fields(ScheduleSection):
        config.length(getattr(config.schedule, setting.name), "schedule", setting.name)
    for stream, length in config.store.retention.items():
        if stream not in STREAMS:
            raise config.error(params.unknown(stream, STREAMS, "stream"), ("store", "retention", stream))
        config.length(length, "store", "retention", stream)
    for i, rule in enumerate(config.protect):
        for stream in rule.streams:
            if stream not in SOURCES:
                raise config.error(
                    params.unknown(stream, SOURCES, "stream"), ("ingest", "protect", i, "streams")
                )
        if rule.field in {"@timestamp", "event.id", "event.ingested"}:
            raise config.error(
                f"{rule.field} cannot be protected: events are kept by it", ("ingest", "protect", i)
            )
    if any(r.action == "pseudonymize" for r in config.protect) and not config.ingest.pseudonym_key:
        raise config.error(
            "a rule pseudonymizes but there is no key; set `ingest.pseudonym_key: {env: NAME}` or `{file: PATH}`",
            ("ingest", "protect"),
        )


def _value(node: yaml.Node, place: Place, path: Path, lines: dict[Place, int]) -> Any:
    lines.setdefault(place, node.start_mark.line + 1)
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
