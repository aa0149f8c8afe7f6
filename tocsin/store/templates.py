"""Putting the index templates of a namespace into a cluster, and looking whether they are there."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import elasticsearch

from tocsin.errors import StoreError
from tocsin.store.cluster import told

Templates = Mapping[str, Mapping[str, Any]]


def status(client: elasticsearch.Elasticsearch, wanted: Templates) -> dict[str, str]:
    """For each template: missing, current, older, newer or changed."""
    found = {}
    for name, template in wanted.items():
        there = fetched(client, name)
        found[name] = "missing" if there is None else _compared(there.get("_meta") or {}, template["meta"])
    return found


def fetched(client: elasticsearch.Elasticsearch, name: str) -> dict[str, Any] | None:
    """A template as the cluster has it, or None."""
    with told("read its templates"):
        try:
            answer = client.indices.get_index_template(name=name)
        except elasticsearch.NotFoundError:
            return None
    found: dict[str, Any] = answer["index_templates"][0]["index_template"]
    return found


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
    for name, state in before.items():
        if state == "current":
            continue
        template = wanted[name]
        with told(f"set up template {name}"):
            client.indices.put_index_template(name=name, **template)
            with contextlib.suppress(elasticsearch.NotFoundError):  # the stream has no index yet
                client.indices.put_mapping(
                    index=template["index_patterns"][0],
                    properties=template["template"]["mappings"]["properties"],
                    write_index_only=True,
                )
    return before


def _compared(there: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    if there.get("managed_by") != wanted["managed_by"]:
        return "changed"
    if there["version"] != wanted["version"]:
        return "newer" if there["version"] > wanted["version"] else "older"
    return "current" if there.get("digest") == wanted["digest"] else "changed"
