"""Builds the parts of an app, each from its section of the configuration."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tocsin.config import discovery, params
from tocsin.config.discovery import Catalogue
from tocsin.config.secret import Secret
from tocsin.config.sections import DetectorSection, GrafanaSection, IngestSection, MonitoringSection
from tocsin.config.settings import Config
from tocsin.contract.plugin import Detector, Plugin, Receiver, Requires
from tocsin.errors import ConfigError
from tocsin.pipeline.detecting.settings import Setting
from tocsin.pipeline.ingesting.ingest import Limits
from tocsin.pipeline.ingesting.protect import Protector, Rule


def instance(plugin: type[Any], settings: Mapping[str, Any]) -> Any:
    """Build a plug-in with its settings.

    Raises:
        ConfigError: a setting is wrong.
    """
    built = params.build(plugin.params_type(), settings)
    try:
        return plugin(built)
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(f"{type(error).__name__}: {error}") from error


def absolute(config: Config, given: Mapping[str, Any]) -> dict[str, Any]:
    """Make the paths in a collector's settings absolute: they are relative to the configuration file."""
    settings = dict(given)
    if isinstance(paths := settings.get("paths"), list):
        settings["paths"] = [str(config.folder / p) if isinstance(p, str) else p for p in paths]
    return settings


def catalogue(config: Config) -> Catalogue:
    """All plug-ins that are installed or named in the configuration.

    Raises:
        ConfigError: a module named in the configuration cannot be imported, or contains no plug-in.
    """
    found = discovery.discover()
    if not config.plugins:
        return found
    more = discovery.collect(list(config.plugins))
    for module, why in more.failures.items():
        if module in config.plugins:
            raise config.error(f"plug-in module {module} cannot be imported: {why}", ("plugins",))
    for module in config.plugins:
        if not any(f"{plugin.__module__}.".startswith(f"{module}.") for plugin in more.plugins.values()):
            raise config.error(
                f"plug-in module {module} contains no plug-in; name a module that defines one, or remove it",
                ("plugins",),
            )
    both = {**found.plugins, **more.plugins}
    return Catalogue(both, {**found.failures, **more.failures})


def settings(config: Config, known: Catalogue) -> list[Setting]:
    """The settings of all enabled detectors."""
    available = known.of(Detector)  # type: ignore[type-abstract]
    sections: dict[str, DetectorSection] = dict(config.detectors)
    for id, plugin in available.items():
        if id not in sections and _needs_nothing(plugin):
            sections[id] = DetectorSection()
    settings = []
    for id, section in sections.items():
        kind = section.type or id
        if kind not in available:
            raise config.error(params.unknown(kind, available, "detector"), ("detectors", id))
        if section.enabled:
            settings.append(_setting(config, id, section, available[kind]))
    return sorted(settings, key=lambda s: s.detector.id)


def _setting(config: Config, id: str, section: DetectorSection, plugin: type[Detector[Any]]) -> Setting:
    place = ("detectors", id)
    detector: Detector[Any] = config.at((*place, "params"), lambda: instance(plugin, section.params))
    requires = detector.requires
    changed = Requires(*requires.streams, window="1s")
    window = config.length(section.window, *place, "window") if section.window else requires.window
    baseline = config.length(section.baseline, *place, "baseline") if section.baseline else requires.baseline
    for name, value in (
        ("window", window),
        ("baseline", baseline),
        ("history", requires.history),
        ("shortest", requires.shortest),
    ):
        object.__setattr__(changed, name, value)
    detector.configure(id, changed, section.threshold, section.false_alarms)
    return Setting(
        detector,
        section.false_alarms,
        config.length(section.lateness, *place, "lateness", zero=True),
        section.rolling,
        config.length(section.refit, *place, "refit") if section.refit else None,
        section.early,
    )


def _needs_nothing(plugin: type[Plugin[Any]]) -> bool:
    try:
        params.build(plugin.params_type(), {})
    except ConfigError:
        return False
    return True


def receivers(config: Config, known: Catalogue) -> dict[str, Receiver[Any]]:
    """The configured receivers, by name.

    Raises:
        ConfigError: a receiver has no type, an unknown type, or a wrong setting.
    """
    built: dict[str, Receiver[Any]] = {}
    types = known.of(Receiver)  # type: ignore[type-abstract]
    for name, given in config.alerting.get("receivers", {}).items():
        place = ("alerting", "receivers", name)
        if not isinstance(given, Mapping) or "type" not in given:
            raise config.error(
                f"receiver {name!r} has no type; set `type`, for example to console, email or webhook", place
            )
        if given["type"] not in types:
            raise config.error(params.unknown(str(given["type"]), types, "receiver"), (*place, "type"))
        values = {key: value for key, value in given.items() if key != "type"}
        built[name] = config.at(place, functools.partial(instance, types[given["type"]], values))
    return built


def protector(config: Config) -> Protector:
    """The protection rules for sensitive fields, with the pseudonym key."""
    rules = [Rule(r.field, r.action, tuple(r.streams)) for r in config.protect]  # type: ignore[arg-type]
    if not any(r.action == "pseudonymize" for r in rules):
        return Protector(rules)
    key = config.at(
        ("ingest", "pseudonym_key"),
        lambda: Secret.parse(config.ingest.pseudonym_key, config.folder).reveal(),
    )
    if len(key) < 16:
        raise config.error(
            "the pseudonym key is shorter than 16 bytes; create one with `openssl rand -hex 32`",
            ("ingest", "pseudonym_key"),
        )
    return Protector(rules, key.encode())


def limits(config: Config) -> Limits:
    """The accepted range of event times."""
    return Limits(
        config.length(config.ingest.max_age, "ingest", "max_age"),
        config.length(config.ingest.max_ahead, "ingest", "max_ahead"),
    )


def for_plugins(config: Config) -> Config:
    """The configuration for the process that runs detectors: with absolute paths, and without what names a secret.

    It contains the store without its key, and the plug-ins and detectors with their settings.
    """
    section = config.store
    folder = config.folder.absolute()
    return replace(
        config,
        path=config.path and config.path.absolute(),
        store=replace(section, path=str(folder / section.path), api_key=None),
        ingest=IngestSection(),
        protect=(),
        collectors=(),
        alerting={},
        monitoring=MonitoringSection(),
        grafana=GrafanaSection(),
    )
