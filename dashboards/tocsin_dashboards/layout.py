"""A dashboard as rows of panels: places, numbers, variables, annotations and links come by themselves."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from typing import Any

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from tocsin.contract.streams import TIME
from tocsin_dashboards import variables
from tocsin_dashboards.asking import AUTO, ask, raw, ref_of
from tocsin_dashboards.looks import BLUE, RED

with warnings.catch_warnings():  # it says that v2 is preferred: standards ship v1, which 12 and 13 both load
    warnings.simplefilter("ignore", DeprecationWarning)
    from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import dashboard as model

WIDTH = 24
#: Ids of headings begin here, so that a new one changes no panel's id.
_FIRST_ROW = 1000
TAG = "tocsin"
#: What the description of a panel says that the reader's filters do not reach.
UNFILTERED = "The ad-hoc filter does not apply to this panel."
#: What happened when: alerts that began, and models that were trained or deployed.
_HAPPENED = (
    ("Alerts", "alert_history", "event.action:firing", RED),
    ("Deployments", "pipeline", "event.action:(train OR deploy OR promote)", BLUE),
)
Panel = Any  # the builders of the kinds of panels share no type that has these methods


class Board:
    """One dashboard under construction.

    Args:
        uid: its id in Grafana, as links name it.
        title: its name.
        doc: what it is for, in a sentence.
        filtered: the stream or view that the reader's own filters narrow.
        variables_: names of `variables.KNOWN`, in the order in which they are shown, after the namespace.
    """

    def __init__(
        self,
        uid: str,
        title: str,
        doc: str,
        variables_: Sequence[str] = (),
        time: str = "now-7d",
        filtered: str = "alerts",
    ) -> None:
        self.uid = uid
        self._y = self._id = self._rows = 0
        self._board = (
            build.Dashboard(title)
            .uid(uid)
            .description(doc)
            .tags([TAG])
            .timezone("utc")
            .time(time, "now")
            .refresh("1m")
            .tooltip(model.DashboardCursorSync.CROSSHAIR)
            .editable()
        )
        chosen = [variables.KNOWN[name]() for name in ("namespace", *variables_)]
        self._board.variables([*chosen, variables.filters(filtered)])
        self._board.annotations(_annotations())
        self._board.links([_others()])

    def row(self, title: str, *panels: tuple[int, Panel], height: int = 8) -> None:
        """A row under a heading; each panel with its width out of 24."""
        self._board.with_row(
            build.Row(title).id(self._heading()).grid_pos(model.GridPos(h=1, w=WIDTH, x=0, y=self._y))
        )
        self._y += 1
        x = 0
        for width, panel in panels:
            if x + width > WIDTH:
                x, self._y = 0, self._y + height
            self._board.with_panel(
                panel.id(self._next()).grid_pos(model.GridPos(h=height, w=width, x=x, y=self._y))
            )
            x += width
        self._y += height

    def _heading(self) -> int:
        self._rows += 1
        return _FIRST_ROW + self._rows

    def _next(self) -> int:
        self._id += 1
        return self._id

    def build(self) -> dict[str, Any]:
        """The dashboard as Grafana's classic JSON (schemaVersion 42)."""
        found: dict[str, Any] = json.loads(JSONEncoder(sort_keys=True).encode(self._board.build()))
        for panel in found["panels"]:
            if panel["type"] == "table":
                panel["options"].pop(
                    "footer"
                )  # the builders always write it, and Grafana 13 does not have it
        _name_the_filters_limit(found)
        thin = any(map(_has_thin_bars, found["panels"]))
        for annotation in found["annotations"]["list"]:
            annotation["enable"] = annotation["enable"] and not thin
            # What the data source reads, and the builders do not know.
            annotation |= {"timeField": TIME, "textField": "message", "tagsField": "tags"}
            annotation["query"] = annotation["target"]["query"]
        return found


def _name_the_filters_limit(board: dict[str, Any]) -> None:
    """Grafana applies the reader's filters to one data source. Panels of another one say so."""
    filtered = {v["datasource"]["uid"] for v in board["templating"]["list"] if v["type"] == "adhoc"}
    for panel in board["panels"]:
        if panel["type"] != "row" and panel["datasource"]["uid"] not in filtered:
            panel["description"] += " " + UNFILTERED


def _has_thin_bars(panel: dict[str, Any]) -> bool:
    """Whether a panel draws bars of an automatic width, which the lines of annotations would hide."""
    if panel["type"] != "timeseries" or panel["fieldConfig"]["defaults"]["custom"].get("drawStyle") != "bars":
        return False
    buckets = [b for target in panel["targets"] for b in target.get("bucketAggs") or ()]
    return any((b.get("settings") or {}).get("interval") == AUTO for b in buckets)


def _others() -> build.DashboardLink:
    return (
        build.DashboardLink("Tocsin")
        .type(model.DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .as_dropdown(True)  # noqa: FBT003
        .include_vars(True)  # noqa: FBT003
        .keep_time(True)  # noqa: FBT003
    )


def _annotations() -> list[Builder[model.AnnotationQuery]]:
    return [_annotation(*settings) for settings in _HAPPENED]


def _annotation(name: str, source: str, where: str, color: str) -> build.AnnotationQuery:
    target = ask(source, where, [raw(200)])
    found = build.AnnotationQuery().name(name).datasource(ref_of(source)).icon_color(color).target(target)
    # Alerts are many: drawn by default, their lines hide thin bars. The reader switches them on above the panels.
    return found.enable(name != "Alerts")
