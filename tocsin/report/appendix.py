"""The appendix of a report: p-values, digests and the complete evidence, which the sections above leave out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from tocsin.contract.findings import Outcome
from tocsin.contract.query import COUNT, Condition
from tocsin.report import words
from tocsin.report.accounts import subject_of
from tocsin.report.document import (
    Block,
    Code,
    Details,
    Facts,
    Heading,
    Line,
    Link,
    Paragraph,
    Section,
    Table,
    When,
    minute,
)
from tocsin.report.evidence import complete, measures
from tocsin.report.facts import Facts as Known
from tocsin.worker.app import App

_DETECTOR, _DIGEST = "tocsin.detector.id", "tocsin.baseline.digest"


class Appendix:
    """Collects the findings that the sections of one report describe."""

    def __init__(self) -> None:
        self._findings: dict[str, Mapping[str, Any]] = {}

    def link(self, finding: Mapping[str, Any]) -> Paragraph:
        """A link to this finding's entry, which `section` writes."""
        id = finding["tocsin.finding.id"]
        self._findings.setdefault(id, finding)
        place = list(self._findings).index(id) + 1
        return Paragraph(
            (
                "p-values, digests and complete evidence: ",
                Link(f"appendix, finding {place}", f"finding-{place}"),
            ),
            muted=True,
        )

    def section(self, app: App, facts: Known) -> Section:
        """The section, after all others have called `link`."""
        blocks: list[Block] = [
            Paragraph("This part is for verification. The sections above do not repeat it."),
            Heading("Evidence of the findings described above"),
        ]
        for place, row in enumerate(self._findings.values(), 1):
            blocks.append(_finding(place, row))
        if not self._findings:
            blocks.append(Paragraph("This report describes no finding in detail."))
        return Section(
            "Appendix: p-values, digests and complete evidence", [*blocks, *_baselines(app, facts)]
        )


def _finding(place: int, row: Mapping[str, Any]) -> Details:
    window = minute(row["tocsin.window.start"])
    title = f"Finding {place}: {row[_DETECTOR]}, {words.about(subject_of(row))}, window from {window}"
    pairs: list[tuple[str, Line]] = [("finding", Code(row["tocsin.finding.id"] or ""))]
    pairs += measures(row["tocsin.evidence"])
    return Details(title, [Facts(pairs), *complete(row["tocsin.evidence"])], f"finding-{place}")


def _baselines(app: App, facts: Known) -> Iterator[Block]:
    """The baselines that windows of the period were compared with."""
    yield Heading("Baselines in use")
    used = _used(app, facts)
    if used.is_empty():
        yield Paragraph("No window of this period was compared with a baseline.")
        return
    known = {(v.detector, v.digest): v for v in app.detect.baselines.versions()}
    rows: list[tuple[tuple[str, int], Sequence[Line]]] = []
    for detector, digest, number in used.iter_rows():
        found = known.get((detector, digest))
        which: tuple[Line, Line] = ("–", "no longer stored")
        if found is not None:
            kind = "pinned" if found.pinned else "rolling"
            which = (When(found.start, found.end - found.start), f"{found.number}, {kind}")
        rank = detector, found.number if found else 0
        rows.append((rank, (detector, *which, f"{number:,}", Code(digest))))
    rows.sort(key=lambda row: row[0])
    columns = ("detector", "fitted on", "version", "#windows compared", "digest")
    yield Table(columns, [row for _, row in rows])


def _used(app: App, facts: Known) -> pl.DataFrame:
    """Detector, digest and number of windows. A window can be compared with a pinned and a rolling baseline."""
    end = None if facts.period.open else facts.period.end
    ended = [Condition("event.action", "!=", Outcome.EARLY.value)]
    used = app.store.summarize("run", facts.period.start, end, [_DETECTOR, _DIGEST], [COUNT], ended)
    return (
        used.with_columns(pl.col(_DIGEST).str.split(","))
        .explode(_DIGEST)
        .filter(pl.col(_DIGEST).is_not_null() & (pl.col(_DIGEST) != ""))
        .group_by(_DETECTOR, _DIGEST)
        .agg(pl.col("count").sum())
        .sort(_DETECTOR, _DIGEST)
    )
