"""The dashboards of tocsin_dashboards, or nothing where they do not exist yet."""

from __future__ import annotations

import functools
import importlib
import importlib.util
from typing import Any

WAITING = "tocsin_dashboards.building has no build yet"


def declaring() -> Any:
    """A detector of a plug-in that declares a panel of each kind."""
    from tocsin.contract.findings import Family
    from tocsin.contract.panels import Distribution, Network, ScoreOverTime, ValueTable
    from tocsin.contract.plugin import Detector, NoParams

    description = "What it says, and what somebody should do about it when it looks wrong."
    calls = {"user.id": "principal", "tocsin.model.name": "model"}

    class QueryBudget(Detector[NoParams]):
        id = "query_budget"  # its scores are there
        family = Family.USAGE
        panels = (
            ScoreOverTime("Scores of a plug-in", description),
            Distribution("Answers by a plug-in", description, "inference", "tocsin.output.score", 0.1),
            ValueTable("Who asks what, by a plug-in", description, "inference", calls),
            Network("Who reads what, by a plug-in", description, "access", "user.id", "tocsin.resource.id"),
        )

    return QueryBudget


def fresh() -> dict[str, dict[str, Any]]:
    """Every dashboard by its uid, built anew."""
    if not importlib.util.find_spec("tocsin_dashboards.building"):
        return {}
    from tocsin.config import discovery
    from tocsin.contract.plugin import Detector

    build = getattr(importlib.import_module("tocsin_dashboards.building"), "build", None)
    detectors = discovery.discover().of(Detector).values()  # type: ignore[type-abstract]
    found: dict[str, dict[str, Any]] = build([*detectors, declaring()]) if build else {}
    return found


@functools.cache
def dashboards() -> dict[str, dict[str, Any]]:
    """The same, built once."""
    return fresh()
