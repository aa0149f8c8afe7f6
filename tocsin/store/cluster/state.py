"""The keyed state and kept files of a cluster: two ordinary indices, written by compare-and-set."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import elasticsearch
import msgspec

from tocsin.contract.views import VERSION, VIEWS, facts
from tocsin.errors import StoreError
from tocsin.store.cluster.connection import store_errors
from tocsin.store.cluster.mappings import fields
from tocsin.store.protocol import Entry

#: A record's version holds the primary term above so many bits of sequence number.
_TERM = 40
_BASE = "versions_above"
#: The record of the store itself: for which version of the views it was set up. The namespace is found by it.
_SHOWN = ("installation", "this")
_CHUNK = 6 * 1024 * 1024  # bytes of a kept file in one document
_STATE: Mapping[str, Any] = {
    "dynamic": False,
    "properties": {
        "kind": {"type": "keyword"},
        "key": {"type": "keyword"},
        "value": {"type": "object", "enabled": False},
        "shown": {"type": "short"},
        **fields([c for view in VIEWS.values() for c in view.columns], [v.active for v in VIEWS.values()]),
    },
}
_KEPT: Mapping[str, Any] = {"dynamic": False, "properties": {"name": {"type": "keyword"}}}


class ElasticState:
    """Records by kind and key, and files by name, of one namespace."""

    def __init__(self, client: elasticsearch.Elasticsearch, namespace: str) -> None:
        self._client, self._namespace = client, namespace
        self._records, self._files = f"tocsin-state-{namespace}", f"tocsin-files-{namespace}"
        self._base: int | None = None  # what is added to the versions of this cluster

    def setup(self, replicas: int) -> None:
        """Make the two indices where they are not there yet."""
        settings = {"number_of_shards": 1, "number_of_replicas": replicas}
        for index, mapping in ((self._records, _STATE), (self._files, _KEPT)):
            with store_errors("set up its indices"):
                if not self._client.indices.exists(index=index):
                    with contextlib.suppress(elasticsearch.BadRequestError):  # another process was first
                        self._client.indices.create(index=index, mappings=mapping, settings=settings)
        self._show()

    def _show(self) -> None:
        """Let the views be read: fields, aliases, and what records show that were written by an older Tocsin."""
        shown = self.get(*_SHOWN)
        outdated = shown is None or shown.value["views"] < VERSION
        if outdated:
            add = [
                {
                    "index": self._records,
                    "alias": view.alias(self._namespace),
                    "filter": {"term": {"kind": view.kind}},
                }
                for view in VIEWS.values()
            ]
            with store_errors("set up its views"):
                self._client.indices.update_aliases(actions=[{"add": alias} for alias in add])
                self._client.indices.put_mapping(index=self._records, properties=_STATE["properties"])
        for kind in (view.kind for view in VIEWS.values() if view.kind != _SHOWN[0]):
            for entry in self.entries(kind, older=True):  # those too that an older worker wrote just now
                self.put(kind, entry.key, entry.value, entry.version)  # else another wrote it just now
        if outdated:  # of two that do this at once one is refused, and both have shown everything
            self.put(*_SHOWN, {"views": VERSION}, shown.version if shown else None)

    def get(self, kind: str, key: str) -> Entry | None:
        with store_errors("read the keyed state"):
            try:
                found = self._client.get(index=self._records, id=_record(kind, key)).body
            except elasticsearch.NotFoundError:
                return None
        return self._entry(found)

    def put(self, kind: str, key: str, value: Mapping[str, Any], expected: int | None = None) -> Entry | None:
        text = msgspec.json.encode(value)
        write = uuid.uuid4().hex  # tells our own write from another's where its answer was lost
        plain = msgspec.json.decode(text)
        document = {"kind": kind, "key": key, "value": plain, "write": write, "shown": VERSION}
        document |= facts(kind, plain)
        how: dict[str, Any] = {"op_type": "create"} if expected is None else self._expecting(expected)
        with store_errors("write the keyed state"):
            try:
                done = self._client.index(
                    index=self._records, id=_record(kind, key), document=document, **how
                )
            except elasticsearch.ConflictError:
                return self._written(kind, key, write)
        return Entry(kind, key, document["value"], self._version(done.body))

    def _written(self, kind: str, key: str, write: str) -> Entry | None:
        """A record if it is as this write left it: its first answer was lost, and doing it again is a conflict."""
        try:
            found = self._client.get(index=self._records, id=_record(kind, key)).body
        except elasticsearch.NotFoundError:
            return None
        return self._entry(found) if found["_source"].get("write") == write else None

    def delete(self, kind: str, key: str, expected: int) -> bool:
        how: dict[str, Any] = self._expecting(expected)
        with store_errors("write the keyed state"):
            try:
                self._client.delete(index=self._records, id=_record(kind, key), **how)
            except (elasticsearch.ConflictError, elasticsearch.NotFoundError):
                return False
        return True

    def entries(self, kind: str, prefix: str = "", *, older: bool = False) -> list[Entry]:
        """The records of a kind, in order; with `older` only those that do not show what this version shows."""
        filters: list[Any] = [{"term": {"kind": kind}}]
        if older:
            filters.append({"bool": {"must_not": {"range": {"shown": {"gte": VERSION}}}}})
        if prefix:
            filters.append({"prefix": {"key": prefix}})
        found: list[Entry] = []
        after: Any = None
        with store_errors("read the keyed state"):
            self._client.indices.refresh(index=self._records)
            while True:
                asked: dict[str, Any] = {} if after is None else {"search_after": after}
                hits = self._client.search(
                    index=self._records,
                    query={"bool": {"filter": filters}},
                    sort=["key"],
                    size=1_000,
                    seq_no_primary_term=True,
                    **asked,
                )["hits"]["hits"]
                if not hits:
                    return found
                found += map(self._entry, hits)
                after = hits[-1]["sort"]

    def kinds(self) -> list[str]:
        return [kind for kind in self._values(self._records, "kind") if kind != _SHOWN[0]]

    def kept_names(self) -> list[str]:
        return self._values(self._files, "name")

    def _values(self, index: str, field: str) -> list[str]:
        """The different values of a field, in order; none where there is no such index yet."""
        found: list[str] = []
        asked: dict[str, Any] = {}
        with store_errors(f"read {index}"):
            try:
                self._client.indices.refresh(index=index)
            except elasticsearch.NotFoundError:
                return found
            while True:
                hits = self._client.search(
                    index=index, collapse={"field": field}, sort=[field], size=1_000, source=False, **asked
                )["hits"]["hits"]
                if not hits:
                    return found
                found += [hit["sort"][0] for hit in hits]
                asked["search_after"] = hits[-1]["sort"]

    def raise_versions(self, above: int) -> None:
        """The cluster counts versions itself: where that is not enough, the index says what to add to them."""
        if above >= 1 << _TERM and above > self._added():
            with store_errors("set up its indices"):
                self._client.indices.put_mapping(index=self._records, meta={**self._meta(), _BASE: above})
            self._base = None

    def _added(self) -> int:
        if self._base is None:
            self._base = int(self._meta().get(_BASE, 0))
        return self._base

    def _meta(self) -> dict[str, Any]:
        with store_errors("read the keyed state"):
            try:
                (index,) = self._client.indices.get_mapping(index=self._records).values()
            except elasticsearch.NotFoundError:
                return {}
        meta: dict[str, Any] = index["mappings"].get("_meta", {})
        return meta

    def _version(self, answer: Mapping[str, Any]) -> int:
        """A number that rises with every write: a new primary counts on from the old one's sequence."""
        return (int(answer["_primary_term"]) << _TERM | int(answer["_seq_no"])) + self._added()

    def _expecting(self, version: int) -> dict[str, Any]:
        own = version - self._added()
        if own < 1 << _TERM:  # from before versions were raised: no record has it any more
            own = (2 << _TERM) - 1
        return {"if_primary_term": own >> _TERM, "if_seq_no": own & ((1 << _TERM) - 1)}

    def _entry(self, hit: Mapping[str, Any]) -> Entry:
        source = hit["_source"]
        return Entry(source["kind"], source["key"], source["value"], self._version(hit))

    def keep(self, name: str, write: Callable[[str], None]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "file"
            write(str(path))
            content = path.read_bytes()
        parts_ = [content[i : i + _CHUNK] for i in range(0, len(content), _CHUNK)] or [b""]
        with store_errors(f"keep {name}"):
            for number, part in enumerate(parts_):
                document = {"name": name, "content": base64.b64encode(part).decode(), "parts": len(parts_)}
                self._client.index(index=self._files, id=f"{name}#{number}", document=document)

    @contextmanager
    def kept(self, name: str) -> Iterator[str]:
        content, number, count = b"", 0, 1
        with store_errors(f"read {name}"):
            while number < count:
                try:
                    part = self._client.get(index=self._files, id=f"{name}#{number}")["_source"]
                except elasticsearch.NotFoundError:
                    raise StoreError(f"the store of namespace {self._namespace} keeps no {name}") from None
                content += base64.b64decode(part["content"])
                number, count = number + 1, part["parts"]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / Path(name).name
            path.write_bytes(content)
            yield str(path)


def _record(kind: str, key: str) -> str:
    """The `_id` of a state record; a key that is too long for one is digested."""
    name = f"{kind}/{key}"
    return name if len(name.encode()) <= 500 else f"{kind}/{hashlib.sha256(key.encode()).hexdigest()}"
