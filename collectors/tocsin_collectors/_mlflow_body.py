r"""The names in the body of a request to MLflow's registry, from an access log that contains it.

`deploy/nginx` logs the bodies of the registry's routes, and of no others. nginx escapes quotation marks, backslashes and
bytes outside of printable ASCII as `\xHH`. The log keeps only the beginning of a long body.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

#: The keys of a body that name a resource; all others are left out of the event.
NAMES = ("name", "version", "alias", "stage")

_ROUTE = re.compile(r"/(?:ajax-)?api/\d+\.\d+/mlflow/(?:registered-models|model-versions)(?:/|$)")
_ESCAPED = re.compile(rb"\\x([0-9A-Fa-f]{2})")
_PAIR = re.compile(r'"(name|version|alias|stage)"\s*:\s*("(?:[^"\\]|\\.)*"|\d+)')
_LONGEST = 1_000


def with_body(method: str, path: str, query: Mapping[str, str], body: str) -> dict[str, str]:
    """The parameters of a request: those of its query, and the names in its body.

    MLflow reads the query of a GET that has one, and the body of all other requests. In a body, the last of several equal
    keys counts.

    Args:
        method: of the request.
        path: of the request, decoded. Only bodies of the registry's routes are read.
        query: the parameters of the query that name a resource.
        body: as it is in the log; it may end anywhere.
    """
    found = dict(query)
    if not body or not _ROUTE.search(path) or (method == "GET" and query):
        return found
    return {
        **found,
        **_names(_ESCAPED.sub(lambda m: bytes([int(m[1], 16)]), body.encode()).decode("utf-8", "replace")),
    }


def _names(text: str) -> dict[str, str]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        pairs = [(key, json.loads(found)) for key, found in _PAIR.findall(text) if _is_json(found)]
        value = dict(pairs)
    if not isinstance(value, dict):
        return {}
    return {
        key: str(value[key])[:_LONGEST]
        for key in NAMES
        if isinstance(value.get(key), str | int) and not isinstance(value[key], bool)
    }


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
