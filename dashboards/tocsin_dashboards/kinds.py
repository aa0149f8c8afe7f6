"""One function for each kind of panel. Every panel has a description, a unit, a link and a text for missing data."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from grafana_foundation_sdk.builders import (
    barchart,
    common,
    heatmap,
    nodegraph,
    prometheus,
    stat,
    timeseries,
)
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import common as looks_model
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.common import DataSourceRef
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode

from tocsin_dashboards import looks
from tocsin_dashboards.asking import ask, count, terms
from tocsin_dashboards.sources import PROMETHEUS

Panel = Any
QUIET = "nothing in this time"
#: Uids of the dashboards, for links.
OVERVIEW, ALERT, MODEL, PRINCIPAL, INCIDENTS, HEALTH, DATASETS, BEHAVIOR, USAGE, ACCESS = (
    "tocsin-overview", "tocsin-alert", "tocsin-model", "tocsin-principal", "tocsin-incidents", "tocsin-health",
    "tocsin-data-integrity", "tocsin-model-behavior", "tocsin-usage", "tocsin-access",
)  # fmt: skip
#: Names of percentiles in legends.
_PERCENTILES = {percent: f"{percent} % quantile" for percent in (5, 25, 75, 95, 99)} | {50: "median"}
KEEP = "var-namespace=${namespace:raw}&${__url_time_range}"


def to(uid: str, title: str) -> build.DashboardLink:
    """A link to another dashboard, which keeps the namespace and the time range."""
    return build.DashboardLink(title).type(model.DashboardLinkType.LINK).url(f"/d/{uid}?{KEEP}")


def described(
    panel: Panel, title: str, doc: str, unit: str, link: build.DashboardLink, empty: str = QUIET
) -> Panel:
    """Add the parts that every panel has: title, description, unit, link, and the text for missing data."""
    return panel.title(title).description(doc).unit(unit).links([link]).no_value(empty)


def number(
    title: str,
    doc: str,
    target: Any,
    link: build.DashboardLink,
    *,
    unit: str = "short",
    steps: Sequence[tuple[float | None, str]] = ((None, looks.GREEN),),
    column: str = "Count",
    empty: str = "no answer",
) -> Panel:
    """One number. Its color is that of the highest threshold in `steps` that the number reaches.

    If the number is a count, the query must return 0 if nothing was counted.
    """
    panel = stat.Panel().thresholds(looks.thresholds(*steps)).color_scheme(looks.by_threshold())
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).fields(f"/^{column}$/"))
    panel.color_mode(looks_model.BigValueColorMode.VALUE).graph_mode(looks_model.BigValueGraphMode.NONE)
    return described(panel, title, doc, unit, link, empty).datasource(source_of(target)).with_target(target)


def lines(
    title: str,
    doc: str,
    targets: Sequence[Any],
    link: build.DashboardLink,
    *,
    unit: str = "short",
    stacked: bool = False,
    at_least: str = "",
    subject: str = "",
) -> Panel:
    """Series over time: lines, or with `stacked` stacked bars.

    Series with known names have fixed colors. The name of any other series determines its color. `at_least` is the
    minimum width of an automatic time bucket. `subject` is the name of a series that is highlighted: the other series
    are gray.
    """
    panel = (
        timeseries.Panel()
        .color_scheme(looks.plain(looks.GREY if subject else looks.BLUE))
        .datasource(source_of(targets[0]))
        .targets(list(targets))
    )
    panel.legend(
        common.VizLegendOptions()
        .display_mode(looks_model.LegendDisplayMode.LIST)
        .placement(looks_model.LegendPlacement.BOTTOM)
        .show_legend(True)  # noqa: FBT003
    )
    panel.tooltip(common.VizTooltipOptions().mode(looks_model.TooltipDisplayMode.MULTI))
    if stacked:
        panel.draw_style(looks_model.GraphDrawStyle.BARS).fill_opacity(70)
        panel.stacking(common.StackingConfig().mode(looks_model.StackingMode.NORMAL).group("A"))
    else:
        panel.show_points(looks_model.VisibilityMode.AUTO).span_nulls(True).line_width(2)  # noqa: FBT003
    if at_least:
        panel.interval(at_least)
    _name_percentiles(panel, targets)
    _color(panel, _fields(targets), stacked=stacked, subject=subject)
    return described(panel, title, doc, unit, link)


def _color(panel: Panel, fields: set[str], *, stacked: bool, subject: str) -> None:
    """Set the colors: fixed for series with known names, by name for other series, and red for the threshold."""
    if fields and not subject:
        for names, properties in looks.by_name(dotted=not stacked and not fields & looks.SERIES.keys()):
            panel.override_by_regexp(names, properties)
    for name, color in _known(fields).items():
        panel.override_by_name(name, looks.fixed(color))
    if subject:
        panel.override_by_name(subject, looks.standing_out(looks.BLUE))
    panel.override_by_name("threshold", looks.dashed(looks.RED))


def _name_percentiles(panel: Panel, targets: Sequence[Any]) -> None:
    """A readable name and a color for each percentile that the targets compute."""
    for target in targets:
        for metric in getattr(target.build(), "metrics", None) or ():
            if metric.type_val == "percentiles":
                for percent, readable in _PERCENTILES.items():
                    named = [
                        model.DynamicConfigValue("displayName", readable),
                        *looks.fixed(looks.PERCENTILES[readable]),
                    ]
                    panel.override_by_regexp(rf"/^p{percent}\.0 /", named)


def _fields(targets: Sequence[Any]) -> set[str]:
    """The fields and labels in the names of the targets' series."""
    found: set[str] = set()
    for target in targets:
        query = target.build()
        named = getattr(query, "alias", None) or getattr(query, "legend_format", None) or ""
        found.update(re.findall(r"\{\{(?:term )?([\w.]+)\}\}", named))
    return found


def _known(fields: Iterable[str]) -> dict[str, str]:
    """The fixed colors of the series that these fields and labels name."""
    found: dict[str, str] = {}
    for field in sorted(fields):
        found |= looks.SERIES.get(field, {})
    return found


def bars(
    title: str,
    doc: str,
    target: Any,
    link: build.DashboardLink,
    *,
    along: str,
    named: Mapping[str, str],
    unit: str = "short",
) -> Panel:
    """A bar for each bucket of the field `along`. `named` maps each field to its readable name."""
    panel = (
        barchart.Panel()
        .color_scheme(looks.one_hue())
        .x_field(named[along])
        .with_transformation(model.DataTransformerConfig(id_val="organize", options={"renameByName": named}))
        .datasource(source_of(target))
        .with_target(target)
    )
    panel.orientation(looks_model.VizOrientation.HORIZONTAL).show_value(looks_model.VisibilityMode.AUTO)
    panel.legend(
        common.VizLegendOptions()
        .display_mode(looks_model.LegendDisplayMode.LIST)
        .placement(looks_model.LegendPlacement.BOTTOM)
        .show_legend(False)  # noqa: FBT003
    )
    return described(panel, title, doc, unit, link)


def heat(title: str, doc: str, target: Any, link: build.DashboardLink, *, unit: str = "none") -> Panel:
    """A heat map of the distribution of a number over time. A brighter cell has more events. `unit` is the number's unit."""
    panel = heatmap.Panel().calculate(False).datasource(source_of(target)).with_target(target)  # noqa: FBT003
    panel.color(heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Viridis").steps(64))
    panel.y_axis(heatmap.YAxisConfig().unit(unit)).exemplars_color(looks.GREY)
    panel.cell_values(heatmap.CellValues().unit("short").decimals(0))
    return described(panel, title, doc, "short", link).decimals(0)


def network(
    title: str,
    doc: str,
    source: str,
    pair: tuple[str, str],
    where: str,
    link: build.DashboardLink,
    edges: int = 200,
) -> Panel:
    """A graph of two keyword fields: each value is a node, and an edge joins two values that occur in one event.

    Grafana derives the nodes from the edges. The panel needs fields with the names source, target, id and mainstat.
    Therefore the fields are copied to new fields with these names. The transformation that renames fields would change
    only the displayed names.
    """
    target = ask(source, where, [count()], [terms(pair[0], edges // 5), terms(pair[1], edges // 2)])
    panel = nodegraph.Panel().datasource(source_of(target)).with_target(target)
    once = {
        "left": {"matcher": {"id": "byName", "options": "Count"}},
        "operator": "*",
        "right": {"fixed": "1"},
    }
    steps = (
        *(_copied(field, name) for field, name in zip(pair, ("source", "target"), strict=True)),
        ("calculateField", {"mode": "index", "alias": "id", "replaceFields": False}),
        (
            "convertFieldType",
            {"conversions": [{"targetField": "id", "destinationType": "string"}], "fields": {}},
        ),
        ("calculateField", {"mode": "binary", "alias": "mainstat", "binary": once, "replaceFields": False}),
    )
    for id, options in steps:
        panel.with_transformation(model.DataTransformerConfig(id_val=id, options=options))
    shown = {"displayName": "events", "decimals": 0}
    panel.override_by_name(
        "mainstat", [model.DynamicConfigValue(name, value) for name, value in shown.items()]
    )
    return described(panel, title, doc, "short", link)


def _copied(field: str, name: str) -> tuple[str, dict[str, Any]]:
    """A transformation that copies a field to a new field with another name."""
    return "extractFields", {
        "source": field,
        "format": "regexp",
        "regExp": f"/^(?<{name}>[\\s\\S]+)$/",
        "replace": False,
    }


def promised(expr: str, legend: str = "", ref: str = "A") -> Any:
    """A query to Prometheus."""
    found = prometheus.Dataquery().ref_id(ref).expr(expr).range()
    found.datasource(DataSourceRef(type_val="prometheus", uid=PROMETHEUS))
    return found.legend_format(legend) if legend else found


def source_of(target: Any) -> DataSourceRef:
    """The data source of a query."""
    found: DataSourceRef = target.build().datasource
    return found
