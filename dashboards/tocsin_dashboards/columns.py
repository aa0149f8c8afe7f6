"""How the columns of tables look, by their headings: widths in pixels, short ids, and the boards that cells lead to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from grafana_foundation_sdk.models import dashboard as model

from tocsin_dashboards.kinds import ACCESS, ALERT, DATASETS, HEALTH, KEEP, MODEL, PRINCIPAL

#: Widths of columns whose cells are short. A column that is not here shares what is left of the panel's width.
WIDTHS: Mapping[str, int] = {
    "severity": 90, "state": 125, "kind": 95, "detector": 150, "subject": 180, "since": 130, "principal": 150,
    "alert": 95, "incident": 95, "digest": 95, "run": 95, "baseline": 95,
    "when": 170, "window": 170, "window end": 170, "first seen": 170,
    "what": 160, "action": 105, "receiver": 120, "address": 120, "step": 100, "version": 80, "cause": 140,
    "score": 80, "threshold": 90, "highest score": 115,
    "steps": 65, "left": 65, "events": 80, "times": 75, "calls": 85, "accesses": 90, "addresses": 95, "programs": 95,
    "models": 80, "rows": 85, "snapshots": 95, "alerts": 75, "worst": 80, "windows": 85, "most findings": 110,
    "evaluation": 95, "early": 75, "findings": 90,
    "median": 85, "95 % quantile": 120, "stream": 120, "source": 140, "playbook": 190, "dataset": 150, "model": 150,
}  # fmt: skip
#: Columns of sentences: they get what the other columns leave.
SENTENCES = frozenset({"what was seen", "why", "next step"})
#: Columns of ids, of which eight characters are shown. The links in their cells have the whole id.
IDS = frozenset({"alert", "incident", "digest", "run", "baseline"})
#: Columns that are not widened for the want of a longer one.
SHORT = IDS | {"severity", "state", "kind", "since", "when", "first seen"}
#: The hidden column with the board for the kind of subject of each row.
BOARD = "board"
_CELL = "${__value.raw:percentencode}"
#: What a column leads to, in every table that has the column.
_LEADS: Mapping[str, tuple[str, str, str]] = {
    "alert": (ALERT, "Everything about this alert", "alert"),
    "model": (MODEL, "Everything about this model", "model"),
    "principal": (PRINCIPAL, "Everything about this principal", "principal"),
}
_KINDS = {
    "principal": PRINCIPAL,
    "model": MODEL,
    "dataset": DATASETS,
    "pipeline": DATASETS,
    "artifact": ACCESS,
}


def overrides(
    heading: str, unit: str = "", *, by_kind: bool = False, wide: bool = False
) -> list[model.DynamicConfigValue]:
    """What is set for the column under a heading; `by_kind` says that the table has the
    column of boards, `wide` that the column gets the rest of the width.
    """
    found = dict(_settings(heading, unit, by_kind))
    if wide:
        found.pop("custom.width", None)
    return [model.DynamicConfigValue(name, value) for name, value in found.items()]


def _settings(heading: str, unit: str, by_kind: bool) -> Iterator[tuple[str, Any]]:
    if heading in WIDTHS:
        yield "custom.width", WIDTHS[heading]
    if heading in SENTENCES:
        yield "custom.minWidth", 300
    if heading in IDS:
        yield "mappings", [_mapped(r"^(?:\w+:)?([^:]{8}).*$", "$1")]
    if heading in {"severity", "state"}:
        yield "custom.cellOptions", {"type": "color-text"}
    if unit:
        yield "unit", unit
    if heading in _LEADS:
        uid, title, variable = _LEADS[heading]
        yield "links", [_link(uid, title, variable)]
    if heading == "subject" and by_kind:
        names = ("principal", "model", "dataset")
        yield "links", [_link(f"${{__data.fields.{BOARD}.text}}", "Everything about this subject", *names)]
    if heading == BOARD:
        yield "custom.hidden", True
        yield "custom.hideFrom", {"viz": True, "legend": True, "tooltip": True}
        shown = {kind: model.ValueMappingResult(text=uid) for kind, uid in _KINDS.items()}
        yield "mappings", [model.ValueMap(options=shown), _mapped("^.*$", HEALTH)]


def _link(uid: str, title: str, *variables: str) -> dict[str, str]:
    given = "".join(f"&var-{name}={_CELL}" for name in variables)
    return {"title": title, "url": f"/d/{uid}?{KEEP}{given}"}


def _mapped(pattern: str, text: str) -> model.RegexMap:
    result = model.ValueMappingResult(text=text)
    return model.RegexMap(options=model.DashboardRegexMapOptions(pattern=pattern, result=result))
