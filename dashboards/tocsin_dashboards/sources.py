"""The data sources of the dashboards: one for each stream, one for each view of the keyed state, and Prometheus.

A panel that asks the stream that it is about touches no shard of another. A view is read over the time in which its
records are active, so an alert that has been open for a month is there when the last hour is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tocsin.contract.streams import STREAMS, TIME
from tocsin.contract.views import VIEWS
from tocsin.store.cluster.mappings import name

PROMETHEUS = "tocsin-prometheus"


@dataclass(frozen=True, slots=True)
class Source:
    """An Elasticsearch data source: its uid in Grafana, the indices it reads and the field that is its time.

    `within` is a condition in Lucene's words that keeps to the namespace that the reader has chosen.
    """

    uid: str
    title: str
    index: str
    time: str
    within: str

    def settings(self, url: str) -> dict[str, Any]:
        """As Grafana's data source API and its provisioning files take it, without secrets."""
        return {
            "name": self.title,
            "type": "elasticsearch",
            "uid": self.uid,
            "access": "proxy",
            "url": url,
            "jsonData": {"index": self.index, "timeField": self.time, "maxConcurrentShardRequests": 5},
        }


def _of_stream(stream: str) -> Source:
    backing = f".ds-{name(stream, '${namespace:raw}')}-*"
    return Source(
        f"tocsin-{stream}", f"Tocsin {stream.replace('_', ' ')}", name(stream, "*"), TIME, f"_index:{backing}"
    )


def _of_view(view: str) -> Source:
    found = VIEWS[view]
    return Source(
        f"tocsin-{view}",
        f"Tocsin {view}",
        found.alias("*"),
        found.active,
        "_index:tocsin-state-${namespace:raw}",
    )


#: Every Elasticsearch data source, by stream or view.
SOURCES = {s: _of_stream(s) for s in STREAMS} | {v: _of_view(v) for v in VIEWS}
