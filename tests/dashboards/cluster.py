"""The wire to Elasticsearch: the few requests that Grafana makes, and its errors as exceptions."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.dashboards.requests import Json, msearch


class QueryError(Exception):
    """The cluster refused a query, or some of its shards failed."""


@dataclass(frozen=True, slots=True)
class Elasticsearch:
    """A cluster as Grafana's proxy reaches it."""

    url: str
    cache: bool = True  # False: the shards' request cache is left out, for measuring

    def msearch(self, bodies: Sequence[Mapping[str, Any]], index: str) -> list[Json]:
        """The answers to all bodies, sent in one request.

        Raises:
            QueryError: one of them failed, on any shard.
        """
        text = msearch(map(dict, bodies), index)
        if not self.cache:
            text = text.replace('"search_type"', '"request_cache": false, "search_type"')
        answers: list[Json] = self._ask("_msearch?max_concurrent_shard_requests=5", text)["responses"]
        for answer in answers:
            failures = answer.get("_shards", {}).get("failures") or []
            if "error" in answer or failures:
                raise QueryError(_reason(answer.get("error") or failures[0]))
        return answers

    def field_types(self, index: str) -> dict[str, str]:
        """The fields of an index pattern and their types, as its mappings have them."""
        found: dict[str, str] = {}
        for one in self._ask(f"{index}/_mapping?ignore_unavailable=true").values():
            _collect(one["mappings"].get("properties") or {}, "", found)
        return found

    def refresh(self, index: str) -> None:
        """Make all that was written to an index findable; nothing where there is none."""
        self._ask(f"{index}/_refresh?ignore_unavailable=true", "")

    def _ask(self, path: str, body: str | None = None) -> Any:
        data = None if body is None else body.encode()
        request = urllib.request.Request(f"{self.url}/{path}", data, {"Content-Type": "application/x-ndjson"})
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise QueryError(f"{path}: {error.code} {error.read().decode(errors='replace')[:500]}") from None


def _collect(properties: Mapping[str, Any], above: str, found: dict[str, str]) -> None:
    for name, field in properties.items():
        if "properties" in field:
            _collect(field["properties"], f"{above}{name}.", found)
        else:
            found[f"{above}{name}"] = field["type"]


def _reason(error: Any) -> str:
    causes = error.get("root_cause") or [error.get("reason", error)]
    return json.dumps([error.get("type"), causes, error.get("caused_by")], ensure_ascii=False)[:900]
