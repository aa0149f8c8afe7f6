"""Tocsin's own metrics for Prometheus. The only user of prometheus-client.

Counters are incremented when events happen. Gauges are set from the app when /metrics is requested.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from tocsin.pipeline.detecting.pending import Waiting
from tocsin.pipeline.detecting.records import Run
from tocsin.pipeline.ingesting.ingest import Counts

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 600)
#: From seconds to the days of a detector that waits for the end of its window.
_DELAYS = (5, 10, 15, 30, 45, 60, 120, 300, 900, 3600, 4 * 3600, 12 * 3600, 86400, 2 * 86400, 7 * 86400)


class Metrics:
    """The metrics of one worker."""

    def __init__(self) -> None:
        self.registry = of = CollectorRegistry()
        self._of_alerts(of)
        self._events = Counter(
            "tocsin_events", "Events by stream and outcome.", ["stream", "outcome"], registry=of
        )
        self._letters = Counter(
            "tocsin_dead_letters", "Events that were rejected, by stream.", ["stream"], registry=of
        )
        self._lag = Gauge(
            "tocsin_ingest_lag_seconds",
            "Ingest time minus newest event time of the last batch.",
            ["stream"],
            registry=of,
        )
        self._windows = Counter(
            "tocsin_windows", "Attempts at windows by outcome.", ["detector", "outcome"], registry=of
        )
        self._duration = Histogram(
            "tocsin_window_duration_seconds", "Time for an ended window.", registry=of, buckets=_SECONDS
        )
        self._faults = Counter(
            "tocsin_fence_failures", "Failures of plug-ins by kind.", ["plugin", "kind"], registry=of
        )
        self._gaps = Gauge(
            "tocsin_coverage_gaps", "Windows that were not evaluated in time.", ["detector"], registry=of
        )
        self._watermark = Gauge(
            "tocsin_watermark_age_seconds",
            "Time since the oldest pending window became due.",
            ["detector"],
            registry=of,
        )
        self._spool = Gauge("tocsin_spool_bytes", "Bytes on disk while the store is away.", registry=of)
        self._spooled = Gauge("tocsin_spool_events", "Events on disk while the store is away.", registry=of)
        self._up = Gauge(
            "tocsin_up", "1 while every job of the worker completes in time, otherwise 0.", registry=of
        )

    def _of_alerts(self, of: CollectorRegistry) -> None:
        """The metrics of early findings, alerts and notifications."""
        self._notifications = Counter(
            "tocsin_notifications", "Notifications by outcome.", ["receiver", "outcome"], registry=of
        )
        self._early = Counter(
            "tocsin_early_findings",
            "Findings of windows that had not ended: found, then confirmed or withdrawn by the full window.",
            ["detector", "outcome"],
            registry=of,
        )
        self._detect = Histogram(
            "tocsin_time_to_detect_seconds",
            "Time from the newest event that was read to the first notification about an alert.",
            ["family"],
            registry=of,
            buckets=_DELAYS,
        )
        self._acknowledge = Histogram(
            "tocsin_time_to_acknowledge_seconds",
            "Time from the first notification about an alert to its acknowledgement.",
            ["family"],
            registry=of,
            buckets=_DELAYS,
        )

    def ingested(self, stream: str, counts: Counts, newest: datetime | None, now: datetime) -> None:
        """Count a batch."""
        for outcome, count in counts._asdict().items():
            if outcome != "read" and count:
                self._events.labels(stream, outcome).inc(count)
        if counts.rejected:
            self._letters.labels(stream).inc(counts.rejected)
        if newest is not None:
            self._lag.labels(stream).set((now - newest).total_seconds())

    def evaluated(self, run: Run) -> None:
        """Count an attempt."""
        self._windows.labels(run.detector, run.outcome.value).inc()
        if not run.early:  # many short early evaluations would hide that whole windows take long
            self._duration.observe(run.seconds)
        if run.fault:
            self._faults.labels(run.detector, run.fault).inc()

    def early(self, detector: str, outcome: str) -> None:
        """Count a finding of an early evaluation: `found`, and later `confirmed` or `withdrawn`."""
        self._early.labels(detector, outcome).inc()

    def alerted(self, family: str, to_detect: float | None, to_acknowledge: float | None) -> None:
        """Observe what was measured of an alert, in seconds. None: nothing."""
        if to_detect is not None:
            self._detect.labels(family).observe(to_detect)
        if to_acknowledge is not None:
            self._acknowledge.labels(family).observe(to_acknowledge)

    def notified(self, receiver: str, outcome: str, count: int) -> None:
        """Count notifications: delivered, or permanently failed."""
        self._notifications.labels(receiver, outcome).inc(count)

    def waiting(
        self, detectors: Iterable[str], due: Iterable[tuple[Waiting, datetime]], now: datetime
    ) -> None:
        """Set the metrics of pending windows from each window and the time at which it became due."""
        oldest = dict.fromkeys(detectors, now)
        gaps = dict.fromkeys(oldest, 0)
        for window, at in due:
            if window.detector in oldest and at <= now:
                oldest[window.detector] = min(oldest[window.detector], at)
                gaps[window.detector] += window.gap
        self._watermark.clear()
        self._gaps.clear()  # removes detectors that are no longer configured
        for detector, at in oldest.items():
            self._watermark.labels(detector).set((now - at).total_seconds())
            self._gaps.labels(detector).set(gaps[detector])

    def spool(self, size: int, events: int) -> None:
        """Set the size of the spool."""
        self._spool.set(size)
        self._spooled.set(events)

    def up(self, *, well: bool) -> None:
        """Set whether every job completes in time."""
        self._up.set(well)

    def text(self) -> bytes:
        """In Prometheus's text format."""
        return generate_latest(self.registry)
