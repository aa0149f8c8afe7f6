"""Putting the index templates of a namespace into a cluster, and looking whether they are there."""

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
#: What the cluster adds to a template that does not say it.
_FILLED_IN = frozenset({("template.lifecycle.enabled", "true")})


def status(client: elasticsearch.Elasticsearch, wanted: Templates) -> dict[str, str]:
    """For each template: missing, current, older, newer or changed."""
    there = fetched(client, wanted)
    return {
        name: _compared(there[name], template) if name in there else "missing"
        for name, template in wanted.items()
    }


def differences(client: elasticsearch.Elasticsearch, wanted: Templates) -> dict[str, str]:
    """For each template that is not current, a unified diff from what the cluster has to what `setup` would put.

    A line is one setting under its dotted name, so that it says what it is without what stands around it.
    """
    found, all_ = {}, fetched(client, wanted)
    for name, template in wanted.items():
        before, after = _lines(all_[name]) if name in all_ else [], _lines(template)
        if before != after:
            names = (f"{name} (cluster)", f"{name} (this Tocsin)")
            found[name] = "\n".join(difflib.unified_diff(before, after, *names, n=0, lineterm=""))
    return found


def _lines(template: Mapping[str, Any]) -> list[str]:
    """What Tocsin says in a template, one setting a line, in order; not what Elasticsearch fills in itself."""
    owned = {key: template[key] for key in ("index_patterns", "priority", "template") if key in template}
    owned["meta"] = template.get("_meta") or template.get("meta") or {}
    said = sorted(_settings("", owned))
    return [f"{name}: {value}" for name, value in said if (name, value) not in _FILLED_IN]


def _settings(place: str, value: Any) -> Iterator[tuple[str, str]]:
    """Dotted names and values as text: the cluster gives back numbers and truths as texts in some places."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _settings(f"{place}.{key}" if place else key, inner)
    elif isinstance(value, list):
        yield place, ", ".join(map(str, value))
    else:
        yield place, str(value).lower() if isinstance(value, bool) else str(value)


def fetched(client: elasticsearch.Elasticsearch, names: Collection[str]) -> dict[str, dict[str, Any]]:
    """Those of these templates that the cluster has, by name; asked for at once, by the namespace that they share."""
    namespace = next(iter(names)).partition("-")[2]
    with store_errors("read its templates"):
        try:
            answer = client.indices.get_index_template(name=f"*-{namespace}")
        except elasticsearch.NotFoundError:
            return {}
    found = {each["name"]: each["index_template"] for each in answer["index_templates"]}
    return {name: found[name] for name in names if name in found}


def setup(client: elasticsearch.Elasticsearch, wanted: Templates) -> dict[str, str]:
    """Put every template that is missing, older or changed; gives what they were before.

    A template only shapes indices that come after it. The write index of a stream that is there already gets
    the new fields; nothing that it holds is touched.

    Raises:
        StoreError: a template is newer than this Tocsin, or a field has another type in the index.
    """
    before = status(client, wanted)
    newer = [name for name, state in before.items() if state == "newer"]
    if newer:
        raise StoreError(f"template {newer[0]} was written by a newer Tocsin; upgrade this one")
    outdated = [name for name, state in before.items() if state != "current"]
    if outdated:
        with ThreadPoolExecutor(_AT_ONCE) as pool:  # the cluster takes them together
            list(pool.map(lambda name: _put(client, name, wanted[name]), outdated))
    return before


def _put(client: elasticsearch.Elasticsearch, name: str, template: Mapping[str, Any]) -> None:
    with store_errors(f"set up template {name}"):
        client.indices.put_index_template(name=name, **template)
        with contextlib.suppress(elasticsearch.NotFoundError):  # the stream has no index yet
            client.indices.put_mapping(
                index=template["index_patterns"][0],
                properties=template["template"]["mappings"]["properties"],
                write_index_only=True,
            )


def _compared(there: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    said, meta = there.get("_meta") or {}, wanted["meta"]
    if said.get("managed_by") != meta["managed_by"]:
        return "changed"
    if said["version"] != meta["version"]:
        return "newer" if said["version"] > meta["version"] else "older"
    return "current" if _lines(there) == _lines(wanted) else "changed"
