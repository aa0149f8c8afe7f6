"""What a worker measures for Prometheus."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tocsin.contract.findings import Outcome
from tocsin.pipeline.detecting.records import Run
from tocsin.worker.metrics import Metrics

START = datetime(2026, 3, 2, tzinfo=UTC)


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_times_to_detect_and_to_acknowledge_by_family() -> None:
    metrics = Metrics()
    metrics.alerted("access", 40.0, None)
    metrics.alerted("access", None, 600.0)
    metrics.alerted("usage", 70.0, None)
    assert value(metrics, "tocsin_time_to_detect_seconds_sum", family="access") == 40
    assert value(metrics, "tocsin_time_to_detect_seconds_bucket", family="access", le="45.0") == 1
    assert value(metrics, "tocsin_time_to_acknowledge_seconds_count", family="access") == 1
    assert value(metrics, "tocsin_time_to_acknowledge_seconds_count", family="usage") is None


def test_early_findings_by_what_became_of_them() -> None:
    metrics = Metrics()
    for outcome in ("found", "found", "withdrawn"):
        metrics.early("query_budget", outcome)
    name = "tocsin_early_findings_total"
    assert value(metrics, name, detector="query_budget", outcome="found") == 2
    assert value(metrics, name, detector="query_budget", outcome="withdrawn") == 1


def test_early_evaluations_do_not_hide_slow_ones() -> None:
    metrics = Metrics()
    run = Run("query_budget", START, START + timedelta(days=1), Outcome.EARLY, seconds=0.1)
    metrics.evaluated(run)
    assert value(metrics, "tocsin_windows_total", detector="query_budget", outcome="early") == 1
    assert value(metrics, "tocsin_window_duration_seconds_count") == 0
