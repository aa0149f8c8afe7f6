"""What was looked at, so that silence can be told from not having looked; and what a reader has to know of it."""

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
from tocsin.contract.query import COUNT, Condition
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
from tocsin.worker.app import App

_MISSED, _STRETCHES, _SILENCES, _LETTERS = 15, 80, 15, 8  # lines
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
    "low to 1.5 times the threshold, medium to 2, high to 3, critical above. About one quiet window in a hundred "
    "is low; that is by design. Findings of a detector about a subject that follow each other are one alert; "
    "from high on, unless configured otherwise, an alert opens an incident. Time to detect is counted from the "
    "start of the first window with a finding: it is the longest that something can have gone unnoticed since. "
    "A window is late where it was evaluated again for events that came after, and filled where it was "
    "evaluated after a gap. Times are UTC."
)
_DETECTOR, _DIGEST = "tocsin.detector.id", "tocsin.baseline.digest"


def coverage_section(app: App, facts: Known) -> Section:
    """Coverage, silent sources and dead letters."""
    said = (
        f"Of {words.count(facts.windows, 'window')} that held events {facts.evaluated:,} were evaluated, "
        f"{facts.skipped:,} were skipped and {facts.missed:,} failed or are gaps. Every evaluation left a "
        "record, so that silence can be told from not having looked."
    )
    command = Code(f"tocsin coverage {facts.period.options}")
    missed = [s for s in facts.spans if s.outcome in {"gap", "skipped"}]
    missed.sort(key=lambda s: (s.outcome != "gap", -s.windows, s.start, s.detector))
    return Section(
        "What was looked at",
        [
            Paragraph(said),
            coverage_table(facts.spans, facts.findings),
            *_listed("What was not looked at", missed, _MISSED, command),
            Details(
                "Every stretch of time, and from when on it was searched",
                [*_stretches(facts.spans, _STRETCHES, command)],
            ),
            *_sources(app, facts),
            *_letters(app, facts),
        ],
    )


def coverage_table(spans: Sequence[Span], findings: pl.DataFrame) -> Table:
    """How many windows of each detector came out how."""
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
        yield Paragraph("Nothing: no window was skipped, failed or forgotten.")


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
    yield Table(("detector", "time", "outcome", "#windows", "#events read", "searched back to", "why"), rows)
    left = words.more(most, ended, "line", "see ")
    if left:
        yield Paragraph((left, command))


def _sources(app: App, facts: Known) -> Iterator[Block]:
    """Sources that were silent for longer than they ever are, and when each was heard last."""
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
            "No source was silent for longer than it ever is."
            if rhythms
            else "No source has a rhythm that is known yet."
        )
    else:
        last = silent.group_by("tocsin.subject.id", maintain_order=True).agg(
            pl.len().alias("found"), pl.col("tocsin.window.end").min(), pl.col("event.reason").last()
        )
        rows = [
            (id or "", When(first), f"{n:,}", why or "")
            for id, n, first, why in last.head(_SILENCES).iter_rows()
        ]
        yield Table(("source that fell silent", "first noticed", "#times said", "how long in the end"), rows)
        left = words.more(_SILENCES, last, "source", "see ")  # type: ignore[arg-type]
        if left:
            yield Paragraph((left, Code(f"tocsin findings --detector health {facts.period.options}")))
    if rhythms:
        heard = [
            (r.source, When(r.last), words.delay(r.longest) if r.longest else "not known yet")
            for r in rhythms
        ]
        yield Details(
            "When each source was heard last",
            [Table(("source", "last heard", "longest silence so far"), heard)],
        )


def _letters(app: App, facts: Known) -> Iterator[Block]:
    yield Heading("Dead letters")
    if facts.letters.is_empty():
        yield Paragraph("Every event that came could be taken in.")
        return
    rows = [
        (stream or "unknown", source or "–", f"{n:,}")
        for stream, source, n in facts.letters.head(_LETTERS).iter_rows()
    ]
    yield Paragraph(
        f"{words.count(facts.rejected, 'event')} could not be taken in; each is kept with its reason."
    )
    yield Table(("meant for", "source", "#events"), rows)
    columns = [TIME, "tocsin.dead_letter.position", "error.message", "event.id"]
    some = app.store.scan("dead_letter", facts.period.start, facts.period.end, columns)
    few = some.bottom_k(_LETTERS, by=[TIME, "event.id"]).collect().sort(TIME, "event.id")
    why = [(When(time), place or "–", reason or "") for time, place, reason, _ in few.iter_rows()]
    yield Details("The first of them", [Table(("when", "where", "why"), why)])
    left = words.more(len(few), facts.rejected, "event", "see ")
    if left:
        yield Paragraph((left, Code(f"tocsin events dead_letter {facts.period.options}")))


def how_to_read(app: App, facts: Known) -> Section:
    """What the words mean, what no detector can see, and what this report was made from."""
    return Section(
        "How to read this",
        [
            Paragraph(_WORDS),
            Heading("What Tocsin cannot see"),
            Paragraph(
                "Each detector knows its blind spots. What no collector ships cannot be seen by any of them."
            ),
            Table(("detector", "sees", "is blind to"), [*_blind(app)]),
            *_baselines(app, facts),
            Heading("What this was made from"),
            Facts([*_origin(app, facts)]),
            Paragraph("Everything above can be asked again:"),
            Verbatim("\n".join(_commands(app, facts))),
        ],
    )


def _blind(app: App) -> Iterator[Sequence[Line]]:
    for setting in app.settings:
        id = setting.detector.id
        yield id, words.purpose(app, id) or "–", words.part(app, id, "Blind spots") or "it does not say"


def _baselines(app: App, facts: Known) -> Iterator[Block]:
    """The baselines that windows of the period were compared with."""
    yield Heading("Baselines in use")
    end = None if facts.period.open else facts.period.end
    used = app.store.summarize("run", facts.period.start, end, [_DETECTOR, _DIGEST], [COUNT])
    used = (  # a window may have been compared with two of them, a pinned and a rolling one
        used.with_columns(pl.col(_DIGEST).str.split(","))
        .explode(_DIGEST)
        .filter(pl.col(_DIGEST).is_not_null() & (pl.col(_DIGEST) != ""))
        .group_by(_DETECTOR, _DIGEST)
        .agg(pl.col("count").sum())
        .sort(_DETECTOR, _DIGEST)
    )
    if used.is_empty():
        yield Paragraph("No window of this time was compared with a baseline.")
        return
    known = {(v.detector, v.digest): v for v in app.detect.baselines.versions()}
    rows: list[tuple[tuple[str, int], Sequence[Line]]] = []
    for detector, digest, number in used.iter_rows():
        found = known.get((detector, digest))
        which: tuple[Line, Line] = ("–", "no longer kept")
        if found is not None:
            kind = "pinned" if found.pinned else "rolling"
            which = (When(found.start, found.end - found.start), f"{found.number}, {kind}")
        rank = detector, found.number if found else 0
        rows.append((rank, (detector, *which, f"{number:,}", Code(digest))))
    rows.sort(key=lambda row: row[0])
    columns = ("detector", "learned from", "version", "#windows compared", "digest")
    yield Table(columns, [row for _, row in rows])


def _origin(app: App, facts: Known) -> Iterator[tuple[str, Line]]:
    yield "from", format_time(facts.period.start)
    yield "to", format_time(facts.period.end)
    yield "written", format_time(app.clock.now())
    yield "store", Code(app.store.place)
    yield "namespace", Code(app.store.namespace)
    yield "configuration", Code(str(app.config.path)) if app.config.path else "all defaults"
    yield from versions().items()


def versions() -> Mapping[str, Any]:
    """What made the report, and of which version it was."""
    found = {"Python": platform.python_version(), "ATLAS": atlas.version()}
    for package in ("tocsin", "polars", "scikit-learn", "matplotlib"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _commands(app: App, facts: Known) -> Iterator[str]:
    config = f" -c {shlex.quote(str(app.config.path))}" if app.config.path else ""
    for asked in ("findings --severity medium", "coverage", "runs"):
        yield f"tocsin{config} {asked} {facts.period.options}"
    for asked in ("alerts --all", "incidents --all", "baseline list"):
        yield f"tocsin{config} {asked}"
