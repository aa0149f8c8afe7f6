"""The panels that detectors declare, as rows of their families' dashboards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tocsin.contract.findings import Family
from tocsin.contract.panels import MOST_BUCKETS, Distribution, Network, ScoreOverTime, ValueTable
from tocsin.contract.panels import Panel as Declared
from tocsin.contract.plugin import Detector
from tocsin.errors import InputError
from tocsin_dashboards.asking import STEP, ask, count, ranges, terms
from tocsin_dashboards.kinds import ACCESS, BEHAVIOR, DATASETS, HEALTH, OVERVIEW, USAGE, heat, network, to
from tocsin_dashboards.layout import Board
from tocsin_dashboards.parts import scores
from tocsin_dashboards.tables import listing

#: Where the panels of a family stand.
BOARDS: Mapping[Family, str] = {
    Family.DATA_INTEGRITY: DATASETS,
    Family.MODEL_BEHAVIOR: BEHAVIOR,
    Family.USAGE: USAGE,
    Family.ACCESS: ACCESS,
    Family.HEALTH: HEALTH,
    Family.OTHER: OVERVIEW,
}


def add(boards: Mapping[str, Board], detectors: Sequence[type[Detector[Any]]]) -> None:
    """Add a row for each detector that declares panels."""
    for detector in sorted(detectors, key=lambda d: d.id):
        over = "1h" if BOARDS[detector.family] == HEALTH else STEP  # that board has no choice of a width
        panels = [(12, _panel(detector.id, declared, over)) for declared in detector.panels]
        if panels:
            boards[BOARDS[detector.family]].row(f"Plug-in {detector.id}", *panels)


def _panel(detector: str, declared: Declared, over: str) -> Any:
    link = to(OVERVIEW, "Alerts that came of it")
    title, doc = declared.title, declared.description
    match declared:
        case ScoreOverTime():
            return scores(detector, title=title, doc=doc).unit(declared.unit)
        case Distribution():
            if not 1 <= declared.buckets <= MOST_BUCKETS:
                raise InputError(
                    f"panel {title!r} of detector {detector} has {declared.buckets} buckets from {declared.least} to "
                    f"{declared.most}; see `tocsin plugins check`"
                )
            target = ask(
                declared.stream,
                "",
                [count()],
                [ranges(declared.field, declared.least, declared.most, declared.step)],
                over=over,
            )
            return heat(title, doc, target, link, unit=declared.unit)
        case ValueTable():
            first, *rest = declared.columns
            buckets = [terms(first, declared.rows), *(terms(field, 10) for field in rest)]
            return listing(
                title,
                doc,
                ask(declared.stream, "", [count()], buckets),
                link,
                columns={**declared.columns, "Count": "events"},
            )
        case Network():
            return network(
                title, doc, declared.stream, (declared.source, declared.target), "", link, declared.edges
            )
