"""compose.yaml, as the tests of the deployment read it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import yaml

from tests.conftest import ROOT

DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
JOBS = {"secrets", "setup"}
LASTING = sorted(SERVICES.keys() - JOBS)
OURS = sorted(name for name, s in SERVICES.items() if s["image"].startswith("tocsin:"))
PROFILES = {
    "small": {"secrets", "setup", "elasticsearch", "worker-1", "mailpit"},
    "full": set(SERVICES),
}
LOADER = "v2.16.2"


def mounted(service: str) -> dict[str, tuple[str, bool]]:
    """Target → (source, may it be written to)."""
    found = {}
    for mount in SERVICES[service].get("volumes", []):
        source, target, *rest = re.sub(r"\$\{[^}]*:-([^}]*)\}", r"\1", mount).split(":")
        found[target] = (source, rest != ["ro"])
    return found


def network(name: str) -> Mapping[str, Any]:
    return COMPOSE["networks"][name] or {}


def role(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DEPLOY / "roles" / f"{name}.json").read_text())
    return found
