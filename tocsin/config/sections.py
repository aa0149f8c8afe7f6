"""The sections of `tocsin.yaml`. Every setting is declared here once, with its default, bounds and documentation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tocsin.contract.plugin import FALSE_ALARMS, param


@dataclass(frozen=True, slots=True)
class StoreSection:
    """`store:` where streams and state are stored."""

    type: str = param(
        "delta",
        doc="delta: the embedded store on this machine; elasticsearch: an Elasticsearch cluster",
        choices=("delta", "elasticsearch"),
    )
    path: str = param("tocsin-data", doc="folder of the embedded store, relative to the configuration file")
    hosts: list[str] = param([], doc="URLs of the cluster: `https://elastic-1:9200`")
    api_key: dict[str, str] | None = param(
        None, doc="reference to the cluster's API key: `{env: NAME}` or `{file: PATH}`"
    )
    ca_certs: str | None = param(
        None, doc="certificate file of the authority that issued the cluster's certificate"
    )
    ca_fingerprint: str | None = param(
        None,
        doc="SHA-256 fingerprint of the authority's or the server's certificate, as an alternative to `ca_certs`",
    )
    shards: int = param(1, ge=1, le=64, doc="number of primary shards of a new backing index")
    replicas: int = param(
        1, ge=0, le=8, doc="number of replicas of each primary shard of a new backing index"
    )
    spool: str = param(
        "tocsin-spool",
        doc="folder where events are stored while the cluster is unreachable, relative to the configuration file",
    )
    spool_limit: str = param(
        "4GiB",
        doc="maximum size of the spool; when it is full, collectors wait until the cluster is reachable",
    )
    retention: dict[str, str] = param(
        {},
        doc="retention period of each stream that does not use its default: `access: 400d`; on a cluster, it applies to "
        "streams that are created later",
    )


@dataclass(frozen=True, slots=True)
class IngestSection:
    """`ingest:` how events are protected and validated before they are written."""

    protect: list[dict[str, Any]] = param([], doc="rules for sensitive fields; see `ingest.protect[]`")
    pseudonym_key: dict[str, str] | None = param(
        None, doc="reference to the key for `action: pseudonymize`: `{env: NAME}` or `{file: PATH}`"
    )
    max_age: str = param("7300d", doc="an event is rejected if its event time is longer ago than this")
    max_ahead: str = param(
        "1d", doc="an event is rejected if its event time is further in the future than this"
    )


@dataclass(frozen=True, slots=True)
class ProtectRule:
    """`ingest.protect[]` one rule for a field and all fields below it."""

    field: str = param(
        doc="dotted name of a field, such as `user.id`; fields that no stream defines, such as `customer`, are permitted"
    )
    action: str = param(doc="how the field is protected", choices=("pseudonymize", "mask", "drop"))
    streams: list[str] = param([], doc="streams that the rule applies to; an empty list means all streams")


@dataclass(frozen=True, slots=True)
class CollectorSection:
    """`collectors[]` one source that `tocsin run` collects from."""

    type: str = param(
        doc="id of the collector: ndjson, access_log, cloudtrail, dataset, or the id of a collector from another plug-in"
    )
    params: dict[str, Any] = param({}, doc="settings of the collector")


@dataclass(frozen=True, slots=True)
class DetectorSection:
    """`detectors.<id>:` settings of one detector.

    A detector without required settings is enabled by default.
    """

    type: str | None = param(
        None,
        doc="id of the detector plug-in, such as `pyod`; null means that `<id>` is the id of the plug-in",
    )
    enabled: bool = param(True, doc="whether the detector runs")
    early: bool = param(
        True,
        doc="whether windows that have not ended are evaluated early, if the detector can judge them; false: only after "
        "their end",
    )
    params: dict[str, Any] = param({}, doc="settings of the detector")
    window: str | None = param(
        None, doc="length of a window of event time; null means the length that the detector defines"
    )
    lateness: str = param(
        "0s",
        doc="how long after the end of a window Tocsin waits for late events before it evaluates the window",
    )
    baseline: str | None = param(
        None,
        doc="length of the history that a baseline is fitted on; null means the length that the detector defines",
    )
    rolling: bool = param(
        True,
        doc="if a baseline is pinned: whether windows are compared with a rolling baseline as well (true) or only with the "
        "pinned one (false); without a pinned baseline, a rolling baseline is always used",
    )
    refit: str | None = param(
        None,
        doc="age at which a new rolling baseline is fitted; null means a quarter of the baseline's length",
    )
    false_alarms: float = param(
        FALSE_ALARMS,
        ge=1e-6,
        le=0.5,
        doc="intended probability that a score of normal activity reaches the threshold",
    )
    threshold: float | None = param(None, ge=0, doc="fixed threshold in place of the calibrated one")


@dataclass(frozen=True, slots=True)
class ScheduleSection:
    """`schedule:` intervals of the jobs of `tocsin run`."""

    collect: str = param("15s", doc="interval at which collectors run")
    detect: str = param(
        "1m",
        doc="interval at which due windows are evaluated; new events of this worker start an evaluation at once",
    )
    early: str = param(
        "30s",
        doc="shortest time between two early evaluations of a window that has not ended; events that other workers "
        "ingest are noticed after this time",
    )
    alert: str = param("15s", doc="interval at which alerts are updated and notifications delivered")
    maintain: str = param("1h", doc="interval at which the store is compacted and expired events are deleted")
    health: str = param(
        "1m",
        doc="interval at which a worker reports that it runs; the health checks are made at most once in five minutes",
    )


@dataclass(frozen=True, slots=True)
class WorkerSection:
    """`worker:` settings of a worker process, and limits for its child process that runs detectors."""

    name: str = param("", doc="name of the worker in records and logs; empty means the host's name")
    lease: str = param(
        "2m", doc="time after which a claim on a window or source expires if it is not renewed"
    )
    overdue: str = param(
        "15m",
        doc="time after which a window that is due and that no worker has evaluated is recorded as a gap",
    )
    lanes: int = param(2, ge=1, le=64, doc="number of detectors that one worker evaluates in parallel")
    timeout: str = param("10m", doc="maximum duration of one evaluation or one fit of a detector")
    memory: int = param(
        4096,
        ge=128,
        doc="maximum memory of the process that runs detectors and of the processes that detectors start, in MiB",
    )
    environment: list[str] = param(
        [],
        doc="names of environment variables that the process that runs detectors gets in addition to the usual ones; see "
        "[operator.md](operator.md)",
    )


@dataclass(frozen=True, slots=True)
class MonitoringSection:
    """`monitoring:` how `tocsin run` itself is monitored."""

    listen: str | None = param(
        None,
        doc="address at which the worker serves /metrics, /healthz and /readyz: `127.0.0.1:9464`; null: no address",
    )
    heartbeat: dict[str, str] | None = param(
        None,
        doc="reference to a URL that the worker calls while each of its jobs succeeds in time: `{env: NAME}` or "
        "`{file: PATH}`",
    )
    heartbeat_every: str = param("1m", doc="interval at which the heartbeat URL is called")


@dataclass(frozen=True, slots=True)
class GrafanaSection:
    """`grafana:` the Grafana server for `tocsin dashboards push`, `diff` and `pull`.

    If the file does not contain this section, Tocsin uses `$TOCSIN_GRAFANA_URL`, and the token in `$TOCSIN_GRAFANA_TOKEN`.
    """

    url: str | None = param(None, doc="URL of the Grafana server: `https://grafana.example.org`")
    token: dict[str, str] | None = param(
        None, doc="reference to the token of a service account: `{env: NAME}` or `{file: PATH}`"
    )
    folder: str = param("Tocsin", doc="title of the folder that `dashboards push` creates")
    ca_certs: str | None = param(
        None, doc="certificate file of the authority that issued Grafana's certificate"
    )


@dataclass(frozen=True, slots=True)
class Top:
    """The top level of `tocsin.yaml`."""

    namespace: str = param(
        "default",
        doc="name of an environment; a cluster can store several namespaces separately, a folder only one",
    )
    store: dict[str, Any] = param({}, doc="see `store`")
    ingest: dict[str, Any] = param({}, doc="see `ingest`")
    collectors: list[dict[str, Any]] = param([], doc="see `collectors[]`")
    detectors: dict[str, Any] = param({}, doc="see `detectors.<id>`")
    alerting: dict[str, Any] = param({}, doc="route, receivers and incidents; see [on-call.md](on-call.md)")
    schedule: dict[str, Any] = param({}, doc="see `schedule`")
    worker: dict[str, Any] = param({}, doc="see `worker`")
    monitoring: dict[str, Any] = param({}, doc="see `monitoring`")
    grafana: dict[str, Any] = param({}, doc="see `grafana`")
    plugins: list[str] = param([], doc="modules to load plug-ins from, in addition to installed packages")


#: Every section, by its heading in `docs/configuration.md`.
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
