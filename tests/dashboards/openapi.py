"""Grafana's published HTTP API (AGPL, read from where it lies, never copied): is a request one that it describes?"""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

from jsonschema import Draft4Validator  # type: ignore[import-untyped]
from referencing import Registry
from referencing.jsonschema import DRAFT4

from tests.conftest import ROOT, missing

FILE = ROOT.parent / "shared" / "data" / "grafana" / "openapi3.json"
_PLACE = "urn:grafana"
#: Fields that came after the published file, which is that of Grafana 9.4.
NEWER = {"ProvisionedAlertRule": {"isPaused": {"type": "boolean"}}}
#: The file is made from Go types, and says nothing of those that write themselves: durations are texts and a matcher is
#: `[label, operator, value]`; and the name of this contact point in the code is not that of its label.
CORRECTED: dict[tuple[str, str], Any] = {
    ("ProvisionedAlertRule", "for"): {"type": "string", "pattern": r"^(\d+(ms|[smhdwy]))+$"},
    ("Route", "object_matchers"): {
        "type": "array",
        "items": {"type": "array", "items": {"type": "string"}, "minItems": 3, "maxItems": 3},
    },
    ("EmbeddedContactPoint", "type"): {"enum": ["prometheus-alertmanager"]},
}
#: Nothing but what they name: a misspelt field would do nothing, and nobody would know.
STRICT = (
    "SaveDashboardCommand", "CreateFolderCommand", "AddDataSourceCommand", "AlertRuleGroup", "ProvisionedAlertRule",
    "EmbeddedContactPoint", "AlertQuery", "Route",
)  # fmt: skip


@cache
def spec() -> dict[str, Any]:
    """The description, corrected; skips the test where it is not on this machine."""
    if not FILE.exists():
        missing(f"Grafana's OpenAPI file is not here ({FILE})")
    found: dict[str, Any] = json.loads(FILE.read_text())
    schemas = found["components"]["schemas"]
    for name, fields in NEWER.items():
        assert not fields.keys() & schemas[name]["properties"].keys()
        schemas[name]["properties"] |= fields
    for (name, key), schema in CORRECTED.items():
        assert key in schemas[name]["properties"]
        schemas[name]["properties"][key] = schema
    for name in STRICT:
        schemas[name]["additionalProperties"] = False
    return found


def faults_of(schema: str, body: Any) -> list[str]:
    """What is wrong with a body as the schema of that name has it."""
    return _faults({"$ref": f"#/components/schemas/{schema}"}, body)


def request_faults(method: str, path: str, query: dict[str, list[str]], body: Any) -> list[str]:
    """What is wrong with a request, path (below `/api`), query and body."""
    operation = _operation(method, path)
    if operation is None:
        return [f"no such call: {method} {path}"]
    known = {p["name"]: p["schema"] for p in operation.get("parameters", ()) if p["in"] == "query"}
    found = [f"no such parameter: {name}" for name in query.keys() - known.keys()]
    for name in query.keys() & known.keys():
        values = [_typed(value, known[name].get("items", known[name])) for value in query[name]]
        found += _faults(known[name], values if known[name].get("type") == "array" else values[0])
    described = operation.get("requestBody")
    if body is None:
        return [*found, *(["it has no body"] if described and described.get("required") else [])]
    if described is None:
        return [*found, "it must not have a body"]
    return found + _faults(described["content"]["application/json"]["schema"], body)


def _operation(method: str, path: str) -> dict[str, Any] | None:
    for template, operations in sorted(spec()["paths"].items(), key=lambda item: item[0].count("{")):
        # Alerting's paths stand with the server's `/api` in the file.
        pattern = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(template.removeprefix("/api")))
        if re.fullmatch(pattern, path) and method.lower() in operations:
            found: dict[str, Any] = operations[method.lower()]
            return found
    return None


def _typed(value: str, schema: dict[str, Any]) -> Any:
    match schema.get("type"):
        case "integer":
            return int(value) if value.lstrip("-").isdigit() else value
        case "boolean":
            return {"true": True, "false": False}.get(value, value)
    return value


def _faults(schema: dict[str, Any], body: Any) -> list[str]:
    within = {"$ref": f"{_PLACE}{schema['$ref']}"} if "$ref" in schema else schema
    checked = Draft4Validator(within, registry=_registry())
    return [f"{e.json_path}: {e.message[:200]}" for e in checked.iter_errors(body)]


@cache
def _registry() -> Registry[Any]:
    return Registry().with_resource(_PLACE, DRAFT4.create_resource(spec())).crawl()
