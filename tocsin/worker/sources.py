"""Collects from the configured sources. One worker reads a source at a time; a failing source does not stop others."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec

from tocsin.config.sections import CollectorSection
from tocsin.contract.plugin import Collector
from tocsin.errors import InputError, StoreAway, StoreError
from tocsin.logs import logger
from tocsin.pipeline.detecting.leases import LeaseLost, Leases
from tocsin.pipeline.ingesting.ingest import Counts, Ingest
from tocsin.pipeline.ingesting.rhythm import Rhythms
from tocsin.store.spool.spooled import SpooledStore

log = logger()


def source_name(section: CollectorSection) -> str:
    """A readable name of a configured source, the same in all workers."""
    paths = section.params.get("paths")
    if isinstance(paths, list) and paths:
        return f"{section.type} {', '.join(map(str, paths))}"[:200]
    settings = msgspec.json.encode(section.params, order="sorted", enc_hook=str)
    return f"{section.type} {hashlib.sha256(settings).hexdigest()[:12]}"


class Sources:
    """The sources of a configuration, by name."""

    def __init__(
        self,
        collectors: Mapping[str, Collector[Any]],
        ingest: Ingest,
        leases: Leases,
        rhythms: Rhythms,
        spool: SpooledStore | None,
    ) -> None:
        self._collectors, self._ingest, self._leases = collectors, ingest, leases
        self._rhythms, self._spool = rhythms, spool
        self._held_elsewhere: set[str] = set()  # sources whose lease another worker held at the last try

    def collect(self, progress: Callable[[str], None]) -> tuple[Counts, int]:
        """Ingest the available events of every source that no other worker is reading.

        Returns:
            The counts, and how many sources failed, could not be read, or wait for the store.

        Raises:
            StoreError: the store rejected the events of a source. Tocsin still tried the other sources.
        """
        total, away = Counts(), 0
        refused: StoreError | None = None
        for name, collector in self._collectors.items():
            read = [Counts()]  # the counts after each batch: a source that fails may have delivered some
            try:
                away += self._collect(name, collector, read, progress)
            except StoreError as error:  # raised at the end: other sources may write other streams
                refused = refused or error
            total = total.plus(read[-1])
        if refused is not None:
            raise refused
        return total, away

    def _collect(
        self, name: str, collector: Collector[Any], read: list[Counts], progress: Callable[[str], None]
    ) -> bool:
        """Ingest the events of one source, and append the counts to `read`. Returns whether the source failed."""
        fault = ""
        try:
            with self._lease(name) as guard:
                if guard is None:
                    return False
                progress(f"collecting from {collector.id}")
                self._ingest.run(collector, read.append, guard)
        except (LeaseLost, StoreAway) as error:
            log.warning("source skipped", source=name, reason=str(error))
            return not isinstance(error, LeaseLost)
        except StoreError:
            raise
        except InputError as error:
            fault = str(error)
        except Exception as error:  # noqa: BLE001 — the fence around plug-in calls: one source stops no other
            fault = f"{type(error).__name__}: {error}"
        if fault:
            log.error("source failed", source=name, reason=fault)
        with contextlib.suppress(StoreAway):
            self._rhythms.record_state(name, fault)
            if read[-1].read:
                self._rhythms.record_activity(name)
        if read[-1].read:
            log.info("collected", source=name, **read[-1]._asdict())
        return bool(fault)

    @contextmanager
    def _lease(self, source: str) -> Iterator[Callable[[], None] | None]:
        """Hold the lease of a source during collection. Yields a function that renews it, or None if another worker has it.

        While the store is unavailable, no lease can be acquired. A worker with a spool then collects without a
        lease, unless another worker held the lease at the last try.
        """
        offline = self._spool is not None and source not in self._held_elsewhere
        lease = None
        if not (offline and self._spool is not None and self._spool.is_backing_off):
            try:
                lease = self._leases.acquire(f"collector/{source}")
            except StoreAway:
                if not offline:
                    raise
            else:
                self._held_elsewhere.discard(source)
                if lease is None:
                    self._held_elsewhere.add(source)
                    yield None
                    return

        def guard() -> None:
            if lease is not None:
                with contextlib.suppress(StoreAway):
                    self._leases.renew(lease)

        try:
            yield guard
        finally:
            if lease is not None:
                with contextlib.suppress(StoreAway):
                    self._leases.release(lease)
