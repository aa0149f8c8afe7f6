"""What a panel says of itself, and its colors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tests.dashboards.datasources import uid_of
from tests.dashboards.lint import Board, Check, Found, Json, name
from tests.dashboards.lint_links import links

#: Okabe and Ito's eight colors, with greys for what is beside the point.
PALETTE = frozenset({
    "#000000", "#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7",
    "#999999", "#808080", "#bbbbbb", "#ffffff", "transparent", "text",
})  # fmt: skip
#: Grafana's schemes that do not set red against green: one hue, or a way through blue. The classic palettes do.
SCHEMES = frozenset(
    {"fixed", "thresholds", "shades"}
    | {
        f"continuous-{name}"
        for name in ("BlYlRd", "YlRd", "BlPu", "YlBl", "blues", "reds", "greens", "purples")
    }
    | {f"continuous-{name}" for name in ("viridis", "magma", "plasma", "inferno", "cividis")}
)
HEAT = frozenset({"Viridis", "Magma", "Plasma", "Inferno", "Cividis", "Blues", "Greys", "Oranges", "Purples", "YlGnBu",
                  "YlOrRd", "YlOrBr", "BuPu", "PuBu", "GnBu", "OrRd", "Turbo"} - {"Turbo"})  # fmt: skip
#: Panels that give every series a color of Grafana's red-and-green palette unless told otherwise.
COLORED = ("timeseries", "barchart", "bargauge", "piechart", "histogram", "trend", "xychart", "state-timeline",
           "status-history")  # fmt: skip
SHORTEST = 40


def check_panels_say_what_to_do(board: Board) -> Found:
    for panel in board.asking:
        if len(str(panel.get("description") or "").strip()) < SHORTEST:
            yield name(panel), f"its description has less than {SHORTEST} characters"
        if not str(panel.get("title") or "").strip():
            yield name(panel), "has no title"


def check_panels_have_a_unit(board: Board) -> Found:
    for panel in board.asking:
        config = panel.get("fieldConfig") or {}
        overridden = any(p["id"] == "unit" for o in config.get("overrides") or () for p in o["properties"])
        if panel["type"] != "logs" and not (config.get("defaults") or {}).get("unit") and not overridden:
            yield name(panel), "has no unit"


def check_panels_lead_on(board: Board) -> Found:
    for panel in board.asking:
        if not links(panel):
            yield name(panel), "has no link"


def check_panels_say_when_they_are_empty(board: Board) -> Found:
    for panel in board.asking:
        if panel["type"] != "logs" and not ((panel.get("fieldConfig") or {}).get("defaults") or {}).get(
            "noValue"
        ):
            yield name(panel), "does not say what it means when it is empty (noValue)"


def check_empty_cells_say_nothing(board: Board) -> Found:
    """A table's noValue is also what each of its empty cells says, unless an override of every field says otherwise."""
    for panel in board.asking:
        overrides = (panel.get("fieldConfig") or {}).get("overrides") or ()
        every = [o for o in overrides if o["matcher"] == {"id": "byRegexp", "options": "/.*/"}]
        if panel["type"] == "table" and not any(p["id"] == "noValue" for o in every for p in o["properties"]):
            yield name(panel), "an empty cell says that there is nothing at all (noValue)"


def check_networks_have_their_fields(board: Board) -> Found:
    """The node graph goes by the names of fields, which renaming leaves as they are."""
    for panel in board.asking:
        made: set[str] = set()
        for step in panel.get("transformations") or ():
            made |= set(re.findall(r"\(\?<(\w+)>", str(step["options"].get("regExp") or "")))
            made.add(str(step["options"].get("alias") or ""))
        missing = {"id", "source", "target"} - made
        if panel["type"] == "nodeGraph" and missing:
            yield name(panel), f"no transformation makes the fields {sorted(missing)}"


def check_colors_are_safe(board: Board) -> Found:
    for panel in board.asking:
        for color in _colors(panel):
            if color.lower() not in PALETTE:
                yield name(panel), f"the color {color!r} is not one of the palette"
        for mode in _modes(panel):
            if mode not in SCHEMES:
                yield name(panel), f"the color scheme {mode!r} is not safe for color-blind readers"
        defaults = (panel.get("fieldConfig") or {}).get("defaults") or {}
        if panel["type"] in COLORED and not (defaults.get("color") or {}).get("mode"):
            yield name(panel), "names no color scheme: Grafana's own sets red against green"
        scheme = ((panel.get("options") or {}).get("color") or {}).get("scheme")
        if panel["type"] == "heatmap" and scheme not in HEAT:
            yield name(panel), f"the heatmap's scheme is {scheme!r}"
    for annotation in board.annotations:
        if str(annotation.get("iconColor") or "#000000").lower() not in PALETTE:
            yield (
                f"annotation {annotation.get('name')}",
                f"the color {annotation['iconColor']!r} is not one of the palette",
            )


def _colors(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in ("color", "fixedColor") and isinstance(inner, str) and inner:
                yield inner
            elif key != "exemplars":  # of Prometheus, with a color that the builder always writes
                yield from _colors(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _colors(inner)


def _modes(panel: Json) -> Iterator[str]:
    config = panel.get("fieldConfig") or {}
    given = [(config.get("defaults") or {}).get("color")]
    given += [
        p["value"] for o in config.get("overrides") or () for p in o["properties"] if p["id"] == "color"
    ]
    for color in given:
        if color and color.get("mode"):
            yield str(color["mode"])


def check_series_can_be_told_apart(board: Board) -> Found:
    """Overrides give several series different colors, and at least five if their names come from the data."""
    for panel in (p for p in board.asking if p["type"] == "timeseries" and _several(p)):
        config = panel.get("fieldConfig") or {}
        mode = ((config.get("defaults") or {}).get("color") or {}).get("mode")
        own = [p for o in config.get("overrides") or () for p in o["properties"] if p["id"] == "color"]
        colors = [p["value"].get("fixedColor") for p in own]
        stands_out = any(
            p["id"] == "custom.lineWidth" for o in config.get("overrides") or () for p in o["properties"]
        )
        least = 5 if _named_by_data(panel) and not stands_out else 2
        if mode != "fixed" or len(set(colors)) < least:
            yield (
                name(panel),
                f"has several series in the color scheme {mode!r} and in {len(set(colors))} colors",
            )
        for color in colors:
            if color and str(color).lower() not in PALETTE:
                yield name(panel), f"a series has the color {color!r}, which is not one of the palette"


def _several(panel: Json) -> bool:
    """Whether a panel may have more than one series."""
    targets = panel.get("targets") or ()
    split = ("terms", "filters")
    return (
        len(targets) > 1
        or any(b["type"] in split for t in targets for b in t.get("bucketAggs") or ())
        or any(m["type"] == "percentiles" for t in targets for m in t.get("metrics") or ())
        or any("{{" in str(t.get("legendFormat") or "") for t in targets)
    )


def _named_by_data(panel: Json) -> bool:
    """Whether the names of its series contain a field's or a label's value."""
    return any("{{" in str(t.get("alias") or t.get("legendFormat") or "") for t in panel.get("targets") or ())


def check_filters_name_their_limit(board: Board) -> Found:
    """A panel of another data source than that of the ad-hoc filter says that the filter does not apply."""
    filtered = {uid_of(v["datasource"]) for v in board.variables.values() if v["type"] == "adhoc"}
    for panel in board.asking:
        noted = "ad-hoc filter does not apply" in str(panel.get("description"))
        if filtered and noted == (uid_of(panel.get("datasource")) in filtered):
            yield name(panel), "is wrong about the ad-hoc filter"


def check_annotations_leave_thin_bars(board: Board) -> Found:
    for panel in (p for p in board.asking if p["type"] == "timeseries"):
        custom = ((panel.get("fieldConfig") or {}).get("defaults") or {}).get("custom") or {}
        settings = [b.get("settings") or {} for t in panel["targets"] for b in t.get("bucketAggs") or ()]
        thin = custom.get("drawStyle") == "bars" and any(s.get("interval") == "auto" for s in settings)
        if thin and any(a.get("enable") for a in board.annotations):
            yield name(panel), "has thin bars under annotations that are on"


def check_heat_maps_count(board: Board) -> Found:
    """Their cells are counts of events in bars that the reader chooses, not in a share and in a pixel's width."""
    for panel in (p for p in board.asking if p["type"] == "heatmap"):
        unit = ((panel.get("fieldConfig") or {}).get("defaults") or {}).get("unit")
        if unit not in ("short", "none", "locale"):
            yield name(panel), f"counts in the unit {unit!r}"
        for bucket in (b for t in panel["targets"] for b in t.get("bucketAggs") or ()):
            if bucket["type"] == "date_histogram" and bucket["settings"].get("interval", "auto") == "auto":
                yield name(panel), "its bars of time are as wide as a pixel"


def check_tables_have_no_footer(board: Board) -> Found:
    """Grafana 13 does not know the option."""
    for panel in board.asking:
        if panel["type"] == "table" and "footer" in (panel.get("options") or {}):
            yield name(panel), "has options.footer"


CHECKS: tuple[Check, ...] = (
    check_panels_say_what_to_do,
    check_panels_have_a_unit,
    check_panels_lead_on,
    check_panels_say_when_they_are_empty,
    check_empty_cells_say_nothing,
    check_networks_have_their_fields,
    check_colors_are_safe,
    check_series_can_be_told_apart,
    check_filters_name_their_limit,
    check_annotations_leave_thin_bars,
    check_heat_maps_count,
    check_tables_have_no_footer,
)
