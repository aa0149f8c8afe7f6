"""Tocsin: security telemetry and anomaly detection for machine-learning pipelines.

This module re-exports the public API. A name is imported when it is first used, so that a model server that
only calls `tocsin.record` does not load Polars or the detectors.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tocsin import _moved

if TYPE_CHECKING:
    from tocsin.contract.aspects import changed, not_judged
    from tocsin.contract.early import Early
    from tocsin.contract.findings import Family, Finding, Score, Severity, Subject
    from tocsin.contract.panels import Distribution, Network, ScoreOverTime, ValueTable
    from tocsin.contract.plugin import (
        Batch,
        Collector,
        Detector,
        NoParams,
        Receiver,
        Rejected,
        Requires,
        Resume,
        Stability,
        param,
    )
    from tocsin.contract.query import COUNT, Condition, Measure
    from tocsin.contract.severities import Tail
    from tocsin.contract.windows import Baseline, Window
    from tocsin.errors import (
        BaselineError,
        ConfigError,
        DeliveryError,
        InputError,
        PluginError,
        SnapshotError,
        StoreError,
        TocsinError,
    )
    from tocsin_recorder.recorder import Recorder, record

_moved.install()

_HOME = {
    "tocsin.errors": (
        "BaselineError",
        "ConfigError",
        "DeliveryError",
        "InputError",
        "PluginError",
        "SnapshotError",
        "StoreError",
        "TocsinError",
    ),
    "tocsin.contract.aspects": ("changed", "not_judged"),
    "tocsin.contract.early": ("Early",),
    "tocsin.contract.findings": ("Family", "Finding", "Score", "Severity", "Subject"),
    "tocsin.contract.panels": ("Distribution", "Network", "ScoreOverTime", "ValueTable"),
    "tocsin.contract.plugin": (
        "Batch",
        "Collector",
        "Detector",
        "NoParams",
        "Receiver",
        "Rejected",
        "Requires",
        "Resume",
        "Stability",
        "param",
    ),
    "tocsin.contract.query": ("COUNT", "Condition", "Measure"),
    "tocsin.contract.severities": ("Tail",),
    "tocsin_recorder.recorder": ("Recorder", "record"),
    "tocsin.contract.windows": ("Baseline", "Window"),
}
_MODULE = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "COUNT",
    "Baseline",
    "BaselineError",
    "Batch",
    "Collector",
    "Condition",
    "ConfigError",
    "DeliveryError",
    "Detector",
    "Distribution",
    "Early",
    "Family",
    "Finding",
    "InputError",
    "Measure",
    "Network",
    "NoParams",
    "PluginError",
    "Receiver",
    "Recorder",
    "Rejected",
    "Requires",
    "Resume",
    "Score",
    "ScoreOverTime",
    "Severity",
    "SnapshotError",
    "Stability",
    "StoreError",
    "Subject",
    "Tail",
    "TocsinError",
    "ValueTable",
    "Window",
    "changed",
    "not_judged",
    "param",
    "record",
]


def __getattr__(name: str) -> Any:
    if name in _MODULE:
        return getattr(importlib.import_module(_MODULE[name]), name)
    raise AttributeError(f"module 'tocsin' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
