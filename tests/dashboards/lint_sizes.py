"""What fits into a panel on a screen that is 1600 pixels wide."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tests.dashboards.datasources import uid_of
from tests.dashboards.lint import WIDTH, Board, Check, Found, Json, name

#: The pixels of all columns of the grid together, on a screen of 1600 pixels.
SCREEN = 1552
#: What the icons of the header take of a panel's width, and what a letter of the title takes.
_ICONS, _LETTER = 150, 8
#: The headings of columns of sentences, and the least that a column without a width needs.
SENTENCES = ("what was seen", "why", "next step")
_LEAST = 80
#: The data sources of what has a state.
_STATED = ("tocsin-alerts", "tocsin-incidents")


def pixels(panel: Json) -> int:
    """How wide a panel is."""
    return int(panel["gridPos"].get("w", WIDTH) * SCREEN / WIDTH)


def check_titles_fit(board: Board) -> Found:
    for panel in board.asking:
        room = (pixels(panel) - _ICONS) // _LETTER
        title = str(panel.get("title") or "")
        if len(title) > room:
            yield name(panel), f"its title has {len(title)} characters, and {room} fit its width"


def headings(panel: Json) -> list[str]:
    """The headings of a table, as far as its transformations say."""
    steps = [s["options"] for s in panel.get("transformations") or () if s["id"] == "organize"]
    return [str(heading) for step in steps for heading in (step.get("renameByName") or {}).values()]


def _setting(panel: Json, heading: str, id: str) -> Any:
    """What a table's override says of the column under a heading."""
    own = [
        o["properties"]
        for o in (panel.get("fieldConfig") or {}).get("overrides") or ()
        if o["matcher"] == {"id": "byName", "options": heading}
    ]
    return next((p["value"] for properties in own for p in properties if p["id"] == id), None)


def check_columns_fit(board: Board) -> Found:
    for panel in (p for p in board.asking if p["type"] == "table"):
        used = 0
        for heading in headings(panel):
            width = _setting(panel, heading, "custom.width")
            used += int(width or _setting(panel, heading, "custom.minWidth") or _LEAST)
            if heading in SENTENCES and width:
                yield name(panel), f"its column {heading!r} has a fixed width: sentences get the rest"
        if used > pixels(panel):
            yield name(panel), f"its columns need {used} pixels, and it has {pixels(panel)}"


def check_open_comes_first(board: Board) -> Found:
    """Where alerts or incidents are listed with their states, a bucket for each state is the outermost one."""
    for panel in (p for p in board.asking if p["type"] == "table"):
        if {"state", "severity"} <= set(headings(panel)) and uid_of(panel["datasource"]) in _STATED:
            outer = (panel["targets"][0].get("bucketAggs") or [{}])[0]
            found = [f.get("label") for f in (outer.get("settings") or {}).get("filters") or ()]
            if found[:2] != ["1 open", "2 acknowledged"]:
                yield name(panel), "open ones do not come first"


#: Names of fields and metrics, which are not for readers.
_RAW = re.compile(r"\b(?:tocsin|event|user|source|user_agent|http|data_stream)\.[a-z_]|\btocsin_|\S\\\S")


def check_no_raw_names_are_shown(board: Board) -> Found:
    for panel in board.asking:
        for shown in _shown(panel):
            if _RAW.search(shown):
                yield name(panel), f"shows the name of a field, {shown!r}"
        matcher = {"id": "byName", "options": "mainstat"}
        if panel["type"] == "nodeGraph" and not any(o["matcher"] == matcher for o in _overrides(panel)):
            yield name(panel), "shows the name of a field, 'mainstat'"
        raw = any(m["type"] == "raw_data" for t in panel["targets"] for m in t.get("metrics") or ())
        steps = panel.get("transformations") or ()
        chosen = any(s["id"] == "filterFieldsByName" or s["options"].get("includeByName") for s in steps)
        if panel["type"] == "table" and raw and not chosen:
            yield name(panel), "shows every field of its documents by its name"


def _overrides(panel: Json) -> list[Json]:
    return list((panel.get("fieldConfig") or {}).get("overrides") or ())


def _shown(panel: Json) -> Iterator[str]:
    """Legends, and the headings of tables and bars after their transformations."""
    for properties in (o["properties"] for o in _overrides(panel)):
        yield from (str(p["value"]) for p in properties if p["id"] == "displayName")
    for target in panel.get("targets") or ():
        legend = str(target.get("legendFormat") or target.get("alias") or "")
        if panel["type"] == "timeseries":
            yield re.sub(r"\{\{.+?\}\}", "", legend) or (str(target.get("expr") or "") if not legend else "")
    if panel["type"] in ("table", "barchart"):
        yield from _headings(panel)


def _headings(panel: Json) -> Iterator[str]:
    steps = list(panel.get("transformations") or ())
    cross = next((s["options"] for s in steps if s["id"] == "groupingToMatrix"), None)
    names = {b["field"] for t in panel["targets"] for b in t.get("bucketAggs") or () if b["type"] == "terms"}
    if cross:
        names = {f"{cross['rowField']}\\{cross['columnField']}"}
    for options in (s["options"] for s in steps if s["id"] == "organize"):
        names -= {field for field, gone in (options.get("excludeByName") or {}).items() if gone}
        names = {(options.get("renameByName") or {}).get(n, n) for n in names} | set(headings(panel))
    yield from sorted(names)


CHECKS: tuple[Check, ...] = (
    check_titles_fit,
    check_columns_fit,
    check_open_comes_first,
    check_no_raw_names_are_shown,
)
