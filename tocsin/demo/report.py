"""The demo's report: the report of its store, with a chapter about each attack."""

from __future__ import annotations

import shlex
import statistics
import textwrap
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

import polars as pl

from tocsin.demo.chapters import chapter
from tocsin.demo.data import CREDIT
from tocsin.demo.lender import WEEKS
from tocsin.demo.outcome import QUIET, TIMES, Detection, Story
from tocsin.demo.weeks import calendar, week
from tocsin.pipeline.detecting.records import newest_findings
from tocsin.report import build, overview, proof, words
from tocsin.report.accounts import finding_table
from tocsin.report.appendix import Appendix
from tocsin.report.cases import Cases
from tocsin.report.counts import Period
from tocsin.report.document import (
    Badge,
    Block,
    Chip,
    Document,
    Facts,
    Line,
    Link,
    Paragraph,
    Section,
    Small,
    Table,
    Tiles,
    Verbatim,
    When,
)
from tocsin.report.facts import gather
from tocsin.report.worst import worst
from tocsin.words import count
from tocsin.worker.app import App

_DECISIVE = (
    "A page is a delivered notification of an alert of high or above. The decisive event is the last event of the shortest "
    "prefix of the window on which the final evaluation gives a finding of high or above. It is found afterwards, without "
    "the times at which Tocsin evaluated."
)
_REASON = 120  # characters of a reason in the first table
_COMMANDS = (
    "findings --severity medium",
    "alerts",
    "incidents",
    "events access",
    "scores --detector model_extraction",
    f"report --since {week(0):%Y-%m-%d} --until {week(WEEKS):%Y-%m-%d}",
)


def write(app: App, story: Story, path: Path) -> None:
    """Write the report of a finished demo.

    Raises:
        TocsinError: matplotlib is not installed.
        StoreError: the store cannot be read.
    """
    attacks = {d.attack.week: d.attack.name for d in story.detections}
    weeks = calendar(attacks)
    facts = gather(app, Period(weeks.start, weeks.end, open=True))
    findings = newest_findings(app.store)
    appendix = Appendix()
    cases = Cases(app, facts, weeks, appendix)
    document = Document(
        eyebrow="Tocsin · demo report · a lender’s credit model over twelve weeks",
        verdict=_verdict(story),
        good=story.good,
        head=[*worst(app.store, facts, cases.targets), *_head(story)],
        sections=[
            overview.at_a_glance(app, facts, weeks, "Twelve weeks at a glance"),
            overview.against_thresholds(app, facts, weeks),
            *(chapter(app, story, number, findings, appendix) for number in range(1, len(attacks) + 1)),
            cases.incidents(),
            cases.alone(),
            _quiet(findings),
            proof.coverage_section(app, facts),
            _commands(app, story),
            proof.how_to_read(app, facts),
            appendix.section(app, facts),
        ],
    )
    build.write(document, path)


def _verdict(story: Story) -> str:
    caught, all_ = [d for d in story.detections if d.caught], len(story.detections)
    delays = [d.delay for d in caught if d.delay is not None]
    slowest = f", the slowest after {words.delay(max(delays))}" if delays else ""
    alarms = f"{count(len(story.false_alarms), 'false alarm')} in the quiet weeks"
    quiet = alarms if story.false_alarms else "no false alarm in the quiet weeks"
    return f"{len(caught)} of {all_} attacks found{slowest}; {quiet}"


def _head(story: Story) -> list[Block]:
    caught = sum(d.caught for d in story.detections)
    tiles = (
        (f"{caught} of {len(story.detections)}", "attacks found at high or above"),
        (words.delay(_median(d.reaction for d in story.detections)), "median from decisive event to page"),
        (words.delay(_median(d.delay for d in story.detections)), "median from first act to page"),
        (str(len(story.false_alarms)), f"findings above low in {len(QUIET)} quiet weeks"),
        (f"{story.calls:,}", f"calls of the model by {story.principals} principals"),
    )
    columns = ("", "attack", "started", "found by", "severity", *TIMES, "saved by the page", "effect")
    rows = [_row(number, d) for number, d in enumerate(story.detections, 1)]
    return [Tiles(tiles), Table(columns, rows), Paragraph(_DECISIVE, muted=True)]


def _median(times: Iterable[timedelta | None]) -> timedelta | None:
    seconds = [time.total_seconds() for time in times if time is not None]
    return timedelta(seconds=statistics.median(seconds)) if seconds else None


def _row(number: int, detection: Detection) -> tuple[Line, ...]:
    attack = detection.attack
    facts = "; ".join(f"{name}: {value}" for name, value in attack.facts.items())
    return (
        Badge(number),
        (Link(attack.name, f"attack-{number}"), Small(words.technique(attack.technique))),
        When(attack.started),
        detection.detector or "nothing",
        Chip(detection.severity),
        words.delay(detection.reaction),
        words.delay(detection.delay),
        detection.saved or "–",
        facts or textwrap.shorten(detection.reason, _REASON, placeholder=" …"),
    )


def _quiet(findings: pl.DataFrame) -> Section:
    """The weeks without an attack, and the findings in them."""
    start, end = week(QUIET.start), week(QUIET.stop)
    found = findings.filter((pl.col("tocsin.window.start") >= start) & (pl.col("tocsin.window.end") <= end))
    number = f"{count(len(found), 'finding')}, all listed below." if len(found) else "No finding."
    summary = Paragraph(f"No attack took place from {start:%Y-%m-%d} to {end:%Y-%m-%d}. {number}")
    return Section(
        "Quiet weeks: findings without an attack", [summary, *([finding_table(found)] if len(found) else [])]
    )


def _commands(app: App, story: Story) -> Section:
    config = shlex.quote(str(app.config.path or "tocsin.yaml"))
    commands = "\n".join(f"tocsin -c {config} {what}" for what in _COMMANDS)
    real = (
        "Names and addresses are invented. The applications, the models, the flipped labels and the trained copy "
        "are real."
    )
    return Section(
        "Next commands",
        [
            Paragraph("The store of this demo remains. These commands read it:"),
            Verbatim(commands),
            Facts([("data", CREDIT), ("seed", str(story.seed))]),
            Paragraph(real, muted=True),
        ],
    )
