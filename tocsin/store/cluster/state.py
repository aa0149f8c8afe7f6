"""The keyed state and the stored files of a cluster: two ordinary indices. Records are written with compare-and-set."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
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

#: A record's version is the primary term, shifted left by this many bits, plus the sequence number.
_TERM = 40
_BASE = "versions_above"
#: Kind and key of the record about the namespace itself. Its value is the version of the views that were set up.
_INSTALLATION = ("installation", "this")
_WRITES = 500  # records in one bulk request
_CHUNK = 6 * 1024 * 1024  # bytes of a file in one document
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
        self._base: int | None = None  # number that is added to all versions of this cluster

    def setup(self, replicas: int) -> None:
        """Create the two indices if they do not exist, and set up the views."""
        settings = {"number_of_shards": 1, "number_of_replicas": replicas}
        for index, mapping in ((self._records, _STATE), (self._files, _KEPT)):
            with store_errors("set up its indices"):
                if not self._client.indices.exists(index=index):
                    with contextlib.suppress(elasticsearch.BadRequestError):  # another process created it
                        self._client.indices.create(index=index, mappings=mapping, settings=settings)
        self._set_up_views()

    def _set_up_views(self) -> None:
        """Add the fields and aliases of the views, and the search fields of records that an older Tocsin wrote."""
        installation = self.get(*_INSTALLATION)
        outdated = installation is None or installation.value["views"] < VERSION
        if outdated:
            aliases = [
                {
                    "index": self._records,
                    "alias": view.alias(self._namespace),
                    "filter": {"term": {"kind": view.kind}},
                }
                for view in VIEWS.values()
            ]
            with store_errors("set up its views"):
                self._client.indices.update_aliases(actions=[{"add": alias} for alias in aliases])
                self._client.indices.put_mapping(index=self._records, properties=_STATE["properties"])
        # Also if the views are current: a worker with an older Tocsin may have written records since.
        for kind in (view.kind for view in VIEWS.values() if view.kind != _INSTALLATION[0]):
            for entry in self.entries(kind, older=True):
                # If this write fails, another process has just written the record.
                self.put(kind, entry.key, entry.value, entry.version)
        if outdated:  # if two processes do this at once, one write fails, but both have set up the views
            version = installation.version if installation else None
            self.put(*_INSTALLATION, {"views": VERSION}, version)

    def get(self, kind: str, key: str) -> Entry | None:
        with store_errors("read the keyed state"):
            try:
                found = self._client.get(index=self._records, id=_record(kind, key)).body
            except elasticsearch.NotFoundError:
                return None
        return self._entry(found)

    def put(self, kind: str, key: str, value: Mapping[str, Any], expected: int | None = None) -> Entry | None:
        document = _document(kind, key, value)
        how: dict[str, Any] = {"op_type": "create"} if expected is None else self._expecting(expected)
        with store_errors("write the keyed state"):
            try:
                done = self._client.index(
                    index=self._records, id=_record(kind, key), document=document, **how
                )
            except elasticsearch.ConflictError:
                return self._written(kind, key, document["write"])
        return Entry(kind, key, document["value"], self._version(done.body))

    def put_all(
        self, kind: str, writes: Sequence[tuple[str, Mapping[str, Any], int | None]]
    ) -> list[Entry | None]:
        """Write in bulk requests. What a request did not write is written alone, which tells a conflict from a fault."""
        done: list[Entry | None] = []
        for start in range(0, len(writes), _WRITES):
            part, operations = writes[start : start + _WRITES], []
            documents = [_document(kind, key, value) for key, value, _ in part]
            for (key, _, expected), document in zip(part, documents, strict=True):
                where: dict[str, Any] = {"_id": _record(kind, key)}
                how = {"create": where} if expected is None else {"index": where | self._expecting(expected)}
                operations += [how, document]
            with store_errors("write the keyed state"):
                items = self._client.bulk(index=self._records, operations=operations).body["items"]
            for write, document, item in zip(part, documents, items, strict=True):
                (result,) = item.values()
                if result["status"] in (200, 201):
                    done.append(Entry(kind, write[0], document["value"], self._version(result)))
                else:
                    done.append(self.put(kind, *write))
        return done

    def _written(self, kind: str, key: str, write: str) -> Entry | None:
        """The record if this write created its current version, otherwise None.

        The client retries a write whose response was lost. The retry conflicts with the write itself.
        """
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
        """The records of a kind, sorted by key. `older` selects records without the search fields of this version."""
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
                position: dict[str, Any] = {} if after is None else {"search_after": after}
                hits = self._client.search(
                    index=self._records,
                    query={"bool": {"filter": filters}},
                    sort=["key"],
                    size=1_000,
                    seq_no_primary_term=True,
                    **position,
                )["hits"]["hits"]
                if not hits:
                    return found
                found += map(self._entry, hits)
                after = hits[-1]["sort"]

    def kinds(self) -> list[str]:
        return [kind for kind in self._values(self._records, "kind") if kind != _INSTALLATION[0]]

    def file_names(self) -> list[str]:
        return self._values(self._files, "name")

    def _values(self, index: str, field: str) -> list[str]:
        """The distinct values of a field, sorted; no values if the index does not exist yet."""
        found: list[str] = []
        position: dict[str, Any] = {}
        with store_errors(f"read {index}"):
            try:
                self._client.indices.refresh(index=index)
            except elasticsearch.NotFoundError:
                return found
            while True:
                hits = self._client.search(
                    index=index, collapse={"field": field}, sort=[field], size=1_000, source=False, **position
                )["hits"]["hits"]
                if not hits:
                    return found
                found += [hit["sort"][0] for hit in hits]
                position["search_after"] = hits[-1]["sort"]

    def raise_versions(self, above: int) -> None:
        # Elasticsearch assigns versions, so the index stores a number that is added to them.
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
        """The version of a record, which increases with every write: a new primary has a higher term."""
        return (int(answer["_primary_term"]) << _TERM | int(answer["_seq_no"])) + self._added()

    def _expecting(self, version: int) -> dict[str, Any]:
        own = version - self._added()
        if own < 1 << _TERM:  # a version from before `raise_versions`: use one that no record has
            own = (2 << _TERM) - 1
        return {"if_primary_term": own >> _TERM, "if_seq_no": own & ((1 << _TERM) - 1)}

    def _entry(self, hit: Mapping[str, Any]) -> Entry:
        source = hit["_source"]
        return Entry(source["kind"], source["key"], source["value"], self._version(hit))

    def save_file(self, name: str, write: Callable[[str], None]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "file"
            write(str(path))
            content = path.read_bytes()
        parts_ = [content[i : i + _CHUNK] for i in range(0, len(content), _CHUNK)] or [b""]
        with store_errors(f"store file {name}"):
            for number, part in enumerate(parts_):
                document = {"name": name, "content": base64.b64encode(part).decode(), "parts": len(parts_)}
                self._client.index(index=self._files, id=f"{name}#{number}", document=document)

    @contextmanager
    def file_path(self, name: str) -> Iterator[str]:
        content, number, count = b"", 0, 1
        with store_errors(f"read file {name}"):
            while number < count:
                try:
                    part = self._client.get(index=self._files, id=f"{name}#{number}")["_source"]
                except elasticsearch.NotFoundError:
                    raise StoreError(f"the store of namespace {self._namespace} has no file {name}") from None
                content += base64.b64decode(part["content"])
                number, count = number + 1, part["parts"]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / Path(name).name
            path.write_bytes(content)
            yield str(path)


def _document(kind: str, key: str, value: Mapping[str, Any]) -> dict[str, Any]:
    """The document of a record. `write` identifies this write if its response is lost."""
    plain = msgspec.json.decode(msgspec.json.encode(value))
    document = {"kind": kind, "key": key, "value": plain, "write": uuid.uuid4().hex, "shown": VERSION}
    return document | facts(kind, plain)


def _record(kind: str, key: str) -> str:
    """The `_id` of a record. A key that is too long for an `_id` is replaced by its digest."""
    name = f"{kind}/{key}"
    return name if len(name.encode()) <= 500 else f"{kind}/{hashlib.sha256(key.encode()).hexdigest()}"
