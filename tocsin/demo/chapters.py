"""The attacks of the demo, a chapter each: what happened, what Tocsin saw, and a picture of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import polars as pl

from tocsin.contract.findings import Severity
from tocsin.contract.query import Condition
from tocsin.contract.streams import INGESTED, TIME
from tocsin.demo.lender import START
from tocsin.demo.outcome import EXTRACT, INTRUDE, POISON, SHIFT, TRUSTED, Detection, Story
from tocsin.demo.pictures import extraction, intruder, poisoning, shift
from tocsin.demo.weeks import week
from tocsin.report import words
from tocsin.report.accounts import finding_table, saw
from tocsin.report.document import Block, Chip, Details, Facts, Heading, Paragraph, Picture, Section, When
from tocsin.report.evidence import readable
from tocsin.worker.app import App

#: What happened in the week of an attack, in words that need no facts.
_HAPPENED: Mapping[int, str] = {
    POISON: (
        "The partner's weekly feed of labelled applications has been tampered with. A fraud ring wants its "
        "kind of applicant approved, people two months or more behind with their payments: their defaults "
        "are called good, and forged good applications of the same kind are added. The lender trains on "
        "this feed."
    ),
    EXTRACT: (
        "A client of the credit model asks it about applicants who do not exist, and trains a copy on the "
        "answers. From the second day on it asks about those of whom its copy is least sure. Every single "
        "call is allowed; only all of them together are an attack."
    ),
    SHIFT: (
        "The applicants are other people than before: far younger ones. Whether a campaign or an evasion is "
        "behind it, the model now judges people whom it has hardly learned from, and its answers can be "
        "trusted less than before."
    ),
    INTRUDE: (
        "Somebody uses a data scientist's account at night, from an address and with a program that it was "
        "never used with. The intruder lists the model registry and downloads every version of every model."
    ),
}


def chapter(app: App, story: Story, number: int, findings: pl.DataFrame) -> Section:
    """The chapter of the attack `number`, counted from 1."""
    detection = story.detections[number - 1]
    attack = detection.attack
    own, others = _of_week(findings, detection)
    worst = _worst(own)
    drawn = _picture(app, story, detection, own)
    which = f" {words.technique(attack.technique)} · week {attack.week + 1}, from "
    seen = Paragraph("Nothing: no detector made a finding about it.")
    return Section(
        attack.name[:1].upper() + attack.name[1:],
        [
            Paragraph((Chip(detection.severity), which, When(attack.started)), muted=True),
            Heading("What happened"),
            Paragraph(_HAPPENED.get(attack.week, "")),
            Facts([*attack.facts.items()]),
            Heading("What Tocsin saw"),
            saw(app, worst, [("time to detect", words.delay(detection.delay))]) if worst else seen,
            *([drawn] if drawn else []),
            *([Heading("Evidence"), *readable(worst["tocsin.evidence"])] if worst else []),
            *_table(own, "Every finding about it"),
            *_table(others, "Other findings of that week"),
        ],
        f"attack-{number}",
        number,
    )


def _of_week(findings: pl.DataFrame, detection: Detection) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The findings of the attack's week: about its subjects once it had begun, and the others."""
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


def _queries_until_found(app: App, detection: Detection, own: pl.DataFrame) -> int | None:
    """How many calls the attacker had made since the attack began when it was found, if it was."""
    high = [s.value for s in Severity if s.rank >= Severity.HIGH.rank]
    paging = own.filter(pl.col("tocsin.severity").is_in(high)).sort(INGESTED)
    if paging.is_empty():
        return None
    attack = detection.attack
    where = [Condition("user.id", "==", attack.subjects[0].id)]
    calls = app.store.scan("inference", attack.started, paging["tocsin.window.end"][0], [TIME], where)
    return int(calls.select(pl.len()).collect().item())


def _picture(app: App, story: Story, detection: Detection, own: pl.DataFrame) -> Picture | None:
    attack = detection.attack
    time = week(attack.week), week(attack.week + 1)
    subject = attack.subjects[0]
    match attack.week:
        case at if at == POISON:
            return poisoning.draw(app.store, story.poisoned, attack.week)
        case at if at == EXTRACT:
            asked = _queries_until_found(app, detection, own)
            detector = detection.detector or "model_extraction"
            return extraction.draw(app.store, detector, subject, time, story.fidelity, asked)
        case at if at == SHIFT:
            return shift.draw(app.store, (START, week(TRUSTED)), (attack.started, time[1]))
        case at if at == INTRUDE:
            night = attack.started - timedelta(minutes=1), attack.started + timedelta(hours=3)
            return intruder.draw(app.store, subject, START, night)
    return None


def _table(findings: pl.DataFrame, name: str) -> list[Block]:
    return [] if findings.is_empty() else [Details(f"{name} ({len(findings)})", [finding_table(findings)])]
