"""What provisioning would do to one thing in Grafana, and how two versions of it differ."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

#: added, changed: a push writes it. kept: it differs and stays as it is. removed: no longer built, goes with `--prune`.
State = Literal["added", "changed", "unchanged", "kept", "removed"]
#: Where the built dashboards lie in Tocsin's repository; a patch names its files so.
FOLDER = "dashboards/tocsin_dashboards/grafana"
#: What Grafana itself keeps in a dashboard, and another value at every save.
_GRAFANAS = frozenset({"id", "version", "iteration"})


@dataclass(frozen=True, slots=True)
class Change:
    """One thing in Grafana beside what is built; `apply` makes the difference go away, and gives what came of it."""

    kind: Literal["dashboard", "data source", "alert rules", "contact point", "policy"]
    uid: str
    title: str
    state: State
    reason: str = ""
    diff: str = ""
    apply: Callable[[], Change] | None = None

    def but(self, state: State, reason: str = "") -> Change:
        """The same in another state, with nothing left to do."""
        return dataclasses.replace(self, state=state, reason=reason, apply=None)

    def row(self) -> dict[str, str]:
        """All but `apply`, for the command line."""
        return {name: getattr(self, name) for name in ("state", "kind", "uid", "title", "reason", "diff")}


def text(dashboard: Mapping[str, Any]) -> str:
    """A dashboard as JSON for people and for files: keys in order, without what Grafana numbers itself."""
    kept = {key: value for key, value in dashboard.items() if key not in _GRAFANAS}
    return json.dumps(kept, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def digest(dashboard: Mapping[str, Any]) -> str:
    """Twelve hexadecimal digits of SHA-256 that are the same for dashboards of equal `text`."""
    return hashlib.sha256(text(dashboard).encode()).hexdigest()[:12]


def difference(name: str, have: str, want: str) -> str:
    """A unified diff that leads from `have` to `want`; empty where they are equal."""
    return "".join(difflib.unified_diff(_lines(have), _lines(want), f"a/{name}", f"b/{name}"))


def patch(uid: str, built: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """What `git apply` takes in Tocsin's repository to turn a built dashboard's file into what Grafana has."""
    name = f"{FOLDER}/{uid}.json"
    changed = difference(name, text(built), text(found))
    return f"diff --git a/{name} b/{name}\n{changed}" if changed else ""


def within(wanted: Any, found: Any) -> bool:
    """Whether Grafana's answer says all that was wanted; what it adds of its own does not count."""
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        return all(key in found and within(value, found[key]) for key, value in wanted.items())
    if isinstance(wanted, list) and isinstance(found, list):
        return len(wanted) == len(found) and all(map(within, wanted, found))
    return bool(wanted == found)


def _lines(text: str) -> list[str]:
    # `splitlines` would also split at characters that may stand inside a JSON string.
    return [f"{line}\n" for line in text.split("\n")[:-1]]
