"""Variables are defined and used, and links lead to dashboards that exist, with variables that those have."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from tests.dashboards.emulator import panels
from tests.dashboards.interpolation import references
from tests.dashboards.lint import Board, Check, Found, Json, name

_DASHBOARD = re.compile(r"^(?:\$\{__url\.\w+\})?/d/([^/?#]+)")

_BY_FIELD = re.compile(r"^/d/\$\{__data\.fields\.(\w+)\.text\}")


def links(panel: Json) -> list[Json]:
    """A panel's links: its own, its fields' and those of single fields."""
    config = panel.get("fieldConfig") or {}
    found = [*(panel.get("links") or ()), *((config.get("defaults") or {}).get("links") or ())]
    for override in config.get("overrides") or ():
        found += [one for p in override.get("properties") or () if p["id"] == "links" for one in p["value"]]
    return found


def _all_links(board: Board) -> Iterator[tuple[str, Json]]:
    for panel in panels(board.json):
        yield from ((name(panel), link) for link in links(panel))
    yield from (("dashboard links", link) for link in board.json.get("links") or ())


def check_variables_are_defined(board: Board) -> Found:
    known = set(board.variables)
    for panel in panels(board.json):
        text = json.dumps({k: v for k, v in panel.items() if k != "panels"})
        for used in sorted(_named(text) - known):
            yield name(panel), f"uses the variable ${used}, which is not defined"
    rest = {
        "annotations": board.annotations,
        "templating": list(board.variables.values()),
        "title": board.json.get("title"),
    }
    for where, part in rest.items():
        for used in sorted(_named(json.dumps(part)) - known):
            yield where, f"uses the variable ${used}, which is not defined"


def check_variables_are_used(board: Board) -> Found:
    for own, variable in board.variables.items():
        others = [v for n, v in board.variables.items() if n != own]
        used = _named(json.dumps([board.json.get("panels"), board.annotations, others]))
        repeats = {panel.get("repeat") for panel in panels(board.json)}
        if variable["type"] != "adhoc" and own not in used | repeats:
            yield f"variable {own}", "is used nowhere"


def _named(text: str) -> set[str]:
    """The variables of a text, but Grafana's own and the groups of regular expressions."""
    return {n for n in references(text) if not n.startswith("__") and not n[0].isdigit()}


def check_links_lead_somewhere(board: Board) -> Found:
    for where, link in _all_links(board):
        if link.get("type") == "dashboards":
            tags: set[str] = set(link.get("tags") or ())
            if not any(tags <= set(other.get("tags") or ()) for other in board.others.values()):
                yield where, f"links to dashboards with the tags {sorted(tags)}, which none has"
            continue
        url = str(link.get("url") or "")
        if not link.get("title"):
            yield where, f"the link {url!r} has no title"
        hidden = _BY_FIELD.match(url)
        if hidden and hidden[1] not in _texts(board):
            yield where, f"the link {url!r} reads a field that no mapping turns into a dashboard"
        if hidden:
            yield from (
                (where, f"links to the dashboard {uid!r}, which does not exist")
                for uid in sorted(_texts(board).get(hidden[1], set()) - set(board.others))
            )
            continue
        found = _DASHBOARD.match(url)
        if found is None:
            if not re.match(r"https?://|\$\{__value\.raw\}|/explore|/alerting", url):
                yield where, f"the link {url!r} leads nowhere"
        elif found[1] not in board.others:
            yield where, f"links to the dashboard {found[1]!r}, which does not exist"
        else:
            yield from ((where, text) for text in _unknown(url, found[1], board.others[found[1]]))


def _texts(board: Board) -> dict[str, set[str]]:
    """What the mappings of each column of the board's tables turn its values into."""
    found: dict[str, set[str]] = {}
    for panel in panels(board.json):
        for override in (panel.get("fieldConfig") or {}).get("overrides") or ():
            for one in (m for p in override["properties"] if p["id"] == "mappings" for m in p["value"]):
                results = one["options"].values() if one["type"] == "value" else [one["options"]["result"]]
                texts = {str(result["text"]) for result in results}
                found.setdefault(str(override["matcher"].get("options")), set()).update(texts)
    return found


def _unknown(url: str, uid: str, target: Mapping[str, Any]) -> Iterator[str]:
    has = {v["name"] for v in target.get("templating", {}).get("list") or ()}
    given = set(re.findall(r"[?&]var-(\w+)=", url)) | set(re.findall(r"\$\{(\w+):queryparam\}", url))
    for missing in sorted(given - has):
        yield f"gives {uid} the variable {missing!r}, which it does not have"


CHECKS: tuple[Check, ...] = (
    check_variables_are_defined,
    check_variables_are_used,
    check_links_lead_somewhere,
)
