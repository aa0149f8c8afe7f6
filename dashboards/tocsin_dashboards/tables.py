"""Tables: lists of buckets or documents, and matrices."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders import table
from grafana_foundation_sdk.models import common as looks_model
from grafana_foundation_sdk.models import dashboard as model

from tocsin_dashboards import columns as columns_
from tocsin_dashboards import looks
from tocsin_dashboards.columns import BOARD
from tocsin_dashboards.kinds import described, source_of

Panel = Any
_KIND = "tocsin.subject.type"
#: What the header of a matrix calls its fields.
_NAMES = {"user.id": "principal", "tocsin.resource.id": "resource", "tocsin.dataset.name": "dataset"}


def listing(
    title: str,
    doc: str,
    target: Any,
    link: build.DashboardLink,
    *,
    columns: Mapping[str, str],
    units: Mapping[str, str] | None = None,
    gone: Sequence[str] = (),
    only: bool = False,
    newest: str = "",
    also: str = "",
    unit: str = "locale",
) -> Panel:
    """A table of buckets or documents: `columns` gives headings by field in the order shown, `units` a heading's unit.

    Fields that are `gone` are requested and not shown; with `only`, documents show `columns` and no other field.
    With `newest`, the rows are in the order of the column under that heading, the latest first.
    With `also`, documents show `columns` and the fields below this one, by their own short names.
    A table with the kind of each subject links each subject to the board of its kind.
    """
    panel = _table(target)
    by_kind = columns.get(_KIND) == "kind"
    shown = dict(columns)
    if by_kind:
        panel.with_transformation(_step("extractFields", _parts(_KIND, rf"/^(?<{BOARD}>.+)$/")))
        shown[BOARD] = BOARD
    order = {field: place for place, field in enumerate(shown)}
    tidy = {"renameByName": dict(columns), "indexByName": order, "excludeByName": dict.fromkeys(gone, True)}
    if only:
        tidy["includeByName"] = dict.fromkeys(shown, True)
    panel.with_transformation(_step("organize", tidy))
    if also:
        _add_fields_below(panel, also, columns.values())
    if newest:
        panel.with_transformation(_step("sortBy", {"sort": [{"field": newest, "desc": True}]}))
    panel.mappings(looks.words()).filterable(True)  # noqa: FBT003
    wide = _widest(list(columns.values()))
    for heading in shown.values():
        found = columns_.overrides(
            heading, (units or {}).get(heading, ""), by_kind=by_kind, wide=heading == wide
        )
        if found:
            panel.override_by_name(heading, found)
    return described(panel, title, doc, unit, link)


def _add_fields_below(panel: Panel, field: str, headings: Iterable[str]) -> None:
    """Show the fields below a field, too, by their own short names."""
    below = re.escape(f"{field}.")
    kept = {"include": {"pattern": f"/^({'|'.join(headings)}|{below}.+)$/"}}
    panel.with_transformation(_step("filterFieldsByName", kept))
    panel.with_transformation(_step("renameByRegex", {"regex": f"{below}(.+)", "renamePattern": "$1"}))


def matrix(
    title: str,
    doc: str,
    target: Any,
    link: build.DashboardLink,
    *,
    row: str,
    column: str,
    value: str = "Count",
    split: tuple[str, str] | None = None,
) -> Panel:
    """A table with a row for each value of one field and a column for each of another.

    With `split` a field is first taken apart by the named groups of a regular expression.
    """
    cross = {"rowField": row, "columnField": column, "valueField": value, "emptyValue": "empty"}
    panel = _table(target)
    if split:
        panel.with_transformation(_step("extractFields", _parts(*split)))
    panel.with_transformation(_step("groupingToMatrix", cross))
    header = {f"{row}\\{column}": f"{_NAMES.get(row, row)} \\ {_NAMES.get(column, column)}"}
    panel.with_transformation(_step("organize", {"renameByName": header}))
    panel.thresholds(looks.thresholds((None, "transparent"), (1, looks.SKY), (100, looks.BLUE)))
    panel.color_scheme(looks.by_threshold())
    panel.cell_options(looks_model.TableColoredBackgroundCellOptions())
    return described(panel, title, doc, "locale", link)


def _widest(headings: Sequence[str]) -> str:
    """The heading whose column gets the rest of the width, of a table in which every column would have a fixed width."""
    if any(heading not in columns_.WIDTHS for heading in headings):
        return ""
    return next((heading for heading in headings if heading not in columns_.SHORT), headings[0])


def _step(id: str, options: Mapping[str, Any]) -> model.DataTransformerConfig:
    return model.DataTransformerConfig(id_val=id, options=dict(options))


def _parts(field: str, pattern: str) -> dict[str, Any]:
    """Options that add the named groups of a regular expression over a field as fields."""
    return {"source": field, "format": "regexp", "regExp": pattern, "replace": False}


def _table(target: Any) -> Panel:
    """A table whose empty cells are a dash, and whose texts stay as they are where they look like numbers."""
    panel = table.Panel().datasource(source_of(target)).with_target(target)
    panel.override_by_regexp("/.*/", [model.DynamicConfigValue("noValue", "–")])
    return panel.override_by_field_type("string", [model.DynamicConfigValue("unit", "string")])
