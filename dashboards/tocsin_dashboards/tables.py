"""Table panels: lists of buckets or documents, and matrices."""

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
#: The names of fields in the header of a matrix.
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
    """A table of buckets or documents. If it has the column `kind`, each subject links to the board of its kind.

    Args:
        title: title of the panel.
        doc: description of the panel.
        target: the query.
        link: link of the panel.
        columns: maps each field to its heading, in the order of the columns.
        units: maps a heading to the unit of its column.
        gone: fields that the query returns and the table hides.
        only: hide all fields of documents that are not in `columns`.
        newest: heading of the column of times by which rows are sorted, the latest first.
        also: a field of documents. The table also shows all fields below it, under their names without its prefix.
        unit: unit of the columns that `units` does not name.
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
    """Also show all fields below a field. Their headings are their names without the prefix."""
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

    `split` is a field and a regular expression. Its named groups become fields before the matrix is made.
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
    """The heading of the column that gets the remaining width if all columns have fixed widths; otherwise empty."""
    if any(heading not in columns_.WIDTHS for heading in headings):
        return ""
    return next((heading for heading in headings if heading not in columns_.SHORT), headings[0])


def _step(id: str, options: Mapping[str, Any]) -> model.DataTransformerConfig:
    return model.DataTransformerConfig(id_val=id, options=dict(options))


def _parts(field: str, pattern: str) -> dict[str, Any]:
    """Options that match a regular expression against a field and add a field for each named group."""
    return {"source": field, "format": "regexp", "regExp": pattern, "replace": False}


def _table(target: Any) -> Panel:
    """A table that shows a dash in empty cells, and that does not format texts that look like numbers."""
    panel = table.Panel().datasource(source_of(target)).with_target(target)
    panel.override_by_regexp("/.*/", [model.DynamicConfigValue("noValue", "–")])
    return panel.override_by_field_type("string", [model.DynamicConfigValue("unit", "string")])
