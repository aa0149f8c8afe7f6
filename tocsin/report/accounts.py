"""Findings, alerts, checklists and histories as blocks of a document, the same in every report."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from tocsin.contract.findings import Severity, Subject
from tocsin.contract.incidents import IncidentStep
from tocsin.contract.streams import TIME
from tocsin.report import words
from tocsin.report.document import (
    Block,
    Chip,
    Code,
    Facts,
    Heading,
    Item,
    Line,
    Panel,
    Paragraph,
    Steps,
    Strong,
    Table,
    When,
)
from tocsin.report.history import RaisedAlert
from tocsin.worker.app import App

HISTORY = 60  # lines
UNACKNOWLEDGED = "not acknowledged"
_COMMAND = re.compile(r"[a-z]+ (.* )?--?\w")  # a step's paragraph that is a command


def subject_of(row: Mapping[str, Any]) -> Subject:
    """The subject of a finding."""
    return Subject(row["tocsin.subject.type"] or "", row["tocsin.subject.id"] or "")


def window_of(row: Mapping[str, Any]) -> When:
    """The window of a finding."""
    start, end = row["tocsin.window.start"], row["tocsin.window.end"]
    return When(start, end - start)


def finding_panel(app: App, row: Mapping[str, Any], more: Iterable[tuple[str, Line]] = ()) -> Panel:
    """A finding: its severity and reason, its detector, subject, score and window."""
    detector = row["tocsin.detector.id"]
    purpose = words.purpose(app, detector)
    techniques = ", ".join(map(words.technique, row["threat.technique.id"] or ()))
    pairs: list[tuple[str, Line]] = [
        ("found by", detector),
        ("subject", words.about(subject_of(row))),
        ("score ÷ threshold", words.ratio(row)),
        ("window", window_of(row)),
        ("playbook", row["tocsin.playbook.id"] or "–"),
        *more,
        ("MITRE ATLAS", techniques or "–"),
    ]
    reason = Paragraph((Chip(Severity(row["tocsin.severity"])), " ", Strong(row["event.reason"] or "")))
    about = [Paragraph(f"About this detector: {purpose}", muted=True)] if purpose else []
    return Panel([reason, *about, Facts(pairs)])


def finding_table(findings: pl.DataFrame) -> Table:
    """Findings, one per row."""
    return Table(
        ("window", "detector", "subject", "severity", "#score ÷ threshold", "reason"),
        [
            (
                window_of(row),
                row["tocsin.detector.id"],
                words.about(subject_of(row)),
                Chip(Severity(row["tocsin.severity"])),
                words.ratio(row),
                row["event.reason"] or "",
            )
            for row in findings.iter_rows(named=True)
        ],
    )


def alert_table(alerts: Iterable[RaisedAlert]) -> Table:
    """Alerts, one per row."""
    return Table(
        ("raised", "detector", "subject", "severity", "acknowledged by", "resolved"),
        [
            (
                When(a.raised),
                a.detector,
                words.about(a.subject),
                Chip(a.severity),
                a.by or UNACKNOWLEDGED,
                When(a.resolved) if a.resolved else "still firing",
            )
            for a in alerts
        ],
    )


def steps(given: Iterable[IncidentStep]) -> Steps:
    """A playbook's steps with their state."""
    return Steps([_step(step) for step in given])


def _step(step: IncidentStep) -> Item:
    who = f" · {step.agent}" if step.agent else ""
    approval = f" · needs the approval of {step.approval}" if step.approval else ""
    done = f" · {step.state.value} by {step.by}: {step.note}" if step.by else ""
    text = [
        Paragraph(Code(part) if _COMMAND.match(part) else part) for part in step.text.split("\n\n") if part
    ]
    return Item(step.name, f"{who}{approval}{done}", step.state.value, text)


def history_blocks(rows: pl.DataFrame) -> list[Block]:
    """Rows of alert_history: what happened, when, and who did it."""
    lines = [
        (
            When(row[TIME]),
            (row["event.action"] or "").replace("_", " "),
            row["tocsin.severity"] or "",
            row["tocsin.detector.id"] or "",
            row["user.name"] or row["tocsin.receiver"] or "Tocsin",
            row["event.reason"] or "",
        )
        for row in rows.head(HISTORY).iter_rows(named=True)
    ]
    left = words.more(HISTORY, len(rows), "line", "see ")
    more = [Paragraph((left, Code("tocsin events alert_history")))] if left else []
    return [
        Heading("History"),
        Table(("time", "action", "severity", "detector", "by or to", "reason"), lines),
        *more,
    ]
