"""A namespace of a real cluster in which the demo was lived through, for the dashboards to show."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tests.dashboards.cluster import Elasticsearch
from tests.dashboards.datasources import of_tocsin
from tests.dashboards.ranges import Range
from tocsin.demo.attacks import week_start
from tocsin.demo.lender import START, WEEKS

#: A namespace that holds the demo already: then it is not told again.
TOLD = os.environ.get("TOCSIN_TEST_DASHBOARDS_NAMESPACE", "")


@dataclass(frozen=True, slots=True)
class Filled:
    """Where the story is, and which time it fills."""

    cluster: Elasticsearch
    namespace: str
    range: Range


def fill(url: str, folder: Path) -> Filled:
    """Live through the demo in a namespace of its own."""
    from tocsin.demo.story import live

    namespace = TOLD
    if not namespace:
        app, _ = live(folder / "demo", 1, lambda _: None, url)
        namespace = app.config.namespace
        app.close()
    found = Filled(
        Elasticsearch(url), namespace, Range(_ms(START), _ms(week_start(START, WEEKS)) + 3_600_000)
    )
    for source in of_tocsin(found.namespace).values():
        found.cluster.refresh(source.index)
    return found


def _ms(time: datetime) -> int:
    return int(time.timestamp() * 1000)
