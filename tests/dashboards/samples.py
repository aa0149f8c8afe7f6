"""Small dashboards made by hand with Grafana's SDK: what the emulator and the lint are tried on."""

from __future__ import annotations

import json
from typing import Any

from grafana_foundation_sdk.builders import dashboard as d
from grafana_foundation_sdk.builders import elasticsearch as e
from grafana_foundation_sdk.builders import prometheus, stat, table, text, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as m
from grafana_foundation_sdk.models.elasticsearch import TermsOrder

ALERTS, CALLS = "sample-alerts", "sample-calls"
_COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9")
_ADVICE = "What it shows, and what whoever looks at it is to do about it next."
_UNFILTERED = " The ad-hoc filter does not apply to this panel."


def source(stream: str) -> m.DataSourceRef:
    """The reference to a stream's data source."""
    return m.DataSourceRef(type_val="elasticsearch", uid=f"tocsin-{stream}")


def over_time(query: str, *, by: str = "", metric: Any = None) -> e.Dataquery:
    """A query drawn over time, split by a field."""
    settings = (
        e.ElasticsearchTermsSettings().size("5").order(TermsOrder.DESC).order_by("_count").min_doc_count("1")
    )
    buckets: list[Any] = [e.Terms().id("3").field(by).settings(settings)] if by else []
    auto = e.ElasticsearchDateHistogramSettings().interval("auto").min_doc_count("0").trim_edges("0")
    buckets.append(e.DateHistogram().id("2").field("@timestamp").settings(auto))
    found = (
        e.Dataquery().ref_id("A").query(query).time_field("@timestamp").metrics([metric or e.Count().id("1")])
    )
    return found.bucket_aggs(buckets).alias("{{" + by + "}}" if by else "calls")


def calls() -> dict[str, Any]:
    """Series, a number, a table of terms, a collapsed row and a PromQL query, with variables of each kind."""
    top = e.Dataquery().ref_id("A").query("tocsin.model.name:$model").time_field("@timestamp")
    top = top.metrics([e.Count().id("1"), e.Average().id("4").field("tocsin.output.score")])
    order = e.ElasticsearchTermsSettings().size("0").order(TermsOrder.DESC).order_by("1")
    top = top.bucket_aggs([e.Terms().id("2").field("user.id").settings(order)])
    names = {"renameByName": {"user.id": "principal", "Count": "calls", "Average": "score"}}
    link = d.DashboardLink("Alerts").url(f"/d/{ALERTS}?${{__url_time_range}}&var-detector=$__all")
    drawn = (
        timeseries.Panel().id(1).title("Calls").description(_ADVICE).datasource(source("inference")).unit("short")
        .no_value("No calls in this range").links([link]).grid_pos(m.GridPos(x=0, y=0, w=12, h=8))
        .color_scheme(d.FieldColor().mode(m.FieldColorModeId.FIXED).fixed_color("#0072b2"))
        .with_target(over_time("tocsin.model.name:$model AND ${search:raw}", by="user.id"))
    )  # fmt: skip
    for digits, color in zip(("05", "16", "27", "38", "49"), _COLORS, strict=True):
        drawn.override_by_regexp(
            f"/[{digits}]$/", [m.DynamicConfigValue("color", {"mode": "fixed", "fixedColor": color})]
        )
    table_of = (
        table.Panel().id(2).title("Principals").description(_ADVICE).datasource(source("inference")).unit("short")
        .no_value("Nobody called").links([link]).grid_pos(m.GridPos(x=12, y=0, w=12, h=8)).with_target(top)
        .with_transformation(m.DataTransformerConfig(id_val="organize", options=names))
        .override_by_regexp("/.*/", [m.DynamicConfigValue("noValue", "–")])
    )  # fmt: skip
    up = (
        stat.Panel().id(4).title("Workers").description(_ADVICE + _UNFILTERED).unit("short").no_value("No worker is scraped")
        .datasource(m.DataSourceRef(type_val="prometheus", uid="tocsin-prometheus")).links([link])
        .with_target(prometheus.Dataquery().ref_id("A").expr("sum(tocsin_up)").instant())
        .grid_pos(m.GridPos(x=0, y=9, w=6, h=4))
    )  # fmt: skip
    found = (
        d.Dashboard("Calls").uid(CALLS).with_panel(drawn).with_panel(table_of)
        .with_row(d.Row("More").id(3).collapsed(collapsed=True).grid_pos(m.GridPos(x=0, y=8, w=24, h=1)).with_panel(up))
        .with_variable(_asked("model", "inference", '{"find":"terms","field":"tocsin.model.name","size":100}'))
        .with_variable(d.TextBoxVariable("search").default_value("*"))
        .with_variable(d.AdHocVariable("filters").datasource(source("inference")))
    )  # fmt: skip
    return _json(found)


def alerts() -> dict[str, Any]:
    """Findings as documents, a detector chosen, their events on the panels."""
    raw = (
        e.Dataquery()
        .ref_id("A")
        .query("tocsin.detector.id:$detector")
        .time_field("@timestamp")
        .bucket_aggs([])
    )
    raw = raw.metrics([e.RawData().id("1").settings(e.ElasticsearchRawDataSettings().size("50"))])
    shown = {
        "excludeByName": {"_id": True, "event.id": True},
        "includeByName": {"tocsin.severity": True},
        "renameByName": {"tocsin.severity": "severity"},
    }
    link = d.DashboardLink("Calls").url(f"/d/{CALLS}?${{__url_time_range}}&var-model=$__all")
    listed = (
        table.Panel().id(1).title("Findings").description(_ADVICE).datasource(source("finding")).unit("short")
        .no_value("No findings: nothing to do").links([link]).grid_pos(m.GridPos(x=0, y=0, w=24, h=8)).with_target(raw)
        .with_transformation(m.DataTransformerConfig(id_val="organize", options=shown))
        .override_by_regexp("/.*/", [m.DynamicConfigValue("noValue", "–")])
    )  # fmt: skip
    note = text.Panel().id(2).title("Read me").content("…").grid_pos(m.GridPos(x=0, y=8, w=24, h=3))
    found = (
        d.Dashboard("Alerts").uid(ALERTS).with_panel(listed).with_panel(note)
        .with_variable(_asked("detector", "finding", '{"find":"terms","field":"tocsin.detector.id"}'))
    )  # fmt: skip
    whole = _json(found)
    whole["annotations"] = {
        "list": [
            {
                "name": "Severe findings",
                "enable": True,
                "datasource": {"type": "elasticsearch", "uid": "tocsin-finding"},
                "query": "tocsin.severity:(high OR critical)",
                "timeField": "@timestamp",
                "textField": "@timestamp",  # of keys with dots Grafana shows nothing
            }
        ]
    }
    return whole


def sampled() -> dict[str, dict[str, Any]]:
    """All of them by uid."""
    return {CALLS: calls(), ALERTS: alerts()}


def _asked(name: str, stream: str, query: str) -> d.QueryVariable:
    found = (
        d.QueryVariable(name)
        .datasource(source(stream))
        .query(query)
        .multi(multi=True)
        .include_all(include_all=True)
    )
    return found.refresh(m.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(m.VariableSort.ALPHABETICAL_ASC)


def _json(board: d.Dashboard) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(JSONEncoder(sort_keys=True).encode(board.build()))
    for panel in found["panels"]:
        if panel["type"] == "table":
            panel["options"].pop("footer")  # which the builders always write
    return found
