"""The composition root: builds every component from a configuration. No other module imports all of them."""

from __future__ import annotations

import contextlib
import functools
import getpass
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import msgspec
import polars as pl

from tocsin.clock import Clock, SystemClock, format_time, parse_length, parse_time
from tocsin.config import params
from tocsin.config.load import load
from tocsin.config.sections import CollectorSection
from tocsin.config.settings import Config
from tocsin.contract.findings import Score
from tocsin.contract.frames import conform
from tocsin.contract.plugin import Collector
from tocsin.contract.streams import TIME
from tocsin.errors import PluginError, StoreAway
from tocsin.logs import logger
from tocsin.pipeline.detecting.detect import Detect
from tocsin.pipeline.detecting.fence import Fence
from tocsin.pipeline.detecting.health import HealthCheck
from tocsin.pipeline.detecting.leases import LeaseLost, Leases, worker_name
from tocsin.pipeline.detecting.records import Run
from tocsin.pipeline.detecting.settings import Setting
from tocsin.pipeline.ingesting.ingest import Counts, Ingest, Observe
from tocsin.pipeline.ingesting.rhythm import Rhythms
from tocsin.store.protocol import Store
from tocsin.store.spool.spooled import SpooledStore
from tocsin.worker import assembly, stores
from tocsin.worker.sources import Sources, source_name

if TYPE_CHECKING:
    from tocsin_alerting.engine import Alerting
    from tocsin_alerting.tick_result import TickResult

log = logger()


@dataclass(frozen=True, slots=True)
class Tick:
    """The results of one round of collecting, detecting and alerting."""

    counts: Counts
    away: int  # sources that could not be read
    runs: Sequence[Run]
    alerts: TickResult | None  # None: another worker holds the lease


class App:
    """One instance of Tocsin: the store, the plug-ins and their settings."""

    def __init__(self, config: Config, clock: Clock, before: App | None = None) -> None:
        self.config, self.clock = config, clock
        self.catalogue = assembly.catalogue(config)
        self.settings = assembly.settings(config, self.catalogue)
        self.collectors = [self._configured(i, section) for i, section in enumerate(config.collectors)]
        protector, limits = assembly.protector(config), assembly.limits(config)
        self.worker = worker_name(config.worker.name)
        self._owns_store = before is None or before.config.store != config.store
        self.store: Store
        self.spool: SpooledStore | None
        if before is not None and not self._owns_store:
            self.store, self.spool = before.store, before.spool
        else:
            self.store = stores.store(config, clock)
            self.spool = stores.spool(config, self.store, clock, protector)
        self.ingest = Ingest(self.spool or self.store, clock, protector, limits)
        lease, overdue, timeout = (
            parse_length(getattr(config.worker, name)) for name in ("lease", "overdue", "timeout")
        )
        seen, key, more = assembly.for_plugins(config), stores.api_key(config), config.worker.environment
        self._fence = Fence(seen, clock, timeout, config.worker.memory, store_key=key, variables=more)
        every = parse_length(config.schedule.early)
        self.detect = Detect(self.store, clock, self._fence, self.worker, lease, overdue, every)
        self.leases = Leases(self.store, clock, self.worker, lease)
        self.rhythms = Rhythms(self.store, clock)
        self.sources = tuple(map(source_name, config.collectors))
        named = dict(zip(self.sources, self.collectors, strict=True))
        self._sources = Sources(named, self.ingest, self.leases, self.rhythms, self.spool)
        known = self.store, clock, self.detect.ledger, self.rhythms
        damaged = functools.partial(stores.damaged, self.store)
        self.health_check = HealthCheck(*known, self._receivers_health, stores.retention(config), damaged)
        self._alerting: Alerting | None = None

    @classmethod
    def open(cls, path: Path | None = None, clock: Clock | None = None) -> Self:
        """Build an app from a configuration file, or from the defaults if `path` is None.

        Raises:
            ConfigError: a setting is wrong.
            StoreError: the store cannot be opened.
        """
        return cls(load(path), clock or SystemClock())

    def reload(self, path: Path | None) -> App:
        """Build a new app from the configuration file. Both apps use the same store if the store's settings are unchanged.

        Raises:
            ConfigError: a setting is wrong, or the namespace has changed.
            StoreError: a changed store cannot be opened.
        """
        config = load(path)
        if config.namespace != self.config.namespace:
            raise config.error(
                "the namespace cannot be changed while the worker runs; restart the worker", ("namespace",)
            )
        return App(config, self.clock, self)

    def take_over(self, before: App) -> None:
        """Take over the shared store and spool from the previous app, which then does not close them."""
        if self.spool is not None:
            self.spool.make_dead_letters = stores.dead_letter_maker(
                self.clock, assembly.protector(self.config)
            )
        if before.store is self.store:
            self._owns_store, before._owns_store = before._owns_store, False

    def observe(self, observer: Observe, early_finding: Callable[[str, str], None]) -> None:
        """Call `observer` for each ingested batch, and `early_finding` as `Detect` describes."""
        self.ingest.observe, self.detect.early_finding = observer, early_finding

    @property
    def alerting(self) -> Alerting:
        """Alerts, incidents and notifications."""
        if self._alerting is None:
            self._alerting = build_alerting(self)
        return self._alerting

    def _receivers_health(self) -> Sequence[Score]:
        return self.alerting.health()

    def collector(self, kind: str, settings: Mapping[str, Any]) -> Collector[Any]:
        """Build a collector of a type.

        Raises:
            PluginError: no collector of this type exists.
            ConfigError: a setting is wrong.
        """
        plugin = self.catalogue.get(Collector, kind)  # type: ignore[type-abstract]
        collector: Collector[Any] = assembly.instance(plugin, settings)
        return collector

    def _configured(self, number: int, section: CollectorSection) -> Collector[Any]:
        place = ("collectors", number)
        known = self.catalogue.of(Collector)  # type: ignore[type-abstract]
        if section.type not in known:
            raise self.config.error(params.unknown(section.type, known, "collector"), (*place, "type"))
        settings = assembly.absolute(self.config, section.params)
        return self.config.at((*place, "params"), lambda: self.collector(section.type, settings))

    def setting(self, detector: str) -> Setting:
        """The setting of a configured detector.

        Raises:
            PluginError: the detector is not configured, or is disabled.
        """
        for setting in self.settings:
            if setting.detector.id == detector:
                return setting
        known = ", ".join(s.detector.id for s in self.settings) or "none"
        raise PluginError(detector, f"no enabled detector has this id; enabled detectors: {known}")

    def collect(self, progress: Callable[[str], None] = lambda _: None) -> tuple[Counts, int]:
        """Drain the spool, then ingest the available events of every source. Also returns the number of unread sources."""
        self.drain()
        return self._sources.collect(progress)

    def evaluate(
        self, settings: Sequence[Setting] | None = None, progress: Callable[[Run], None] = lambda _: None
    ) -> list[Run]:
        """Evaluate due windows, several detectors at a time. Returns the runs, sorted by detector and window."""
        chosen = self.settings if settings is None else settings
        lanes = min(self.config.worker.lanes, len(chosen)) or 1
        with ThreadPoolExecutor(lanes) as pool:
            calls = [pool.submit(self.detect.run, chosen, progress=progress) for _ in range(lanes)]
        return sorted((run for call in calls for run in call.result()), key=lambda r: (r.detector, r.start))

    def alert(self, *, last: bool = False) -> TickResult | None:
        """One tick of alerting; None if another worker holds the lease."""
        lease = self.leases.acquire("alerting")
        if lease is None:
            return None
        try:
            return self.alerting.tick(last=last, guard=functools.partial(self.leases.renew, lease))
        except LeaseLost as error:
            log.warning("alerting stopped: lease lost", reason=str(error))
            return None
        finally:
            self.leases.release(lease)

    def drain(self) -> None:
        """Write the events in the spool to the store, until the spool is empty or the cluster is unavailable."""
        if self.spool:
            with contextlib.suppress(StoreAway):  # the spool logs the warning
                self.spool.drain()

    def maintain(self) -> Mapping[str, int]:
        """Compact the store and delete expired rows, unless a worker did so within `schedule.maintain`."""
        now, entry = self.clock.now(), self.store.get("upkeep", "last")
        every = parse_length(self.config.schedule.maintain)
        if entry is not None and timedelta(0) <= now - parse_time(entry.value["at"]) < every:
            return {}  # a time in the future was written by a worker with a wrong clock, and is ignored
        value = {"at": format_time(now)}
        if self.store.put("upkeep", "last", value, entry.version if entry else None) is None:
            return {}
        return self.store.maintain()

    def tick(
        self,
        progress: Callable[[str], None] = lambda _: None,
        evaluated: Callable[[Run], None] = lambda _: None,
    ) -> Tick:
        """Collect, detect and alert once, for `run --once`: notifications are not delayed by `group_wait`.

        Args:
            progress: is called with the name of each step before it starts.
            evaluated: is called with each window's run.
        """
        counts, away = self.collect(progress)
        progress("evaluating the windows that are due")
        runs = self.evaluate(progress=evaluated)
        progress("alerting")
        done = Tick(counts, away, runs, self.alert(last=True))
        progress("maintaining the store")
        self.maintain()
        return done

    def audit(self, action: str, subject: str, by: str = "", reason: str = "", **details: Any) -> None:
        """Append an administrative action to the audit stream."""
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

    def stop_delivering(self) -> None:
        """End the deliveries to receivers. What was not delivered stays in the outbox."""
        if self._alerting is not None:
            self._alerting.end()

    def close(self) -> None:
        """End deliveries and the process for plug-ins, and release the store and the spool."""
        self.stop_delivering()
        self._fence.close()
        if self._owns_store:
            (self.spool or self.store).close()


def build_alerting(app: App) -> Alerting:
    """The alert path of an app, from its configuration.

    Raises:
        ConfigError: a route, receiver or playbook is wrong.
    """
    from tocsin_alerting.engine import Alerting

    config = app.config
    receivers = assembly.receivers(config, app.catalogue)
    return config.at(
        ("alerting",),
        lambda: Alerting.build(
            app.store, app.clock, config.alerting, receivers, config.folder, hold=app.leases.held
        ),
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
