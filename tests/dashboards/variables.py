"""The values of a dashboard's template variables: asked of the cluster, in an order in which each knows the others."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.dashboards.cluster import Elasticsearch, QueryError
from tests.dashboards.datasources import NotEmulated, Source, uid_of
from tests.dashboards.interpolation import ALL, Value, Values, references, replace
from tests.dashboards.ranges import Range, interval

Json = dict[str, Any]
_NUMBER_TYPES = ("float", "double", "integer", "long", "scaled_float", "histogram")
_KINDS = dict.fromkeys(_NUMBER_TYPES, "number") | {
    "date": "date",
    "date_nanos": "date",
    "text": "string",
    "string": "string",
}


@dataclass(frozen=True, slots=True)
class Option:
    """One choice of a variable."""

    text: str
    value: str


def terms_body(query: Mapping[str, Any], source: Source, of: Range) -> Json:
    """The search that finds a variable's values.

    Raises:
        QueryError: it asks for an order that Grafana refuses.
    """
    by = query.get("orderBy") or "key"
    order = query.get("order") or ("desc" if by == "doc_count" else "asc")
    names = {"key": "_key", "term": "_key", "doc_count": "_count"}
    if by not in names or order not in ("asc", "desc"):
        raise QueryError(f"the order {by} {order} of a variable")
    within = {"format": "epoch_millis", "gte": str(of.start), "lte": str(of.end)}
    filters: list[Json] = [{"range": {source.time_field: within}}]
    if query.get("query"):
        filters.append({"query_string": {"analyze_wildcard": True, "query": query["query"]}})
    terms = {"field": query["field"], "size": query.get("size") or 500, "order": {names[by]: order}}
    return {"size": 0, "query": {"bool": {"filter": filters}}, "aggs": {"1": {"terms": terms}}}


def parsed(query: object) -> Json:
    """A variable's query: its JSON text, or the object that newer editors write around it.

    Raises:
        QueryError: it is no JSON.
    """
    text = query.get("query", "") if isinstance(query, Mapping) else str(query or "")
    try:
        found: Json = json.loads(text)
    except ValueError as error:
        raise QueryError(f"the variable's query {text!r} is no JSON: {error}") from None
    return found


def options(
    variable: Mapping[str, Any], source: Source, cluster: Elasticsearch, of: Range, values: Values
) -> list[Option]:
    """The choices of a query variable, its regular expression applied and sorted.

    Raises:
        QueryError: the cluster refused the query.
        NotEmulated: the query looks for something else than terms or fields.
    """
    query = {
        k: replace(v, values, "lucene") if k in ("field", "query", "type") else v
        for k, v in parsed(variable.get("query")).items()
    }
    match query.get("find"):
        case "terms":
            answer = cluster.msearch([terms_body(query, source, of)], source.index)[0]
            buckets = answer.get("aggregations", {}).get("1", {}).get("buckets") or []
            found = [Option(str(b.get("key_as_string", b["key"])), str(b["key"])) for b in buckets]
        case "fields":
            wanted = query.get("type") or ""
            fields = cluster.field_types(source.index)
            found = [Option(n, n) for n, t in fields.items() if not wanted or wanted in (t, _KINDS.get(t))]
        case other:
            raise NotEmulated(f"a variable that finds {other!r}")
    return _sorted(
        _by_regex(found, replace(variable.get("regex") or "", values, "regex")), variable.get("sort") or 0
    )


def _by_regex(found: Sequence[Option], regex: str) -> list[Option]:
    if not regex:
        return list(dict.fromkeys(found))
    body, _, flags = regex[1:].rpartition("/") if regex.startswith("/") else (f"^{regex}$", "", "")
    pattern = re.compile(re.sub(r"\(\?<(?![=!])", "(?P<", body), re.IGNORECASE if "i" in flags else 0)
    out: dict[str, Option] = {}
    for option in found:
        if match := pattern.search(option.text):
            groups = match.groupdict()
            value = (
                groups.get("value") or groups.get("text") or (match[1] if match.re.groups else option.value)
            )
            text = groups.get("text") or groups.get("value") or (match[1] if match.re.groups else option.text)
            out.setdefault(value, Option(text, value))
    return list(out.values())


def _sorted(found: list[Option], sort: int) -> list[Option]:
    if sort == 0:
        return found
    if sort > 6:
        raise NotEmulated(f"the variable order {sort}")

    def key(option: Option) -> Any:
        if sort in (3, 4):
            return int((re.search(r"\d+", option.text) or ["-1"])[0])
        return option.text.lower() if sort in (5, 6) else option.text

    return sorted(found, key=key, reverse=sort % 2 == 0)


def ordered(dashboard: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Its variables, each after those that it uses.

    Raises:
        QueryError: they use one another in a circle.
    """
    waiting = {v["name"]: v for v in dashboard.get("templating", {}).get("list") or ()}
    uses = {
        n: references(json.dumps([v.get("query"), v.get("regex")])) & set(waiting) for n, v in waiting.items()
    }
    found: list[Mapping[str, Any]] = []
    while waiting:
        ready = [n for n in waiting if not uses[n] & set(waiting)]
        if not ready:
            raise QueryError(f"the variables {', '.join(waiting)} use one another")
        found += [waiting.pop(n) for n in ready]
    return found


def choose(variable: Mapping[str, Any], found: Sequence[Option], pick: str | None) -> Value:
    """The value of a variable when `pick` is chosen: an option's value, ALL, or None for what it starts with.

    Raises:
        QueryError: it has no such choice.
    """
    several = bool(variable.get("multi"))
    if pick is None:
        pick = ALL if variable.get("includeAll") else found[0].value if found else ""
    if pick == ALL:
        if not variable.get("includeAll"):
            raise QueryError(f"${variable['name']} has no choice of all")
        if variable.get("allValue"):
            return Value(str(variable["allValue"]), raw=True, text="All")
        return Value(tuple(option.value for option in found), text="All")
    return Value((pick,) if several and pick else pick, text=pick)


def resolved(
    dashboard: Mapping[str, Any],
    sources: Mapping[str, Source],
    cluster: Elasticsearch,
    of: Range,
    picks: Mapping[str, str] | None = None,
) -> tuple[dict[str, Value], dict[str, list[Option]]]:
    """The values and the options of all variables; what `picks` does not name has what it starts with.

    Raises:
        QueryError: a query failed, or they use one another in a circle.
        NotEmulated: there is a kind of variable that is not emulated.
    """
    values: dict[str, Value] = {}
    choices: dict[str, list[Option]] = {}
    for variable in ordered(dashboard):
        name, kind = variable["name"], variable["type"]
        pick = (picks or {}).get(name)
        match kind:
            case "query":
                source = sources[uid_of(variable.get("datasource"))]
                choices[name] = options(variable, source, cluster, of, values)
                values[name] = choose(variable, choices[name], pick)
            case "interval" if variable.get("auto") and pick is None:
                choices[name] = _custom(str(variable.get("query") or ""))
                own = interval(of, int(variable["auto_count"]), variable["auto_min"])
                values[name] = Value(own.text, text="auto")
            case "custom" | "interval":
                choices[name] = _custom(str(variable.get("query") or ""))
                values[name] = choose(variable, choices[name], pick)
            case "textbox" | "constant":
                text = pick if pick is not None else str(variable.get("query") or "")
                values[name] = Value(text, text=text)
            case "adhoc":
                continue  # adds to queries instead of standing in them
            case other:
                raise NotEmulated(f"the variable type {other!r}")
    return values, choices


def _custom(query: str) -> list[Option]:
    """`a, text : value, c`; a comma in a choice is written `\\,`."""
    found = []
    for part in re.split(r"(?<!\\),", query):
        text, colon, value = part.replace("\\,", ",").strip().partition(" : ")
        found.append(Option(text.strip(), (value if colon else text).strip()))
    return [option for option in found if option.text]
