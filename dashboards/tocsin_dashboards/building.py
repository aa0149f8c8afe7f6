"""All dashboards as Grafana's JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tocsin.contract.plugin import Detector


def build(detectors: Sequence[type[Detector[Any]]] = ()) -> dict[str, dict[str, Any]]:
    """Every dashboard by its uid, with the panels that detectors declare in those of their families."""
    from tocsin_dashboards import boards, declared

    found = {board.uid: board for board in (module.build() for module in boards.ALL)}
    declared.add(found, detectors)
    return {uid: board.build() for uid, board in sorted(found.items())}
