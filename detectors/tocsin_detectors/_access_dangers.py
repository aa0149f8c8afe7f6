"""Actions of clouds and registries that are dangerous whoever does them: a bundled prior, which needs no history.

`data/dangers.csv` lists actions by their consequence. It was compiled from public descriptions of what the actions do: the
cloud techniques of MITRE ATT&CK v16 (a technique in each row), the service authorization reference of AWS (access level
"permissions management"), section 4 of the CIS AWS Foundations Benchmark 1.5, public lists of ways to raise privileges
in AWS IAM (Rhino Security Labs 2018), and the audit logs of Google Cloud and Azure.

Points are thresholds: 2 if the action alone hides, opens, destroys or takes over; 1.5 if it gives lasting access or reads
secrets; 1 if it is seldom honest; 0.5 if it says something only beside other signs. `when` is a regular expression that the
request must match, or, if the consequence is exposure, the request names another account; with `raised`, a match raises the
points instead. `many`: this number of different resources of a window.
"""

from __future__ import annotations

import csv
import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import msgspec

#: The part of a CloudTrail record that was requested, and the type of who requested it.
_ASKED = re.compile(r"\.requestParameters\.|\.userIdentity\.type$")
_ACCOUNT = re.compile(r"(?<![\w.-])\d{12}(?![\w.-])")
_VERSION = re.compile(r"20\d\d_?\d\d_?\d\d(_?v\d+)?$")


@dataclass(frozen=True, slots=True)
class Danger:
    """A row of the table."""

    action: str
    service: str
    consequence: str
    points: float
    many: int
    when: re.Pattern[str] | None
    raised: float | None
    technique: str


@functools.cache
def table() -> Mapping[str, tuple[Danger, ...]]:
    """The dangerous actions by their key."""
    text = files("tocsin_detectors").joinpath("data/dangers.csv").read_text(encoding="utf-8")
    result: dict[str, tuple[Danger, ...]] = {}
    for row in csv.DictReader(text.splitlines()):
        danger = Danger(
            row["action"],
            row["service"],
            row["consequence"],
            float(row["points"]),
            int(row["many"] or 1),
            re.compile(row["when"]) if row["when"] else None,
            float(row["raised"]) if row["raised"] else None,
            row["technique"],
        )
        key = _key(danger.action)
        result[key] = (*result.get(key, ()), danger)
    return result


def _key(action: str) -> str:
    return re.sub(r"[^a-z]", "", _VERSION.sub("", action).lower())


@functools.lru_cache(maxsize=65_536)
def danger(action: str, provider: str | None) -> Danger | None:
    """The entry of an action: of the whole name, or of its last part (`…ConfigServiceV2.DeleteSink`)."""
    for name in (action, re.split(r"[./:]", action)[-1]):
        for found in table().get(_key(name), ()):
            if not found.service or found.service in (provider or ""):
                return found
    return None


def dangerous(pairs: Iterable[tuple[str, str | None]]) -> list[str]:
    """Of pairs of action and provider, the names of the dangerous actions."""
    return sorted({action for action, provider in pairs if danger(action, provider) is not None})


def conditional(pairs: Iterable[tuple[str, str | None]]) -> list[str]:
    """Of pairs of action and provider, the names of the actions that are dangerous only under a condition."""
    found = ((action, danger(action, provider)) for action, provider in pairs)
    return sorted({action for action, entry in found if entry is not None and entry.when is not None})


def fulfilled(entry: Danger, unmapped: str) -> bool:
    """Whether a request fulfills the condition of an entry.

    Args:
        entry: with a condition.
        unmapped: the unmapped fields of an event, as JSON.
    """
    fields: dict[str, Any] = msgspec.json.decode(unmapped)
    asked = {name: value for name, value in fields.items() if _ASKED.search(name)} or fields
    text = msgspec.json.encode(asked).decode()
    if entry.when is not None and entry.when.search(text):
        return True
    own = {str(value) for name, value in fields.items() if name.endswith("ccountId")}
    named = set(_ACCOUNT.findall(text)) if entry.consequence == "exposure" and own else set()
    return bool(named - own)


def listed(action: str) -> bool:
    """Whether the table has an action of this name, of any service."""
    return any(_key(name) in table() for name in (action, re.split(r"[./:]", action)[-1]))
