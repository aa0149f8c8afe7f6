"""Builds the parts of an app, each from its section of the configuration."""

from __future__ import annotations

import functools
import re
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from tocsin.clock import Clock, parse_length
from tocsin.config import discovery, params
from tocsin.config.discovery import Catalogue
from tocsin.config.secret import Secret
from tocsin.config.sections import DetectorSection, GrafanaSection, IngestSection, MonitoringSection
from tocsin.config.settings import Config
from tocsin.contract.plugin import Detector, Plugin, Receiver, Requires
from tocsin.errors import ConfigError
from tocsin.pipeline.detecting.settings import Setting
from tocsin.pipeline.ingesting.dead_letters import refused_dead_letters
from tocsin.pipeline.ingesting.ingest import Limits
from tocsin.pipeline.ingesting.protect import Protector, Rule
from tocsin.store.embedded import state as embedded
from tocsin.store.embedded.delta import DeltaStore
from tocsin.store.protocol import Refused, Store
from tocsin.store.spool.spooled import MakeDeadLetters, SpooledStore

if TYPE_CHECKING:
    from tocsin.store.cluster.elastic import ElasticStore

_API_KEY = re.compile(r"[A-Za-z0-9+/_-]+=*")
#: How long a failing append is retried before its rows are written to the spool.
_PATIENCE = timedelta(seconds=10)


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
    for name, value in (("window", window), ("baseline", baseline), ("history", requires.history)):
        object.__setattr__(changed, name, value)
    detector.configure(id, changed, section.threshold)
    return Setting(
        detector,
        section.false_alarms,
        config.length(section.lateness, *place, "lateness", zero=True),
        section.rolling,
        config.length(section.refit, *place, "refit") if section.refit else None,
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


def store(config: Config, clock: Clock, *, prepare: bool = True, key: str | None = None) -> Store:
    """Open the configured store. Without `prepare`, a cluster must have been set up before.

    `key` is the key of a cluster, if the configuration does not name it.

    Raises:
        ConfigError: a secret cannot be read.
        StoreError: the store cannot be opened.
    """
    section = config.store
    if section.type == "delta":
        return DeltaStore.open(config.folder / section.path, config.namespace, clock, retention(config))
    return cluster(config, clock, prepare=prepare, patience=_PATIENCE, key=key)


def check_store(config: Config, clock: Clock) -> str:
    """Check the settings of the store without writing to it, and return its place.

    Raises:
        ConfigError: a secret or certificate cannot be read.
        StoreError: the folder cannot be used, or the store in it has another version or namespace.
    """
    section = config.store
    if section.type != "delta":
        return cluster(config, clock, prepare=False, patience=_PATIENCE).place
    retention(config)
    embedded.check_store(config.folder / section.path, config.namespace)
    return str(config.folder / section.path)


def spool(config: Config, store: Store, clock: Clock, protector: Protector) -> SpooledStore | None:
    """The spool that ingest writes to while the cluster is unavailable; None for an embedded store."""
    section = config.store
    if section.type == "delta":
        return None
    folder, limit = config.folder / section.spool, config.size(section.spool_limit, "store", "spool_limit")
    return SpooledStore(store, folder, clock, dead_letter_maker(clock, protector), limit)


def dead_letter_maker(clock: Clock, protector: Protector) -> MakeDeadLetters:
    """Return a function that creates dead letters from spooled rows that the store rejects."""

    def make(stream: str, rows: pl.DataFrame, refused: Sequence[Refused]) -> pl.DataFrame:
        return refused_dead_letters(stream, rows, refused, protector, clock.now())

    return make


def cluster(
    config: Config,
    clock: Clock,
    *,
    prepare: bool = True,
    patience: timedelta | None = None,
    key: str | None = None,
) -> ElasticStore:
    """Connect to the configured cluster; without `prepare`, nothing in it is changed.

    With `patience`, the cluster may be unavailable, and an append fails after about that time.

    Raises:
        ConfigError: a secret cannot be read, or the store is not a cluster.
        StoreError: the cluster cannot be reached.
    """
    from tocsin.store.cluster.elastic import ElasticStore

    section = config.store
    if section.type != "elasticsearch":
        raise config.error(
            "the store is a folder, which needs no setup; set `type: elasticsearch` for a cluster",
            ("store", "type"),
        )
    security: dict[str, Any] = {}
    if (key := key or api_key(config)) is not None:
        security["api_key"] = key
    if section.ca_certs is not None:
        security["ca_certs"] = _authority(config, config.folder / section.ca_certs)
    if section.ca_fingerprint is not None:
        security["ca_fingerprint"] = section.ca_fingerprint
    return ElasticStore.open(
        section.hosts,
        config.namespace,
        clock,
        retention(config),
        shards=section.shards,
        replicas=section.replicas,
        prepare=prepare,
        patience=patience,
        **security,
    )


def api_key(config: Config) -> str | None:
    """The cluster's API key; None if the configuration names none. The error for an invalid key does not show it."""
    place = ("store", "api_key")
    if config.store.api_key is None:
        return None
    key = config.at(place, lambda: Secret.parse(config.store.api_key, config.folder).reveal())
    if not _API_KEY.fullmatch(key):
        raise config.error(
            "the API key must be base64 of id:key; use `encoded` from Elasticsearch's response when the key was created",
            place,
        )
    return key


def _authority(config: Config, path: Path) -> str:
    """Check that the certificate file of the authority can be read, and return its path."""
    try:
        ssl.create_default_context(cafile=path)
    except OSError as error:  # also ssl.SSLError
        why = (
            "it contains no certificate in PEM format" if isinstance(error, ssl.SSLError) else error.strerror
        )
        raise config.error(f"cannot read a certificate from {path}: {why}", ("store", "ca_certs")) from None
    return str(path)


def retention(config: Config) -> dict[str, timedelta]:
    """The configured retention of streams that do not use their default."""
    return {stream: parse_length(length) for stream, length in config.store.retention.items()}


def damaged(store: Store) -> str:
    """Which file of a store in a folder is missing or damaged, in a sentence; empty if none is. Reads every file."""
    return store.tables.damaged() if isinstance(store, DeltaStore) else ""
