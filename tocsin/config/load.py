"""Loads `tocsin.yaml` and validates it. An error names the file and line, and for an unknown key the nearest known key.

Settings are declared once, as dataclass fields with `param(default, bounds, doc)`; `docs/configuration.md` is
generated from them. The file contains only references to secrets: to an environment variable or to another file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from tocsin.config import params
from tocsin.config.checks import check
from tocsin.config.parsing import parse
from tocsin.config.sections import (
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
from tocsin.config.settings import Config, Place, error_at, nested_place
from tocsin.errors import ConfigError

DEFAULT_PATH = Path("tocsin.yaml")
T = TypeVar("T")


def load(path: Path | None = None) -> Config:
    """Load a configuration file. Without a path, return the defaults and the values of environment variables.

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
        raise ConfigError("is not UTF-8 text; save it in UTF-8", path) from None
    lines: dict[Place, int] = {}
    values = parse(text, path, lines)
    if not isinstance(values, dict):
        raise ConfigError(
            "the top level must be a mapping of settings, such as `namespace: production`", path, 1
        )
    return _config(values, path, lines)


def _config(values: Mapping[str, Any], path: Path | None, lines: Mapping[Place, int]) -> Config:
    def section(type_: type[T], given: Any, *place: str | int) -> T:
        if not isinstance(given, Mapping):
            raise error_at(f"{place[-1]} must be a mapping", place, path, lines)
        try:
            built: T = params.build(type_, given)
        except ConfigError as error:
            raise error_at(str(error), nested_place(place, error.key), path, lines) from None
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
    """The values of the file. Environment variables set sections that the file does not contain.

    `TOCSIN_NAMESPACE` sets `namespace`, `TOCSIN_STORE_URL` sets `store` to a cluster, and `TOCSIN_GRAFANA_URL` sets
    `grafana`, with the token in `TOCSIN_GRAFANA_TOKEN`.
    """
    namespace, url = os.environ.get("TOCSIN_NAMESPACE"), os.environ.get("TOCSIN_STORE_URL")
    defaults: dict[str, Any] = {"namespace": namespace} if namespace else {}
    defaults |= {"store": {"type": "elasticsearch", "hosts": url.split(",")}} if url else {}
    grafana = os.environ.get("TOCSIN_GRAFANA_URL")
    defaults |= {"grafana": {"url": grafana, "token": {"env": "TOCSIN_GRAFANA_TOKEN"}}} if grafana else {}
    return {**defaults, **values}
