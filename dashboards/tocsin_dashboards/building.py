"""Every dashboard by its uid; a stand-in until the builders are there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tocsin.plugin import Detector


def build(detectors: Sequence[type[Detector[Any]]]) -> dict[str, dict[str, Any]]:
    """Classic dashboards (schemaVersion 42) by uid, for the detectors that there are."""
    panels = [
        {"id": n, "type": "stat", "title": d.id, "gridPos": {"x": 0, "y": 4 * n, "w": 24, "h": 4}}
        for n, d in enumerate(detectors, 1)
    ]
    return {
        uid: {"uid": uid, "title": title, "tags": ["tocsin"], "schemaVersion": 42, "panels": panels}
        for uid, title in {"tocsin-health": "Tocsin: health"}.items()
    }
