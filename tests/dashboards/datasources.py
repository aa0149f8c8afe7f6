"""The data sources that the dashboards may name: where each one reads, and what its fields are."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tocsin.contract.streams import STREAMS, TIME, Column
from tocsin.store.cluster import mappings

PROMETHEUS = "tocsin-prometheus"
ELASTICSEARCH = "elasticsearch"
#: What every document has beside its fields, and what it can be used as.
METADATA = {"_index": "keyword", "_id": "keyword"}
#: The type of a field that is in the documents only: nothing finds or counts it.
STORED = "stored"
#: Grafana's own: panels of mixed sources, and the annotations that people write by hand.
MIXED, GRAFANA = "-- Mixed --", "-- Grafana --"


class NotEmulated(Exception):  # noqa: N818 — a limit of the emulator, not of what it emulates
    """A dashboard uses a thing of Grafana's that is not emulated here: never passed over in silence."""


@dataclass(frozen=True, slots=True)
class Source:
    """An Elasticsearch data source: its uid, index pattern and time field, and the types of its fields."""

    uid: str
    index: str
    fields: Mapping[str, str]
    time_field: str = TIME

    def type_of(self, field: str) -> str | None:
        """The mapped type of a field, `flattened.key` for a key of a flattened one, None for none."""
        if found := self.fields.get(field) or METADATA.get(field):
            return found
        parts = field.split(".")
        above = (".".join(parts[:n]) for n in range(len(parts) - 1, 0, -1))
        return "flattened.key" if any(self.fields.get(name) == "flattened" for name in above) else None


def of_stream(stream: str, namespace: str = "*") -> Source:
    """The data source of a stream."""
    return Source(
        f"tocsin-{stream}", mappings.name(stream, namespace), _flat(mappings.properties(STREAMS[stream]))
    )


def of_view(view: str, columns: Iterable[Column], active: str, namespace: str = "*") -> Source:
    """The data source of a view over the keyed state: alerts or incidents."""
    fields = {c.name: str(mappings._FIELDS[c.type]["type"]) for c in columns}
    return Source(f"tocsin-{view}", f"tocsin-{view}-{namespace}", fields | {active: "date_range"}, active)


def of_tocsin(namespace: str = "*") -> dict[str, Source]:
    """Every Elasticsearch data source of Tocsin by its uid, of one namespace or of all."""
    found = [of_stream(name, namespace) for name in STREAMS]
    if importlib.util.find_spec("tocsin.contract.views"):
        views = importlib.import_module("tocsin.contract.views").VIEWS
        found += [of_view(name, view.columns, view.active, namespace) for name, view in views.items()]
    return {source.uid: source for source in found}


def uid_of(datasource: object) -> str:
    """The uid that a `datasource` of a panel, target, variable or annotation names; empty for none."""
    if isinstance(datasource, Mapping):
        return str(datasource.get("uid") or "")
    return str(datasource or "")


def _flat(properties: Mapping[str, Any], above: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for name, field in properties.items():
        if "properties" in field:
            found |= _flat(field["properties"], f"{above}{name}.")
        else:
            found[f"{above}{name}"] = STORED if field.get("doc_values") is False else field["type"]
    return found
