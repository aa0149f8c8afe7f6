"""The sections of `tocsin.yaml`: every setting once, with its default and its line in the docs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tocsin.contract.plugin import param


@dataclass(frozen=True, slots=True)
class StoreSection:
    """`store:` where streams and state are kept."""

    type: str = param(
        "delta", doc="delta: the embedded store; elasticsearch: a cluster", choices=("delta", "elasticsearch")
    )
    path: str = param("tocsin-data", doc="folder of the embedded store; relative to the configuration file")
    hosts: list[str] = param([], doc="URLs of the cluster: `https://elastic-1:9200`")
    api_key: dict[str, str] | None = param(
        None, doc="where the cluster's API key is: `{env: NAME}` or `{file: PATH}`"
    )
    ca_certs: str | None = param(
        None, doc="file of the certificate authority that the cluster's certificate must come from"
    )
    ca_fingerprint: str | None = param(
        None, doc="SHA-256 fingerprint of that authority's certificate, in place of its file"
    )
    shards: int = param(1, ge=1, le=64, doc="primary shards of a new backing index")
    replicas: int = param(1, ge=0, le=8, doc="copies of each shard")
    spool: str = param(
        "tocsin-spool",
        doc="folder where events wait while the cluster is away; relative to the configuration file",
    )
    spool_limit: str = param("4GiB", doc="most that waits there; then collectors wait")
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
    health: str = param("1m", doc="between two looks at Tocsin's own health")


@dataclass(frozen=True, slots=True)
class WorkerSection:
    """`worker:` one of the processes that share a store, and the fence around its detectors."""

    name: str = param("", doc="in records and logs; left out: the host's name")
    lease: str = param("2m", doc="how long a window or source stays with a worker that says nothing more")
    overdue: str = param("15m", doc="a window that nobody has evaluated for so long is recorded as a gap")
    lanes: int = param(2, ge=1, le=64, doc="detectors that one worker evaluates at the same time")
    timeout: str = param("10m", doc="what one evaluation or one fit of a detector may take")
    memory: int = param(4096, ge=128, doc="MiB that the process for detectors may hold")


@dataclass(frozen=True, slots=True)
class MonitoringSection:
    """`monitoring:` how Tocsin itself is watched while `tocsin run` runs."""

    listen: str | None = param(
        None, doc="address for /metrics, /healthz and /readyz: `127.0.0.1:9464`; left out: none"
    )
    heartbeat: dict[str, str] | None = param(
        None, doc="where the URL is that is called while all is well: `{env: NAME}` or `{file: PATH}`"
    )
    heartbeat_every: str = param("1m", doc="between two calls of it")


@dataclass(frozen=True, slots=True)
class GrafanaSection:
    """`grafana:` where `tocsin dashboards push`, `diff` and `pull` go.

    Where the file has no such section, `$TOCSIN_GRAFANA_URL` and the token in `$TOCSIN_GRAFANA_TOKEN` count.
    """

    url: str | None = param(None, doc="Grafana's URL: `https://grafana.example.org`")
    token: dict[str, str] | None = param(
        None, doc="where the token of a service account is: `{env: NAME}` or `{file: PATH}`"
    )
    folder: str = param("Tocsin", doc="title that Tocsin's folder is given when it is made")
    ca_certs: str | None = param(
        None, doc="file of the certificate authority that Grafana's certificate must come from"
    )


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
    worker: dict[str, Any] = param({}, doc="see `worker`")
    monitoring: dict[str, Any] = param({}, doc="see `monitoring`")
    grafana: dict[str, Any] = param({}, doc="see `grafana`")
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
    "worker": WorkerSection,
    "monitoring": MonitoringSection,
    "grafana": GrafanaSection,
}
