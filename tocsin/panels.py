"""Panels that a detector declares for its family's dashboard: a few typed kinds, no Grafana in sight.

`tocsin dashboards build` turns each into a panel of Grafana. A description says what to do when it looks wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ScoreOverTime:
    """The detector's score of its worst subjects over time, each subject a line, with the threshold.

    `unit` is one of Grafana's units, such as `none`, `percentunit` or `s`.
    """

    title: str
    description: str
    unit: str = "none"


@dataclass(frozen=True, slots=True)
class Distribution:
    """How a number of a stream is distributed over time, as a heat map with `step` wide buckets."""

    title: str
    description: str
    stream: str
    field: str
    step: float
    unit: str = "none"


@dataclass(frozen=True, slots=True)
class ValueTable:
    """The most frequent combinations of a few keyword fields of a stream, with their number of events.

    `columns` maps field names to headings, the most telling first.
    """

    title: str
    description: str
    stream: str
    columns: Mapping[str, str]
    rows: int = 50


@dataclass(frozen=True, slots=True)
class Network:
    """Who is joined to what: the values of two keyword fields of a stream as nodes, their events as edges."""

    title: str
    description: str
    stream: str
    source: str
    target: str
    edges: int = 200


Panel = ScoreOverTime | Distribution | ValueTable | Network
