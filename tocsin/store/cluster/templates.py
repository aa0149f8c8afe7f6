"""Writes the index templates of a namespace to a cluster, and compares them with the cluster's."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import elasticsearch

from tocsin.errors import StoreError
from tocsin.store.cluster.connection import store_errors

_AT_ONCE = 8
Templates = Mapping[str, Mapping[str, Any]]
#: Defaults that the cluster adds to a template.
_DEFAULTS = frozenset({("template.lifecycle.enabled", "true")})


def status(client: elasticsearch.Elasticsearch, wanted: Templates) -> dict[str, str]:
    """The state of each template: missing, current, older, newer or changed."""
    existing = fetch(client, wanted)
    return {
        name: _compare(existing[name], template) if name in existing else "missing"
        for name, template in wanted.items()
    }


def differences(client: elasticsearch.Elasticsearch, wanted: Templates) -> dict[str, str]:
    """For each template that is not current: a unified diff from the cluster's template to that of `setup`.

    Each line is one setting with its full dotted name, so that it is clear without context lines.
    """
    found, existing = {}, fetch(client, wanted)
    for name, template in wanted.items():
        before, after = _lines(existing[name]) if name in existing else [], _lines(template)
        if before != after:
            names = (f"{name} (cluster)", f"{name} (this Tocsin)")
            found[name] = "\n".join(difflib.unified_diff(before, after, *names, n=0, lineterm=""))
    return found


def _lines(template: Mapping[str, Any]) -> list[str]:
    """The settings of a template that Tocsin writes, one a line, sorted; without the cluster's defaults."""
    owned = {key: template[key] for key in ("index_patterns", "priority", "template") if key in template}
    owned["meta"] = template.get("_meta") or template.get("meta") or {}
    settings = sorted(_settings("", owned))
    return [f"{name}: {value}" for name, value in settings if (name, value) not in _DEFAULTS]


def _settings(place: str, value: Any) -> Iterator[tuple[str, str]]:
    """Dotted names and values as text. The cluster returns some numbers and booleans as text."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _settings(f"{place}.{key}" if place else key, inner)
    elif isinstance(value, list):
        yield place, ", ".join(map(str, value))
    else:
        yield place, str(value).lower() if isinstance(value, bool) else str(value)


def fetch(client: elasticsearch.Elasticsearch, names: Collection[str]) -> dict[str, dict[str, Any]]:
    """The templates among `names` that the cluster has, by name. All names must have the same namespace."""
    namespace = next(iter(names)).partition("-")[2]
    with store_errors("read its templates"):
        try:
            answer = client.indices.get_index_template(name=f"*-{namespace}")
        except elasticsearch.NotFoundError:
            return {}
    found = {each["name"]: each["index_template"] for each in answer["index_templates"]}
    return {name: found[name] for name in names if name in found}


def setup(client: elasticsearch.Elasticsearch, wanted: Templates) -> dict[str, str]:
    """Write every template that is missing, older or changed. Return the state of each template before.

    A template applies only to indices that are created later. The fields that it adds are therefore also added to the
    write index of an existing data stream; existing documents are not changed.

    Raises:
        StoreError: a template is newer than this Tocsin, or a field has another type in the write index.
    """
    before = status(client, wanted)
    newer = [name for name, state in before.items() if state == "newer"]
    if newer:
        raise StoreError(f"template {newer[0]} was written by a newer Tocsin; upgrade Tocsin on this machine")
    outdated = [name for name, state in before.items() if state != "current"]
    if outdated:
        with ThreadPoolExecutor(_AT_ONCE) as pool:  # the cluster combines parallel updates of its state
            list(pool.map(lambda name: _put(client, name, wanted[name]), outdated))
    return before


def _put(client: elasticsearch.Elasticsearch, name: str, template: Mapping[str, Any]) -> None:
    with store_errors(f"set up template {name}"):
        client.indices.put_index_template(name=name, **template)
        with contextlib.suppress(elasticsearch.NotFoundError):  # the data stream does not exist yet
            client.indices.put_mapping(
                index=template["index_patterns"][0],
                properties=template["template"]["mappings"]["properties"],
                write_index_only=True,
            )


def _compare(existing: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    found, meta = existing.get("_meta") or {}, wanted["meta"]
    if found.get("managed_by") != meta["managed_by"]:
        return "changed"
    if found["version"] != meta["version"]:
        return "newer" if found["version"] > meta["version"] else "older"
    return "current" if _lines(existing) == _lines(wanted) else "changed"
