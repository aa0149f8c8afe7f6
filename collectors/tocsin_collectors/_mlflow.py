"""The registry action of a request to MLflow's REST API, from its method, path and query.

Source: MLflow 3.x REST API and artifact proxy (`/api/2.0/mlflow/…`, `/ajax-api/…`, `mlflow-artifacts`,
`get-artifact`). Without the bodies (`deploy/nginx`), the log of a POST often gives only the type of its resource.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple


class Request(NamedTuple):
    """An action and its resource."""

    action: str
    type: str
    id: str | None = None
    version: str | None = None


#: The query parameters that name a resource. The event contains no others.
KEPT = frozenset({
    "name", "version", "alias", "stage", "key", "path", "run_id", "run_uuid", "experiment_id",
    "experiment_name", "model_id", "artifact_path",
})  # fmt: skip

_REST = re.compile(r"/(?:ajax-)?api/\d+\.\d+/mlflow/(?P<family>[\w-]+)(?:/(?P<rest>.*))?$")
_PROXY = re.compile(
    r"/(?:ajax-)?api/\d+\.\d+/mlflow-artifacts/(?P<kind>artifacts|mpu/\w+)(?:/(?P<rest>.*))?$"
)
_GET = re.compile(r"/(?P<family>model-versions/)?get-artifact$")
_LOGGED_MODEL = re.compile(r"(?:^|/)models/(m-[^/]+)")
_RUN = re.compile(r"(?:^|/)(?P<run>[^/]+)/artifacts(?:/(?P<top>[^/]+))?")

_TYPES = {
    "registered-models": "model",
    "model-versions": "model_version",
    "logged-models": "model",
    "experiments": "experiment",
    "runs": "run",
    "metrics": "run",
    "artifacts": "artifact",
    "upload-artifact": "artifact",
    "get-trace-artifact": "artifact",
    "traces": "trace",
    "users": "user",
    "roles": "role",
    "webhooks": "webhook",
    "permissions": "permission",
}
_VERBS = {
    "create": "create",
    "get-or-create": "create",
    "update": "update",
    "rename": "update",
    "finalize": "update",
    "restore": "update",
    "update-password": "update",
    "update-admin": "update",
    "grant": "grant",
    "assign": "grant",
    "revoke": "revoke",
    "unassign": "revoke",
    "delete": "delete",
    "get": "read",
    "get-by-name": "read",
    "get-latest-versions": "read",
    "get-history": "read",
    "search": "search",
    "list": "search",
    "get-download-uri": "download",
    "transition-stage": "promote",
    "set-tag": "set_tag",
    "set-experiment-tag": "set_tag",
    "tags": "set_tag",
    "delete-tag": "delete_tag",
    "upload-artifact": "upload",
    "get-trace-artifact": "download",
}
_METHODS = {"GET": "read", "HEAD": "read", "POST": "update", "PUT": "update", "PATCH": "update"}
_PROXIED = {"PUT": "upload", "POST": "upload", "DELETE": "delete", "HEAD": "read"}
_ALIAS = {"GET": "read", "POST": "promote", "DELETE": "delete_alias"}


def registry_request(method: str, path: str, query: Mapping[str, str]) -> Request | None:
    """The registry action of a request, or None if the path does not belong to MLflow."""
    if match := _PROXY.search(path):
        return _proxy(method, match["kind"], match["rest"] or "", query)
    if match := _GET.search(path):
        if match["family"]:
            return Request("download", "model_version", query.get("name"), query.get("version"))
        run = query.get("run_id") or query.get("run_uuid")
        return _artifact("download", f"{run}/artifacts/{query.get('path', '')}" if run else "")
    if match := _REST.search(path):
        return _rest(method, match["family"], (match["rest"] or "").split("/"), query)
    return None


def _rest(method: str, family: str, rest: list[str], query: Mapping[str, str]) -> Request:
    verb = rest[-1] or family
    if "permissions" in rest:
        return Request(_VERBS.get(verb, _METHODS.get(method, "delete")), "permission", query.get("name"))
    if verb == "alias":
        return Request(_ALIAS.get(method, "update"), "model", query.get("name"), query.get("alias"))
    type_ = _TYPES.get(family, family.replace("-", "_"))
    if family == "logged-models":
        return _logged_model(method, rest)
    action = _VERBS.get(verb) or ("delete" if method == "DELETE" else _METHODS.get(method, method.lower()))
    return Request(action, type_, _id(query, type_), query.get("version"))


def _logged_model(method: str, rest: list[str]) -> Request:
    model = rest[0] if rest[0].startswith("m-") else None
    if "files" in rest:
        action = "download"
    elif "directories" in rest or "search" in rest:
        action = "search"
    elif method == "POST" and model is None:
        action = "create"
    elif "tags" in rest:
        action = "delete_tag" if method == "DELETE" else "set_tag"
    else:
        action = "delete" if method == "DELETE" else _METHODS.get(method, method.lower())
    return Request(action, "model", model)


def _proxy(method: str, kind: str, rest: str, query: Mapping[str, str]) -> Request:
    if kind != "artifacts":
        action = "upload"
    elif method == "GET":
        action = "search" if not rest or "path" in query else "download"
    else:
        action = _PROXIED.get(method, method.lower())
    return _artifact(action, rest or query.get("path", ""))


def _artifact(action: str, path: str) -> Request:
    """The resource of a path: a logged model by its id, an artifact of a run by the run and its topmost name.

    All files below the topmost name are one resource.
    """
    if match := _LOGGED_MODEL.search(path):
        return Request(action, "model", match[1])
    if match := _RUN.search(path):
        return Request(action, "artifact", "/".join(part for part in (match["run"], match["top"]) if part))
    return Request(action, "artifact", path or None)


def _id(query: Mapping[str, str], type_: str) -> str | None:
    if type_ in ("model", "model_version"):
        return query.get("name")
    names = ("run_id", "run_uuid", "experiment_id", "experiment_name", "name")
    return next((query[name] for name in names if name in query), None)
