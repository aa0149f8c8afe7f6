"""Panels that a detector declares for the dashboard of its family. The types are independent of Grafana.

`tocsin dashboards build` converts each to a Grafana panel. A panel's description says what to do if it shows a problem.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tocsin.contract.streams import Type

#: Maximum number of rows of a heat map. More rows cannot be distinguished, and each costs a filter in the query.
MOST_BUCKETS = 50


@dataclass(frozen=True, slots=True)
class ScoreOverTime:
    """The scores of the subjects with the highest scores over time, one line for each subject, and the threshold.

    `unit` is the id of a Grafana unit, such as `none`, `percentunit` or `s`.
    """

    title: str
    description: str
    unit: str = "none"


@dataclass(frozen=True, slots=True)
class Distribution:
    """The distribution of a numeric field over time, as a heat map with buckets of width `step` from `least` to `most`.

    Values below `least` count in the first bucket, values above `most` in the last.
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
        """Number of rows of the heat map."""
        return round((self.most - self.least) / self.step)


@dataclass(frozen=True, slots=True)
class ValueTable:
    """The most frequent combinations of a few keyword fields of a stream, with their number of events.

    `columns` maps field names to headings, the most important field first.
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
    """A graph: the values of two keyword fields of a stream are the nodes; events with both values are the edges."""

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
    """The stream that a panel reads, and its fields with the types that each may have.

    A `ScoreOverTime` panel has no fields to choose.
    """
    match panel:
        case Distribution():
            return panel.stream, {panel.field: _NUMBERS}
        case ValueTable():
            return panel.stream, dict.fromkeys(panel.columns, _WORDS)
        case Network():
            return panel.stream, dict.fromkeys((panel.source, panel.target), _WORDS)
        case ScoreOverTime():
            return "score", {}
