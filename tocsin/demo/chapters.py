"""One chapter of the demo's report for each attack: what happened, what Tocsin found, and a picture."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import polars as pl

from tocsin.contract.findings import Severity
from tocsin.demo.lender import START
from tocsin.demo.outcome import EXTRACT, INTRUDE, POISON, SHIFT, TIMES, TRUSTED, Detection, Story
from tocsin.demo.pictures import extraction, intruder, poisoning, shift
from tocsin.demo.weeks import week
from tocsin.report import words
from tocsin.report.accounts import finding_panel, finding_table
from tocsin.report.appendix import Appendix
from tocsin.report.document import Block, Chip, Details, Facts, Heading, Paragraph, Picture, Section, When
from tocsin.report.evidence import readable
from tocsin.worker.app import App

#: What happened in the week of an attack.
_HAPPENED: Mapping[int, str] = {
    POISON: (
        "A fraud ring has tampered with the partner's weekly feed of labelled applications. The ring wants "
        "applicants of its kind approved: people who are two months or more behind with their payments. It labels "
        "their defaults good and adds forged good applications of the same kind. The lender trains its model on "
        "this feed."
    ),
    EXTRACT: (
        "A client of the credit model queries it with invented applicants and trains a copy on the answers. "
        "From the second day on, the client queries the applicants of whom its copy is least sure. Each call "
        "is allowed. Together the calls are an attack."
    ),
    SHIFT: (
        "The applicants of this week are far younger than before. The cause can be a marketing campaign or an "
        "evasion of the model. The training data contains few such applicants, so the model's answers are less "
        "reliable than before."
    ),
    INTRUDE: (
        "An intruder uses a data scientist's account at night, from an address and with a program that are new "
        "for this account. The intruder lists the model registry and downloads every version of every model."
    ),
}


def chapter(app: App, story: Story, number: int, findings: pl.DataFrame, appendix: Appendix) -> Section:
    """The chapter of the attack `number`, counted from 1."""
    detection = story.detections[number - 1]
    attack = detection.attack
    own, others = _of_week(findings, detection)
    worst = _worst(own)
    drawn = _picture(app, story, detection)
    which = f" {words.technique(attack.technique)} · week {attack.week + 1}, from "
    missed = Paragraph("No detector made a finding about this attack.")
    return Section(
        attack.name[:1].upper() + attack.name[1:],
        [
            Paragraph((Chip(detection.severity), which, When(attack.started)), muted=True),
            Heading("What happened"),
            Paragraph(_HAPPENED.get(attack.week, "")),
            Facts([*attack.facts.items()]),
            Heading("What Tocsin found"),
            finding_panel(app, worst, _times(detection)) if worst else missed,
            *([drawn] if drawn else []),
            *(
                [Heading("Evidence"), *readable(worst["tocsin.evidence"]), appendix.link(worst)]
                if worst
                else []
            ),
            *_table(own, "All findings about this attack"),
            *_table(others, "Other findings of that week"),
        ],
        f"attack-{number}",
        number,
    )


def _of_week(findings: pl.DataFrame, detection: Detection) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The findings of the attack's week: those about its subjects since it began, and the others."""
    attack = detection.attack
    start, end = week(attack.week), week(attack.week + 1)
    rows = findings.filter(pl.col("tocsin.window.end") > start, pl.col("tocsin.window.start") < end)
    about = pl.any_horizontal(
        (pl.col("tocsin.subject.type") == subject.type) & (pl.col("tocsin.subject.id") == subject.id)
        for subject in attack.subjects
    )
    own = about & (pl.col("tocsin.window.end") > attack.started)
    return rows.filter(own), rows.filter(~own)


def _worst(findings: pl.DataFrame) -> dict[str, Any] | None:
    return max(
        findings.to_dicts(),
        key=lambda r: (Severity(r["tocsin.severity"]).rank, r["tocsin.score"] / (r["tocsin.threshold"] or 1)),
        default=None,
    )


def _times(detection: Detection) -> list[tuple[str, str]]:
    """How fast the page was, and what it saved."""
    times = words.delay(detection.reaction), words.delay(detection.delay)
    saved = [("saved by the page", detection.saved)] if detection.saved else []
    return [*zip(TIMES, times, strict=True), *saved]


def _picture(app: App, story: Story, detection: Detection) -> Picture | None:
    attack = detection.attack
    time = week(attack.week), week(attack.week + 1)
    subject = attack.subjects[0]
    match attack.week:
        case at if at == POISON:
            return poisoning.draw(app.store, story.poisoned, attack.week)
        case at if at == EXTRACT:
            queries = detection.acts if detection.page else None
            detector = detection.detector or "model_extraction"
            return extraction.draw(app, detector, subject, time, story.fidelity, queries)
        case at if at == SHIFT:
            return shift.draw(app.store, (START, week(TRUSTED)), (attack.started, time[1]))
        case at if at == INTRUDE:
            night = attack.started - timedelta(minutes=1), attack.started + timedelta(hours=3)
            return intruder.draw(app.store, subject, START, night)
    return None


def _table(findings: pl.DataFrame, name: str) -> list[Block]:
    return [] if findings.is_empty() else [Details(f"{name} ({len(findings)})", [finding_table(findings)])]
