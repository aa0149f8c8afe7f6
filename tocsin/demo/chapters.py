"""The attacks of the demo, a chapter each: what happened, what Tocsin saw, and a picture of it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import polars as pl

from tocsin import atlas
from tocsin.app import App
from tocsin.clock import format_length
from tocsin.demo.evidence import readable
from tocsin.demo.lender import START
from tocsin.demo.outcome import EXTRACT, INTRUDE, POISON, SHIFT, TRUSTED, Detection, Story
from tocsin.demo.page import Html, chip, details, facts, join, table, tag, when
from tocsin.demo.pictures import canvas, extraction, intruder, poisoning, shift
from tocsin.findings import Severity
from tocsin.query import Condition
from tocsin.streams import INGESTED, TIME

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


def chapter(app: App, story: Story, number: int, findings: pl.DataFrame) -> Html:
    """The chapter of the attack `number`, counted from 1."""
    detection = story.detections[number - 1]
    attack = detection.attack
    own, others = _of_week(findings, detection)
    worst = _worst(own)
    return tag(
        "section",
        tag("h2", tag("span", str(number), class_="badge"), attack.name[:1].upper() + attack.name[1:]),
        tag("p", chip(detection.severity), " ", technique(attack.technique), " · week ", str(attack.week + 1),
            ", from ", when(attack.started), class_="muted"),
        tag("h3", "What happened"),
        tag("p", _HAPPENED.get(attack.week, "")),
        facts(attack.facts.items()),
        tag("h3", "What Tocsin saw"),
        _seen(app, detection, worst),
        _picture(app, story, detection, own),
        join([tag("h3", "Evidence"), readable(worst["tocsin.evidence"])]) if worst else "",
        _table(own, "Every finding about it"),
        _table(others, "Other findings of that week"),
        id=f"attack-{number}",
    )  # fmt: skip


def technique(id: str) -> str:
    """An ATLAS technique with its name."""
    try:
        return f"{id} {atlas.name(id)}"
    except KeyError:
        return id


def delay(length: timedelta | None) -> str:
    """A time to detect: `20 h 17 min`."""
    if length is None:
        return "–"
    hours, rest = divmod(length, timedelta(hours=1))
    return f"{hours} h {rest // timedelta(minutes=1)} min"


def finding_table(findings: pl.DataFrame) -> Html:
    """Findings, a line each."""
    return table(
        ("window", "detector", "about", "severity", "#score ÷ threshold", "reason"),
        (
            (
                _window(row),
                row["tocsin.detector.id"],
                f"{row['tocsin.subject.type']} {row['tocsin.subject.id']}",
                chip(Severity(row["tocsin.severity"])),
                _ratio(row),
                row["event.reason"] or "",
            )
            for row in findings.iter_rows(named=True)
        ),
    )


def _of_week(findings: pl.DataFrame, detection: Detection) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The findings of the attack's week: about its subjects once it had begun, and the others."""
    attack = detection.attack
    start, end = canvas.week(attack.week), canvas.week(attack.week + 1)
    rows = findings.filter(pl.col("tocsin.window.end") > start, pl.col("tocsin.window.start") < end)
    about = pl.any_horizontal(
        (pl.col("tocsin.subject.type") == subject.type) & (pl.col("tocsin.subject.id") == subject.id)
        for subject in attack.subjects
    )
    own = about & (pl.col("tocsin.window.end") > attack.started)
    return rows.filter(own), rows.filter(~own)


def _seen(app: App, detection: Detection, worst: dict[str, Any] | None) -> Html:
    if worst is None:
        return tag("p", "Nothing: no detector made a finding about it.")
    said = facts(
        [
            ("found by", worst["tocsin.detector.id"]),
            ("about", f"{worst['tocsin.subject.type']} {worst['tocsin.subject.id']}"),
            ("score ÷ threshold", _ratio(worst)),
            ("time to detect", delay(detection.delay)),
            ("window", _window(worst)),
            ("playbook", worst["tocsin.playbook.id"] or "–"),
        ]
    )
    reason = tag("strong", worst["event.reason"] or "")
    first = tag("p", chip(Severity(worst["tocsin.severity"])), " ", reason)
    purpose = _purpose(app, detection.detector)
    about = tag("p", f"About this detector: {purpose}", class_="muted") if purpose else ""
    return tag("div", first, about, said, class_="saw")


def _purpose(app: App, detector: str) -> str:
    """The first sentence of a detector's own description."""
    docs = (inspect.getdoc(s.detector) or "" for s in app.settings if s.detector.id == detector)
    return next(docs, "").partition("\n")[0]


def _worst(findings: pl.DataFrame) -> dict[str, Any] | None:
    return max(
        findings.to_dicts(),
        key=lambda r: (Severity(r["tocsin.severity"]).rank, r["tocsin.score"] / (r["tocsin.threshold"] or 1)),
        default=None,
    )


def _asked(app: App, detection: Detection, own: pl.DataFrame) -> int | None:
    """How many calls the attacker had made since the attack began when it was found, if it was."""
    high = [s.value for s in Severity if s.rank >= Severity.HIGH.rank]
    paging = own.filter(pl.col("tocsin.severity").is_in(high)).sort(INGESTED)
    if paging.is_empty():
        return None
    attack = detection.attack
    where = [Condition("user.id", "==", attack.subjects[0].id)]
    calls = app.store.scan("inference", attack.started, paging["tocsin.window.end"][0], [TIME], where)
    return int(calls.select(pl.len()).collect().item())


def _picture(app: App, story: Story, detection: Detection, own: pl.DataFrame) -> Html:
    attack = detection.attack
    time = canvas.week(attack.week), canvas.week(attack.week + 1)
    subject = attack.subjects[0]
    match attack.week:
        case week if week == POISON:
            return poisoning.draw(app.store, story.poisoned, week)
        case week if week == EXTRACT:
            asked = _asked(app, detection, own)
            detector = detection.detector or "model_extraction"
            return extraction.draw(app.store, detector, subject, time, story.fidelity, asked)
        case week if week == SHIFT:
            return shift.draw(app.store, (START, canvas.week(TRUSTED)), (attack.started, time[1]))
        case week if week == INTRUDE:
            night = attack.started - timedelta(minutes=1), attack.started + timedelta(hours=3)
            return intruder.draw(app.store, subject, START, night)
    return Html("")


def _table(findings: pl.DataFrame, name: str) -> Html:
    if findings.is_empty():
        return Html("")
    return details(f"{name} ({len(findings)})", finding_table(findings))


def _window(row: Mapping[str, Any]) -> Html:
    start, end = row["tocsin.window.start"], row["tocsin.window.end"]
    return tag("span", when(start), f" for {format_length(end - start)}", class_="line")


def _ratio(row: Mapping[str, Any]) -> str:
    threshold = row["tocsin.threshold"]
    return f"{row['tocsin.score'] / threshold:,.1f}" if threshold else "–"
