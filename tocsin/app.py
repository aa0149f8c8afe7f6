"""The composition root: it alone knows every component, and builds them from a configuration."""

from __future__ import annotations

import getpass
import hashlib
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import msgspec
import polars as pl

from tocsin import discovery, params
from tocsin.clock import Clock, SystemClock, format_time, parse_length, parse_time
from tocsin.config import Config, DetectorSection, load
from tocsin.discovery import Catalogue
from tocsin.errors import ConfigError, InputError, PluginError
from tocsin.frames import conform
from tocsin.pipeline.detect import Detect, Setting
from tocsin.pipeline.ingest import Counts, Ingest, Limits
from tocsin.pipeline.protect import Protector, Rule
from tocsin.pipeline.records import Run
from tocsin.plugin import Collector, Detector, Plugin, Receiver, Requires
from tocsin.secret import Secret
from tocsin.store.delta import DeltaStore
from tocsin.streams import TIME

if TYPE_CHECKING:
    from tocsin_alerting.engine import Alerting, TickResult

log = logging.getLogger("tocsin")


@dataclass(frozen=True, slots=True)
class Tick:
    """What one round of collecting, detecting and alerting did."""

    counts: Counts
    away: int  # sources that could not be read
    runs: Sequence[Run]
    alerts: TickResult


class App:
    """A running Tocsin: its store, its plug-ins and what they are set to do."""

    def __init__(self, config: Config, clock: Clock) -> None:
        self.config, self.clock = config, clock
        self.catalogue = _catalogue(config)
        self.settings = _settings(config, self.catalogue)
        self.collectors = [
            config.at(
                ("collectors", i, "params"),
                lambda section=section: self.collector(section.type, _absolute(config, section.params)),  # type: ignore[misc]
            )
            for i, section in enumerate(config.collectors)
        ]
        protector, limits = _protector(config), _limits(config)
        self.store = DeltaStore.open(
            config.folder / config.store.path,
            config.namespace,
            clock,
            {stream: parse_length(length) for stream, length in config.store.retention.items()},
        )
        self.ingest = Ingest(self.store, clock, protector, limits)
        self.detect = Detect(self.store, clock)
        self._alerting: Alerting | None = None

    @classmethod
    def open(cls, path: Path | None = None, clock: Clock | None = None) -> Self:
        """Build everything that a configuration file asks for; without a file, from defaults.

        Raises:
            ConfigError: a setting is wrong.
            StoreError: the store cannot be opened.
        """
        return cls(load(path), clock or SystemClock())

    @property
    def alerting(self) -> Alerting:
        """Alerts, incidents and notifications."""
        if self._alerting is None:
            self._alerting = build_alerting(self)
        return self._alerting

    def collector(self, kind: str, settings: Mapping[str, Any]) -> Collector[Any]:
        """A collector of a kind.

        Raises:
            PluginError: there is no such collector.
            ConfigError: a setting is wrong.
        """
        plugin = self.catalogue.get(Collector, kind)  # type: ignore[type-abstract]
        collector: Collector[Any] = _instance(plugin, settings)
        return collector

    def setting(self, detector: str) -> Setting:
        """The setting of a configured detector.

        Raises:
            PluginError: it is not configured, or is turned off.
        """
        for setting in self.settings:
            if setting.detector.id == detector:
                return setting
        known = ", ".join(s.detector.id for s in self.settings) or "none"
        raise PluginError(detector, f"no such detector is turned on; there are: {known}")

    def collect(self, progress: Callable[[str], None] = lambda _: None) -> tuple[Counts, int]:
        """Take what every configured source has now; one that is away is logged, counted, and stops no other."""
        total, away = Counts(), 0
        for collector in self.collectors:
            progress(f"collecting from {collector.id}")
            try:
                counts = self.ingest.run(collector)
            except InputError as error:
                log.warning("%s: %s", collector.id, error)
                away += 1
                continue
            total = total.plus(counts)
            if counts.read:
                log.info("collected from %s: %s", collector.id, counts._asdict())
        return total, away

    def maintain(self) -> Mapping[str, int]:
        """Compact and drop, if that was last done longer ago than `schedule.maintain`."""
        now, entry = self.clock.now(), self.store.get("upkeep", "last")
        every = parse_length(self.config.schedule.maintain)
        if entry is not None and now < parse_time(entry.value["at"]) + every:
            return {}
        self.store.put("upkeep", "last", {"at": format_time(now)}, entry.version if entry else None)
        return self.store.maintain()

    def tick(self, progress: Callable[[str], None] = lambda _: None) -> Tick:
        """Collect, detect and alert, once, with no round to follow soon."""
        counts, away = self.collect(progress)
        runs = self.detect.run(self.settings, progress=lambda run: progress(_line(run)))
        done = Tick(counts, away, runs, self.alerting.tick(last=True))
        self.maintain()
        return done

    def audit(self, action: str, subject: str, by: str = "", reason: str = "", **details: Any) -> None:
        """Write down who did what to Tocsin."""
        now = self.clock.now()
        who = by or _user()
        key = msgspec.json.encode([now, action, subject, who, reason, details], enc_hook=str)
        row = {
            TIME: now,
            "event.id": hashlib.sha256(key + os.urandom(8)).hexdigest()[:32],
            "event.kind": "event",
            "event.action": action,
            "event.outcome": "success",
            "event.reason": reason or None,
            "user.name": who,
            "tocsin.audit.object": subject,
            "tocsin.audit.details": msgspec.json.encode(details, enc_hook=str).decode(),
        }
        self.store.append("audit", conform(pl.DataFrame([row]), "audit"))

    def newest(self, stream: str) -> datetime | None:
        """Event time of the newest event in a stream."""
        found: datetime | None = (
            self.store.scan(stream, columns=[TIME]).select(pl.col(TIME).max()).collect().item()
        )
        return found

    def close(self) -> None:
        """Release the store."""
        self.store.close()


def build_alerting(app: App) -> Alerting:
    """The alert path of an app, from its configuration.

    Raises:
        ConfigError: a route, receiver or playbook is wrong.
    """
    from tocsin_alerting.engine import Alerting

    config = app.config
    receivers: dict[str, Receiver[Any]] = {}
    declared = config.alerting.get("receivers", {})
    for name, given in declared.items():
        place = ("alerting", "receivers", name)
        if not isinstance(given, Mapping) or "type" not in given:
            raise config.error(f"receiver {name!r} needs a type, such as console, email or webhook", place)
        plugin = app.catalogue.get(Receiver, given["type"])  # type: ignore[type-abstract]
        values = {key: value for key, value in given.items() if key != "type"}
        receivers[name] = config.at(place, lambda plugin=plugin, values=values: _instance(plugin, values))  # type: ignore[misc]
    return config.at(
        ("alerting",),
        lambda: Alerting.build(app.store, app.clock, config.alerting, receivers, config.folder),
    )


def _instance(plugin: type[Any], settings: Mapping[str, Any]) -> Any:
    return plugin(params.build(plugin.params_type(), settings))


def _catalogue(config: Config) -> Catalogue:
    found = discovery.discover()
    if not config.plugins:
        return found
    more = discovery.collect(list(config.plugins))
    for module, why in more.failures.items():
        if module in config.plugins:
            raise config.error(f"plug-in module {module} cannot be imported: {why}", ("plugins",))
    both = {**found.plugins, **more.plugins}
    return Catalogue(both, {**found.failures, **more.failures})


def _settings(config: Config, catalogue: Catalogue) -> list[Setting]:
    available = catalogue.of(Detector)  # type: ignore[type-abstract]
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
    detector: Detector[Any] = config.at((*place, "params"), lambda: _instance(plugin, section.params))
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


def _protector(config: Config) -> Protector:
    rules = [Rule(r.field, r.action, tuple(r.streams)) for r in config.protect]  # type: ignore[arg-type]
    if not any(r.action == "pseudonymize" for r in rules):
        return Protector(rules)
    key = config.at(
        ("ingest", "pseudonym_key"),
        lambda: Secret.parse(config.ingest.pseudonym_key, config.folder).reveal(),
    )
    if len(key) < 16:
        raise config.error(
            "the pseudonym key is shorter than 16 bytes; make one with `openssl rand -hex 32`",
            ("ingest", "pseudonym_key"),
        )
    return Protector(rules, key.encode())


def _limits(config: Config) -> Limits:
    return Limits(
        config.length(config.ingest.max_age, "ingest", "max_age"),
        config.length(config.ingest.max_ahead, "ingest", "max_ahead"),
    )


def _absolute(config: Config, given: Mapping[str, Any]) -> dict[str, Any]:
    """Paths in a collector's settings are relative to the configuration file."""
    settings = dict(given)
    if isinstance(paths := settings.get("paths"), list):
        settings["paths"] = [str(config.folder / p) if isinstance(p, str) else p for p in paths]
    return settings


def _line(run: Run) -> str:
    worst = max((f.severity for f in run.findings), key=lambda s: s.rank, default=None)
    return f"{run.detector} {run.start:%Y-%m-%d %H:%M} {run.outcome}{f', {worst}' if worst else ''}"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
