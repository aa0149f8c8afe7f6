"""Panels that a detector declares for its family's dashboard: a few typed kinds, no Grafana in sight.

`tocsin dashboards build` turns each into a panel of Grafana. A description says what to do when it looks wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tocsin.contract.streams import Type

#: Rows of a heat map: more of them nobody can tell apart, and each is a filter.
MOST_BUCKETS = 50


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
    """How a number of a stream is distributed over time, as a heat map with `step` wide buckets from `least` to `most`.

    What lies below or above is in the first and in the last one.
    """

    title: str
    description: str
    stream: str
    field: str
    step: float
    unit: str = "none"
    least: float = 0.0
    most: float = 1.0

    def __post_init__(self) -> None:
        if self.step <= 0:
            raise ValueError(f"panel {self.title!r}: step is {self.step}; it must be > 0")
        if not 0 <= self.least < self.most:
            raise ValueError(
                f"panel {self.title!r}: least is {self.least}; it must be ≥ 0 and < most, {self.most}"
            )

    @property
    def buckets(self) -> int:
        """Rows of the heat map."""
        return round((self.most - self.least) / self.step)


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

    def __post_init__(self) -> None:
        if self.rows < 1:
            raise ValueError(f"panel {self.title!r}: rows is {self.rows}; it must be ≥ 1")


@dataclass(frozen=True, slots=True)
class Network:
    """Who is joined to what: the values of two keyword fields of a stream as nodes, their events as edges."""

    title: str
    description: str
    stream: str
    source: str
    target: str
    edges: int = 200

    def __post_init__(self) -> None:
        if self.edges < 10:
            raise ValueError(f"panel {self.title!r}: edges is {self.edges}; it must be ≥ 10")


Panel = ScoreOverTime | Distribution | ValueTable | Network

_NUMBERS = (Type.LONG, Type.DOUBLE)
_WORDS = (Type.KEYWORD, Type.KEYWORDS, Type.BOOLEAN, Type.IP, Type.LONG)


def fields(panel: Panel) -> tuple[str, dict[str, tuple[Type, ...]]]:
    """The stream that a panel shows and the fields of it, each with the types that fit; none for a detector's own scores."""
    match panel:
        case Distribution():
            return panel.stream, {panel.field: _NUMBERS}
        case ValueTable():
            return panel.stream, dict.fromkeys(panel.columns, _WORDS)
        case Network():
            return panel.stream, dict.fromkeys((panel.source, panel.target), _WORDS)
        case ScoreOverTime():
            return "score", {}
