"""The variables of the dashboards: what a reader chooses above the panels."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import dashboard as model

from tocsin.contract.findings import Severity
from tocsin_dashboards.asking import ref_of
from tocsin_dashboards.sources import SOURCES

#: Writing it without a value finds every document that has the field.
ALL = "*"


def _values(
    name: str, label: str, source: str, field: str, where: str = "", *, several: bool = True
) -> build.QueryVariable:
    about = SOURCES[source]
    query = f"{about.within} AND {where}" if where else about.within
    asked = {"find": "terms", "field": field, "size": 1000, "query": query}
    text = json.dumps(asked)
    found = (
        build.QueryVariable(name)
        .label(label)
        .datasource(ref_of(source))
        .query(text)
        .definition(text)
        # Not whenever the time changes: a value that is not among the new ones would silently become another.
        .refresh(model.VariableRefresh.ON_DASHBOARD_LOAD)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
        .multi(several)
    )
    if several:
        everything = model.VariableOption(text="All", value="$__all", selected=True)
        found.include_all(True).all_value(ALL).current(everything)  # noqa: FBT003
    return found


def namespace() -> build.QueryVariable:
    """The namespaces that there are, whatever happens in them, read from the names of their indices; one at a time."""
    text = json.dumps({"find": "terms", "field": "_index", "size": 1000})
    return (
        build.QueryVariable("namespace")
        .label("Namespace")
        .datasource(ref_of("namespaces"))
        .query(text)
        .definition(text)
        .regex("/^tocsin-state-(.+)$/")
        .refresh(model.VariableRefresh.ON_DASHBOARD_LOAD)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
    )


def severity() -> build.CustomVariable:
    """Severities, worst first."""
    words = [s.value for s in sorted(Severity, key=lambda s: -s.rank)]
    return (
        build.CustomVariable("severity")
        .label("Severity")
        .values(",".join(words))
        .multi(True)  # noqa: FBT003
        .include_all(True)  # noqa: FBT003
        .all_value(ALL)
        .current(model.VariableOption(text="All", value="$__all", selected=True))
    )


def step() -> build.IntervalVariable:
    """How wide a bar is: by itself a thirtieth of the time that is looked at, but never less than an hour."""
    itself = model.VariableOption(text="auto", value="$__auto_interval_step", selected=True)
    found = build.IntervalVariable("step").label("Bars of").values("1h,6h,12h,1d,7d").current(itself)
    return found.auto(True).step_count(30).min_interval("1h")  # noqa: FBT003


def place() -> build.CustomVariable:
    """Which place of the feature vector: the first 256 are kept so that they have a histogram."""
    return (
        build.CustomVariable("place")
        .label("Feature")
        .values(",".join(f"{n:03d}" for n in range(256)))
        .current(model.VariableOption(text="000", value="000", selected=True))
    )


def filters(source: str) -> build.AdHocVariable:
    """The reader's own filters on any field: every panel of that source is narrowed by them."""
    return build.AdHocVariable("filters").label("Filters").datasource(ref_of(source))


def _judged() -> build.QueryVariable:
    """A principal whom a detector judged; a link may name another one."""
    where = "tocsin.subject.type:principal"
    return _values("principal", "Principal", "score", "tocsin.subject.id", where, several=False)


def _of_alert(name: str, label: str, field: str) -> build.QueryVariable:
    """What the chosen alert says of itself."""
    return _values(name, label, "alerts", field, 'tocsin.alert.id:"${alert}"', several=False)


#: Every variable by its name.
KNOWN: Mapping[str, Callable[[], Any]] = {
    "namespace": namespace,
    "model": lambda: _values("model", "Model", "inference", "tocsin.model.name"),
    "one_model": lambda: _values("model", "Model", "inference", "tocsin.model.name", several=False),
    "dataset": lambda: _values("dataset", "Dataset", "dataset", "tocsin.dataset.name"),
    "caller": lambda: _values("principal", "Principal", "inference", "user.id"),
    "accessor": lambda: _values("principal", "Principal", "access", "user.id"),
    "one_principal": _judged,
    "severity": severity,
    "place": place,
    "step": step,
    "alert": lambda: _values("alert", "Alert", "alerts", "tocsin.alert.id", several=False),
    "fingerprint": lambda: _of_alert("fingerprint", "Fingerprint", "tocsin.alert.fingerprint"),
    "detector": lambda: _of_alert("detector", "Detector", "tocsin.detector.id"),
    "subject": lambda: _of_alert("subject", "Subject", "tocsin.subject.id"),
    "incident": lambda: _of_alert("incident", "Incident", "tocsin.incident.id"),
}
