"""The input of a stage (time, settings, records) and its output (routed alerts)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from tocsin.contract.alerts import Alert
from tocsin.contract.findings import Severity
from tocsin.contract.incidents import Incident, Playbook
from tocsin.store.protocol import Store
from tocsin_alerting.groups import Group
from tocsin_alerting.records import Table
from tocsin_alerting.routes import Route

#: How long a resolved alert and a notification that was not delivered are kept. Later they are only in alert_history.
KEEP = timedelta(days=90)
#: A tick deletes at most this many old records of a kind, so that the end of a storm delays no alert.
DROPPED = 500


@dataclass(frozen=True, slots=True)
class Settings:
    """The `alerting` section of the configuration: the route tree, and the lowest severity that opens an incident."""

    route: Route
    min_severity: Severity = Severity.HIGH


@dataclass(frozen=True, slots=True)
class Routed:
    """An alert with the route it has reached (initially the root) and its group on that route."""

    alert: Alert
    route: Route
    group: str = ""


@dataclass(frozen=True, slots=True)
class Context:
    """One tick. `last` means that no tick follows soon, so notifications do not wait for more alerts."""

    store: Store
    now: datetime
    settings: Settings
    playbooks: Mapping[str, Playbook]
    alerts: Table[Alert]
    incidents: Table[Incident]
    groups: Table[Group]
    last: bool = False
    guard: Callable[[], None] = lambda: None  # raises if another worker has taken the lease


Stage = Callable[[list[Routed], Context], list[Routed]]
