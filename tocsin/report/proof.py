"""The coverage of a report, which separates "nothing found" from "not evaluated", and notes on how to read it."""

from __future__ import annotations

import platform
import shlex
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import polars as pl

from tocsin.clock import format_time
from tocsin.contract import atlas
from tocsin.contract.query import Condition
from tocsin.contract.streams import TIME
from tocsin.pipeline.detecting import health
from tocsin.pipeline.detecting.coverage import DUE, EMPTY, OPEN, Span
from tocsin.pipeline.detecting.records import newest_findings
from tocsin.report import words
from tocsin.report.document import (
    Block,
    Code,
    Details,
    Facts,
    Heading,
    Line,
    Paragraph,
    Section,
    Table,
    Verbatim,
    When,
)
from tocsin.report.facts import Facts as Known
from tocsin.words import count
from tocsin.worker.app import App

_MISSED, _STRETCHES, _SILENCES, _LETTERS = 15, 80, 15, 8  # rows of a table
_OUTCOMES = {
    "evaluated": "#evaluated",
    "late": "#late",
    "filled": "#filled",
    "skipped": "#skipped",
    "gap": "#gap or failed",
    EMPTY: "#no events",
    DUE: "#due soon",
}
_WORDS = (
    "A detector scores every subject in every window of time. A score at its threshold or above is a finding: "
    "low, or medium, high or critical from the multiples of the threshold that the charts show. About one quiet window "
    "in a hundred has a low finding, by design. Consecutive findings of one detector about one subject form one alert. "
    "An alert of high or above opens an incident, unless the configuration sets another severity. Time to detect runs from "
    "the subject's newest event that the evaluation had read to the first notification. It is a lower bound of the time "
    "from the event that decided. A late window was evaluated again "
    "because events arrived after its first evaluation. A filled window was evaluated after it had "
    "been a gap. Times are UTC."
)
_DETECTOR = "tocsin.detector.id"


def coverage_section(app: App, facts: Known) -> Section:
    """The coverage of the detectors, silent sources and dead letters."""
    summary = (
        f"Of {count(facts.windows, 'window')} with events, {facts.evaluated:,} were evaluated, "
        f"{facts.skipped:,} were skipped and {facts.missed:,} failed or are gaps. Each evaluation leaves a run "
        "record, so a window without findings can be distinguished from one that was not evaluated."
    )
    command = Code(f"tocsin coverage {facts.period.options}")
    missed = [s for s in facts.spans if s.outcome in {"gap", "skipped"}]
    missed.sort(key=lambda s: (s.outcome != "gap", -s.windows, s.start, s.detector))
    return Section(
        "Coverage: which windows were evaluated",
        [
            Paragraph(summary),
            coverage_table(facts.spans, facts.findings),
            *_listed("Windows that were not evaluated", missed, _MISSED, command),
            Details(
                "All periods by detector, with the start of the searched time",
                [*_stretches(facts.spans, _STRETCHES, command)],
            ),
            *_sources(app, facts),
            *_letters(app, facts),
        ],
    )


def coverage_table(spans: Sequence[Span], findings: pl.DataFrame) -> Table:
    """The number of windows of each detector by outcome."""
    by_detector: dict[str, list[Span]] = defaultdict(list)
    for span in spans:
        by_detector[span.detector].append(span)
    found = dict(findings.group_by(_DETECTOR).len().iter_rows())
    heads = {outcome: head for outcome, head in _OUTCOMES.items() if any(s.outcome == outcome for s in spans)}
    rows: list[Sequence[Line]] = []
    for detector, own in sorted(by_detector.items()):
        windows = [sum(s.windows for s in own if s.outcome == outcome) for outcome in heads]
        searched = min((s.searched for s in own if s.searched), default=None)
        figures = (*windows, sum(s.rows for s in own), found.get(detector, 0))
        rows.append((detector, *(f"{n:,}" for n in figures), When(searched) if searched else "–"))
    return Table(("detector", *heads.values(), "#events read", "#findings", "searched back to"), rows)


def _listed(title: str, spans: Sequence[Span], most: int, command: Code) -> Iterator[Block]:
    yield Heading(title)
    if spans:
        yield from _stretches(spans, most, command)
    else:
        yield Paragraph("None: no window was skipped, failed or is a gap.")


def _stretches(spans: Sequence[Span], most: int, command: Code) -> Iterator[Block]:
    ended = [s for s in spans if s.outcome != OPEN]
    rows = [
        (
            s.detector,
            When(s.start, s.end - s.start),
            s.outcome,
            f"{s.windows:,}",
            f"{s.rows:,}",
            When(s.searched) if s.searched else "–",
            s.reason,
        )
        for s in ended[:most]
    ]
    yield Table(
        ("detector", "time", "outcome", "#windows", "#events read", "searched back to", "reason"), rows
    )
    left = words.more(most, ended, "line", "see ")
    if left:
        yield Paragraph((left, command))


def _sources(app: App, facts: Known) -> Iterator[Block]:
    """Sources whose silence exceeded the usual one, and the last event of each source."""
    yield Heading("Sources")
    where = [
        Condition(_DETECTOR, "==", health.ID),
        Condition("tocsin.subject.type", "==", "source"),
        Condition("tocsin.window.start", "<", facts.period.end),
        Condition("tocsin.window.end", ">", facts.period.start),
    ]
    silent = newest_findings(app.store, where)
    rhythms = app.rhythms.all()
    if silent.is_empty():
        yield Paragraph(
            "No source was silent for longer than usual."
            if rhythms
            else "No source has delivered enough events yet to know its usual intervals."
        )
    else:
        last = silent.group_by("tocsin.subject.id", maintain_order=True).agg(
            pl.len().alias("found"), pl.col("tocsin.window.end").min(), pl.col("event.reason").last()
        )
        rows = [
            (id or "", When(first), f"{n:,}", why or "")
            for id, n, first, why in last.head(_SILENCES).iter_rows()
        ]
        yield Table(("silent source", "first found", "#findings", "newest finding"), rows)
        left = words.more(_SILENCES, last, "source", "see ")  # type: ignore[arg-type]
        if left:
            yield Paragraph((left, Code(f"tocsin findings --detector health {facts.period.options}")))
    if rhythms:
        last_events = [
            (r.source, When(r.last), words.delay(r.longest) if r.longest else "unknown") for r in rhythms
        ]
        yield Details(
            "The last event of each source",
            [Table(("source", "last event", "longest silence so far"), last_events)],
        )


def _letters(app: App, facts: Known) -> Iterator[Block]:
    yield Heading("Dead letters")
    if facts.letters.is_empty():
        yield Paragraph("None: no received event was rejected.")
        return
    rows = [
        (stream or "unknown", source or "–", f"{n:,}")
        for stream, source, n in facts.letters.head(_LETTERS).iter_rows()
    ]
    were = "was" if facts.rejected == 1 else "were"
    yield Paragraph(
        f"{count(facts.rejected, 'event')} {were} rejected. The stream dead_letter stores each with its reason."
    )
    yield Table(("stream", "source", "#events"), rows)
    columns = [TIME, "tocsin.dead_letter.position", "error.message", "event.id"]
    some = app.store.scan("dead_letter", facts.period.start, facts.period.end, columns)
    few = some.bottom_k(_LETTERS, by=[TIME, "event.id"]).collect().sort(TIME, "event.id")
    reasons = [(When(time), place or "–", reason or "") for time, place, reason, _ in few.iter_rows()]
    yield Details("The first rejected events", [Table(("time", "position", "reason"), reasons)])
    left = words.more(len(few), facts.rejected, "event", "see ")
    if left:
        yield Paragraph((left, Code(f"tocsin events dead_letter {facts.period.options}")))


def how_to_read(app: App, facts: Known) -> Section:
    """The terms, the blind spots of the detectors, and the origin of the report."""
    return Section(
        "How to read this",
        [
            Paragraph(_WORDS),
            Heading("Blind spots"),
            Paragraph(
                "Each detector documents its blind spots. No detector sees events that no collector ships."
            ),
            Table(("detector", "detects", "blind spots"), [*_blind(app)]),
            Heading("Origin of this report"),
            Facts([*_origin(app, facts)]),
            Paragraph("These commands show the same data:"),
            Verbatim("\n".join(_commands(app, facts))),
        ],
    )


def _blind(app: App) -> Iterator[Sequence[Line]]:
    for setting in app.settings:
        id = setting.detector.id
        yield id, words.purpose(app, id) or "–", words.part(app, id, "Blind spots") or "not documented"


def _origin(app: App, facts: Known) -> Iterator[tuple[str, Line]]:
    yield "from", format_time(facts.period.start)
    yield "to", format_time(facts.period.end)
    yield "written", format_time(app.clock.now())
    yield "store", Code(app.store.place)
    yield "namespace", Code(app.store.namespace)
    yield "configuration", Code(str(app.config.path)) if app.config.path else "defaults"
    yield from versions().items()


def versions() -> Mapping[str, Any]:
    """The versions of the software and of the ATLAS data that made the report."""
    found = {"Python": platform.python_version(), "ATLAS": atlas.version()}
    for package in ("tocsin", "polars", "scikit-learn", "matplotlib"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _commands(app: App, facts: Known) -> Iterator[str]:
    config = f" -c {shlex.quote(str(app.config.path))}" if app.config.path else ""
    for command in ("findings --severity medium", "coverage", "runs"):
        yield f"tocsin{config} {command} {facts.period.options}"
    for command in ("alerts --all", "incidents --all", "baseline list"):
        yield f"tocsin{config} {command}"
