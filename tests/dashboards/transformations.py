"""Grafana's transformations, as far as they tell which columns a table has in the end and whether they are there."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tests.dashboards.datasources import NotEmulated, Source
from tests.dashboards.frames import Frame

Options = Mapping[str, Any]


class UnknownFieldError(Exception):
    """A transformation names a field that no frame has."""


def transformed(frames: Sequence[Frame], transformations: Sequence[Mapping[str, Any]]) -> list[Frame]:
    """Frames after a panel's transformations.

    Raises:
        NotEmulated: one of them is not emulated.
        UnknownFieldError: one of them names a field that no frame has.
    """
    found = list(frames)
    for step in transformations:
        if step.get("disabled"):
            continue
        apply = _STEPS.get(step["id"])
        if apply is None:
            raise NotEmulated(f"the transformation {step['id']!r}")
        found = apply(found, step.get("options") or {})
    return found


def require(frames: Sequence[Frame], names: Sequence[str], what: str) -> None:
    """Every name is a column of some frame, or a field that its documents may have.

    Raises:
        UnknownFieldError: one is not.
    """
    if not frames:
        return
    for name in names:
        if not any(name in f.columns or (f.known and f.known.type_of(name)) for f in frames):
            has = ", ".join(dict.fromkeys(c for f in frames for c in f.columns))
            raise UnknownFieldError(f"{what} names the field {name!r}; there are only: {has}")


def _organized(known: Source | None, gone: Sequence[str], renamed: Mapping[str, str]) -> Source | None:
    """The fields that documents may have, under their new names: which of them are there depends on the data."""
    if known is None:
        return None
    kept = {name: kind for name, kind in known.fields.items() if name not in gone and name not in renamed}
    new = {to: kind for name, to in renamed.items() if (kind := known.type_of(name))}
    return replace(known, fields=kept | new)


def _with(frame: Frame, columns: dict[str, list[Any]], *, same: bool = False) -> Frame:
    return Frame(frame.ref, columns, frame.labels, frame.series, frame.known if same else None)


def _organize(frames: list[Frame], options: Options) -> list[Frame]:
    gone = [name for name, is_gone in (options.get("excludeByName") or {}).items() if is_gone]
    renamed: Mapping[str, str] = {k: v for k, v in (options.get("renameByName") or {}).items() if v}
    own = ("_id", "_index", "_type", "sort", "highlight")  # of every document
    require(frames, [name for name in (*gone, *renamed) if name not in own], "organize")
    only = [name for name, is_in in (options.get("includeByName") or {}).items() if is_in]
    require(frames, only, "organize")
    columns = [
        {renamed.get(n, n): v for n, v in f.columns.items() if n not in gone and n in (only or f.columns)}
        for f in frames
    ]
    return [
        replace(_with(f, shown), known=_organized(f.known, gone, renamed))
        for f, shown in zip(frames, columns, strict=True)
    ]


def _keep(frames: list[Frame], options: Options) -> list[Frame]:
    include, exclude = options.get("include") or {}, options.get("exclude") or {}
    require(frames, [*(include.get("names") or ()), *(exclude.get("names") or ())], "filterFieldsByName")

    def kept(name: str) -> bool:
        if exclude and (name in (exclude.get("names") or ()) or _matches(exclude.get("pattern"), name)):
            return False
        if not include:
            return True
        return name in (include.get("names") or ()) or _matches(include.get("pattern"), name)

    return [_with(f, {n: v for n, v in f.columns.items() if kept(n)}) for f in frames]


def _matches(pattern: str | None, name: str) -> bool:
    return bool(pattern) and re.search(str(pattern).strip("/"), name) is not None


def _rename(frames: list[Frame], options: Options) -> list[Frame]:
    to = re.sub(r"\$(\d)", r"\\\1", options["renamePattern"])
    return [_with(f, {re.sub(options["regex"], to, n): v for n, v in f.columns.items()}) for f in frames]


def _merge(frames: list[Frame], _: Options) -> list[Frame]:
    if not frames:
        return []
    names = dict.fromkeys(name for f in frames for name in f.columns)
    rows = [{n: v[i] for n, v in f.columns.items() if i < len(v)} for f in frames for i in range(f.rows)]
    shared = [n for n in names if all(n in f.columns for f in frames)]
    joined: dict[object, dict[str, Any]] = {}
    for place, row in enumerate(rows):
        joined.setdefault(tuple(str(row.get(n)) for n in shared) if shared else place, {}).update(row)
    return [_with(frames[0], {n: [row.get(n) for row in joined.values()] for n in names})]


def _join(frames: list[Frame], options: Options) -> list[Frame]:
    by = options.get("byField") or "Time"
    if any(by not in f.columns for f in frames):
        raise UnknownFieldError(f"joinByField names the field {by!r}, which not every frame has")
    return _merge(frames, options)


def _group(frames: list[Frame], options: Options) -> list[Frame]:
    fields: Mapping[str, Any] = options.get("fields") or {}
    require(frames, list(fields), "groupBy")
    by = [n for n, o in fields.items() if o.get("operation") == "groupby"]
    out = []
    for f in frames:
        groups: dict[object, int] = {}
        for i in range(f.rows):
            groups.setdefault(tuple(str(f.columns[n][i]) for n in by if n in f.columns), i)
        columns = {n: [f.columns[n][i] for i in groups.values()] for n in by if n in f.columns}
        for name, option in fields.items():
            for calc in option.get("aggregations") or ():
                columns[f"{name} ({calc})"] = [1] * len(groups)
        out.append(_with(f, columns))
    return out


def _reduce(frames: list[Frame], options: Options) -> list[Frame]:
    if options.get("mode", "seriesToRows") == "reduceFields":
        return [_with(f, {n: v[:1] for n, v in f.columns.items()}) for f in frames]
    names = [name for f in frames for name in f.columns if name != "Time"]
    names_of = {"lastNotNull": "Last *", "last": "Last", "sum": "Total", "mean": "Mean", "max": "Max", "min": "Min",
                "count": "Count", "firstNotNull": "First *"}  # fmt: skip
    calcs = {names_of[c]: [1] * len(names) for c in options["reducers"]}
    return [Frame("A", {"Field": names, **calcs})] if names else []


def _calculate(frames: list[Frame], options: Options) -> list[Frame]:
    alias = options.get("alias")
    operands = [
        v.get("matcher", {}).get("options")
        for v in (options.get("binary") or {}).values()
        if isinstance(v, Mapping)
    ]
    operands += (options.get("reduce") or {}).get("include") or []
    require(frames, [o for o in operands if o], "calculateField")
    if not alias:
        raise NotEmulated("calculateField without an alias")
    return [_with(f, {**f.columns, alias: [1] * f.rows}, same=True) for f in frames]


def _sort(frames: list[Frame], options: Options) -> list[Frame]:
    require(frames, [s["field"] for s in options.get("sort") or ()], "sortBy")
    return frames


def _convert(frames: list[Frame], options: Options) -> list[Frame]:
    require(frames, [c["targetField"] for c in options.get("conversions") or ()], "convertFieldType")
    return frames


def _filter(frames: list[Frame], options: Options) -> list[Frame]:
    require(frames, [c["fieldName"] for c in options.get("filters") or ()], "filterByValue")
    return frames  # which rows stay is not emulated, only that the field is there


def _rows(frames: list[Frame], _: Options) -> list[Frame]:
    rows = [(t, n, x) for f in frames for n, v in f.columns.items() if n != "Time"
            for t, x in zip(f.columns.get("Time", v), v, strict=False)]  # fmt: skip
    return [
        Frame(
            "A", {"Time": [r[0] for r in rows], "Metric": [r[1] for r in rows], "Value": [r[2] for r in rows]}
        )
    ]


def _extract(frames: list[Frame], options: Options) -> list[Frame]:
    """New columns from the named groups of a regular expression over one field."""
    if options.get("format") != "regexp":
        raise NotEmulated(f"extractFields of {options.get('format')!r}")
    require(frames, [options["source"]], "extractFields")
    pattern = re.compile(options["regExp"].strip("/").replace("(?<", "(?P<"))
    out = []
    for f in frames:
        found = [pattern.search(str(v)) for v in f.columns.get(options["source"], [])]
        parts = {name: [m[name] if m else None for m in found] for name in pattern.groupindex}
        out.append(_with(f, parts if options.get("replace") else {**f.columns, **parts}))
    return out


def _matrix(frames: list[Frame], options: Options) -> list[Frame]:
    row, column, value = (
        options.get(f"{k}Field") or d for k, d in (("row", "Time"), ("column", "Time"), ("value", "Value"))
    )
    require(frames, [row, column, value], "groupingToMatrix")
    out = []
    for f in frames:
        keys = list(dict.fromkeys(map(str, f.columns.get(column, []))))
        rows = list(dict.fromkeys(map(str, f.columns.get(row, []))))
        out.append(_with(f, {f"{row}\\{column}": rows, **{key: [1] * len(rows) for key in keys}}))
    return out


_STEPS: Mapping[str, Callable[[list[Frame], Options], list[Frame]]] = {
    "organize": _organize,
    "filterFieldsByName": _keep,
    "renameByRegex": _rename,
    "merge": _merge,
    "joinByField": _join,
    "groupBy": _group,
    "reduce": _reduce,
    "calculateField": _calculate,
    "sortBy": _sort,
    "convertFieldType": _convert,
    "filterByValue": _filter,
    "seriesToRows": _rows,
    "extractFields": _extract,
    "groupingToMatrix": _matrix,
    "limit": lambda frames, _: frames,
    "prepareTimeSeries": lambda frames, _: frames,
}
