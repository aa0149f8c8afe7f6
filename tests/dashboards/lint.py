"""What every dashboard must keep to, as small named checks: layout here, the rest in the modules beside it.

A check takes a board and yields where it is broken and how. `lint` runs all of them over all dashboards.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.dashboards.datasources import GRAFANA, MIXED, PROMETHEUS, Source, uid_of
from tests.dashboards.emulator import SILENT, panels

Json = Mapping[str, Any]
#: Where a flaw is, and what it is.
Found = Iterator[tuple[str, str]]
WIDTH = 24
#: A namespace in the name of an index, or the field of it; what a variable chooses is not written out.
_NAMESPACE = r"(?:(?:logs|metrics)-tocsin\.\w+|tocsin-(?:alerts|incidents|state))-(?!\$\{)[\w.*]+|data_stream\.namespace"


@dataclass(frozen=True)
class Board:
    """A dashboard among the others, and the data sources that there are."""

    uid: str
    json: Json
    others: Mapping[str, Json]
    sources: Mapping[str, Source]

    @property
    def variables(self) -> dict[str, Json]:
        """Its template variables by name."""
        return {v["name"]: v for v in self.json.get("templating", {}).get("list") or ()}

    @property
    def annotations(self) -> list[Json]:
        """Its annotations but Grafana's own."""
        found = self.json.get("annotations", {}).get("list") or ()
        return [a for a in found if uid_of(a.get("datasource")) not in (GRAFANA, "grafana")]

    @property
    def asking(self) -> list[Json]:
        """Its panels that have queries."""
        return [p for p in panels(self.json) if p["type"] not in SILENT]


Check = Callable[[Board], Found]


@dataclass(frozen=True, slots=True)
class Flaw:
    """One thing that is wrong with a dashboard."""

    dashboard: str
    check: str
    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.dashboard}, {self.where}: {self.what} ({self.check})"


def name(panel: Json) -> str:
    """How a flaw calls a panel."""
    return f"panel {panel.get('id')} {panel.get('title', '')!r}"


def check_uid_is_its_key(board: Board) -> Found:
    if board.json.get("uid") != board.uid:
        yield "uid", f"is {board.json.get('uid')!r} under the key {board.uid!r}"
    if not re.fullmatch(r"[a-zA-Z0-9_-]{1,40}", board.uid):
        yield "uid", f"{board.uid!r} has other signs than letters, digits, - and _, or more than 40"


def check_uids_are_unique(board: Board) -> Found:
    same = [key for key, other in board.others.items() if other.get("uid") == board.json.get("uid")]
    if len(same) > 1:
        yield "uid", f"{board.json.get('uid')!r} belongs to {', '.join(same)}"


def check_titles_are_unique(board: Board) -> Found:
    if [b.get("title") for b in board.others.values()].count(board.json.get("title")) > 1:
        yield "title", f"{board.json.get('title')!r} is another dashboard's too"


def check_schema_is_the_classic_one(board: Board) -> Found:
    if board.json.get("schemaVersion") != 42:
        yield "schemaVersion", f"is {board.json.get('schemaVersion')}, not 42"


def check_panel_ids_are_unique(board: Board) -> Found:
    seen: dict[object, str] = {}
    for panel in panels(board.json):
        id = panel.get("id")
        if not isinstance(id, int) or id < 1:
            yield name(panel), f"its id {id!r} is no number from 1 on"
        elif id in seen:
            yield name(panel), f"has the id of {seen[id]}"
        seen[id] = name(panel)


def check_panels_lie_beside_one_another(board: Board) -> Found:
    top = list(board.json.get("panels") or ())
    for group in (top, *(p.get("panels") or [] for p in top)):
        for panel in group:
            at = panel.get("gridPos") or {}
            if at.keys() < {"x", "y", "w", "h"} or at["x"] < 0 or at["y"] < 0 or min(at["w"], at["h"]) < 1:
                yield name(panel), f"has no place: {at}"
                return
            if at["x"] + at["w"] > WIDTH:
                yield name(panel), f"reaches beyond column {WIDTH}"
        for one, other in itertools.combinations(group, 2):
            if _overlap(one["gridPos"], other["gridPos"]):
                yield name(one), f"lies over {name(other)}"


def _overlap(one: Json, other: Json) -> bool:
    return all(
        one[at] < other[at] + other[length] and other[at] < one[at] + one[length]
        for at, length in (("x", "w"), ("y", "h"))
    )


def check_sources_are_known(board: Board) -> Found:
    known = {*board.sources, PROMETHEUS}
    for panel in board.asking:
        own = uid_of(panel.get("datasource"))
        if own not in known | {MIXED}:
            yield name(panel), f"has the unknown data source {own!r}"
        for target in panel.get("targets") or ():
            uid = uid_of(target.get("datasource"))
            if (uid and uid not in known) or (own == MIXED and not uid):
                yield name(panel), f"its target {target.get('refId')} has the unknown data source {uid!r}"
    for variable in board.variables.values():
        uid = uid_of(variable.get("datasource"))
        if variable["type"] in ("query", "adhoc") and uid not in known:
            yield f"variable {variable['name']}", f"has the unknown data source {uid!r}"
    for annotation in board.annotations:
        if uid_of(annotation.get("datasource")) not in known:
            yield f"annotation {annotation.get('name')}", "has an unknown data source"


def check_targets_have_their_own_ids(board: Board) -> Found:
    for panel in board.asking:
        ids = [target.get("refId") for target in panel.get("targets") or ()]
        if not ids:
            yield name(panel), "asks nothing"
        if len(ids) != len(set(ids)) or None in ids:
            yield name(panel), f"its targets are called {ids}"


def check_no_namespace_is_written_out(board: Board) -> Found:
    text = json.dumps(board.json)
    for found in re.findall(_NAMESPACE, text):
        yield "JSON", f"names {found!r}: which namespace is read is the reader's matter"


CHECKS: tuple[Check, ...] = (
    check_uid_is_its_key,
    check_uids_are_unique,
    check_titles_are_unique,
    check_schema_is_the_classic_one,
    check_panel_ids_are_unique,
    check_panels_lie_beside_one_another,
    check_sources_are_known,
    check_targets_have_their_own_ids,
    check_no_namespace_is_written_out,
)


def lint(dashboards: Mapping[str, Json], sources: Mapping[str, Source]) -> list[Flaw]:
    """All flaws of all dashboards."""
    from tests.dashboards import lint_fields, lint_links, lint_looks, lint_sizes

    checks = (*CHECKS, *lint_fields.CHECKS, *lint_links.CHECKS, *lint_looks.CHECKS, *lint_sizes.CHECKS)
    return [
        Flaw(uid, check.__name__, where, what)
        for uid, json in dashboards.items()
        for check in checks
        for where, what in check(Board(uid, json, dashboards, sources))
    ]
