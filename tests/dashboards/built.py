"""The dashboards of tocsin_dashboards, or nothing where they do not exist yet."""

from __future__ import annotations

import functools
import importlib
import importlib.util
from typing import Any

WAITING = "tocsin_dashboards.building has no build yet"


def fresh() -> dict[str, dict[str, Any]]:
    """Every dashboard by its uid, built anew."""
    if not importlib.util.find_spec("tocsin_dashboards.building"):
        return {}
    from tocsin import discovery
    from tocsin.plugin import Detector

    build = getattr(importlib.import_module("tocsin_dashboards.building"), "build", None)
    detectors = discovery.discover().of(Detector).values()  # type: ignore[type-abstract]
    found: dict[str, dict[str, Any]] = build(list(detectors)) if build else {}
    return found


@functools.cache
def dashboards() -> dict[str, dict[str, Any]]:
    """The same, built once."""
    return fresh()
