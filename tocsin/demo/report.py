"""The demo's report: one HTML file that loads nothing, for an analyst at a glance and a manager to read."""

from __future__ import annotations

import platform
import re
import shlex
import statistics
import textwrap
from collections.abc import Iterable, Mapping
from datetime import timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import polars as pl

from tocsin import atlas
from tocsin.app import App
from tocsin.demo.chapters import chapter, delay, finding_table, technique
from tocsin.demo.data import CREDIT
from tocsin.demo.outcome import QUIET, Detection, Story
from tocsin.demo.page import Html, chip, details, document, facts, join, table, tag, when
from tocsin.demo.pictures import canvas, scores, timeline
from tocsin.incidents import Incident, IncidentStep
from tocsin.pipeline.records import newest_findings
from tocsin.streams import TIME

_DETECTOR, _START, _END = "tocsin.detector.id", "tocsin.window.start", "tocsin.window.end"
_HISTORY = 60  # lines of history that an incident shows
_REASON = 120  # characters of a reason in the first table
_COMMAND = re.compile(r"[a-z]+ (.* )?--?\w")  # a step's paragraph that is to be typed


def write(app: App, story: Story, path: Path) -> None:
    """Write the report of a story that has been lived through.

    Raises:
        TocsinError: matplotlib is not installed.
        StoreError: the store cannot be read.
    """
    findings = newest_findings(app.store)
    runs = app.store.scan("run").collect()
    attacks = {d.attack.week: d.attack.name for d in story.detections}
    detectors = sorted(runs[_DETECTOR].unique())
    drawn = timeline.draw(app.store, app.alerting.alerts(), detectors, attacks)
    parts = [
        _headline(story),
        tag("section", tag("h2", "Twelve weeks at a glance"), drawn),
        tag("section", tag("h2", "Scores against thresholds"), scores.draw(app.store, attacks)),
        *(chapter(app, story, number, findings) for number in range(1, len(attacks) + 1)),
        _incidents(app, story.incidents),
        _quiet(findings, runs),
        _around(app, story),
    ]
    path.write_text(document(f"Tocsin: {_verdict(story)}", *parts), "utf-8")


def _verdict(story: Story) -> str:
    caught, all_ = [d for d in story.detections if d.caught], len(story.detections)
    delays = [d.delay for d in caught if d.delay is not None]
    slowest = f", the slowest after {delay(max(delays))}" if delays else ""
    alarms = f"{_count(len(story.false_alarms), 'false alarm')} in the quiet weeks"
    quiet = alarms if story.false_alarms else "the quiet weeks stayed quiet"
    return f"{len(caught)} of {all_} attacks found{slowest}; {quiet}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _headline(story: Story) -> Html:
    caught = sum(d.caught for d in story.detections)
    seconds = [d.delay.total_seconds() for d in story.detections if d.delay is not None]
    median = timedelta(seconds=statistics.median(seconds)) if seconds else None
    tiles = (
        (f"{caught} of {len(story.detections)}", "attacks found at high or above"),
        (delay(median), "median time to detect"),
        (str(len(story.false_alarms)), f"findings above low in {len(QUIET)} quiet weeks"),
        (f"{story.calls:,}", f"calls of the model by {story.principals} principals"),
    )
    return tag(
        "header",
        tag("p", "Tocsin · demo report · a lender’s credit model over twelve weeks", class_="eyebrow"),
        tag("h1", _verdict(story), ".", class_="verdict" if story.good else "verdict bad"),
        tag("div", join(_tile(value, what) for value, what in tiles), class_="tiles"),
        table(
            ("", "attack", "started", "found by", "severity", "time to detect", "what it did"),
            (_row(number, d) for number, d in enumerate(story.detections, 1)),
        ),
    )


def _tile(value: str, what: str) -> Html:
    return tag("div", tag("b", value), tag("span", what), class_="tile")


def _row(number: int, detection: Detection) -> tuple[str, ...]:
    attack = detection.attack
    return (
        tag("span", str(number), class_="badge"),
        join([tag("a", attack.name, href=f"#attack-{number}"), tag("small", technique(attack.technique))]),
        when(attack.started),
        detection.detector or "nothing",
        chip(detection.severity),
        delay(detection.delay),
        join((f"{name}: {value}" for name, value in attack.facts.items()), "; ")
        or textwrap.shorten(detection.reason, _REASON, placeholder=" …"),
    )


# Incidents


def _incidents(app: App, incidents: Iterable[Incident]) -> Html:
    ranked = sorted(incidents, key=lambda i: (-i.severity.rank, i.opened))
    if not ranked:
        return tag("section", tag("h2", "Incidents"), tag("p", "No incident was opened."))
    first = ranked[0]
    return tag(
        "section",
        tag("h2", "Incidents and their playbooks"),
        tag("p", "An alert of high severity opens an incident with its own copy of a playbook’s steps. This "
                 "is what the person on call sees."),
        tag("h3", _title(first)),
        _incident(app, first),
        *(details(_title(i), _incident(app, i)) for i in ranked[1:]),
    )  # fmt: skip


def _title(incident: Incident) -> str:
    about = f"{incident.subject.type} {incident.subject.id}"
    return f"{incident.id}: {incident.playbook or 'no playbook'}, about {about}"


def _incident(app: App, incident: Incident) -> Html:
    pairs = [
        ("severity", chip(incident.severity)),
        ("state", incident.state.value),
        ("opened", when(incident.opened)),
        ("acknowledged by", incident.owner or f"nobody yet: tocsin ack {incident.id} --by NAME"),
    ]
    steps = tag("ol", join(map(_step, incident.steps)), class_="steps")
    return join([facts(pairs), steps, _history(app, incident)])


def _step(step: IncidentStep) -> Html:
    who = f" · {step.agent}" if step.agent else ""
    approval = f" · needs the approval of {step.approval}" if step.approval else ""
    done = f" · {step.state.value} by {step.by}: {step.note}" if step.by else ""
    title = tag("summary", tag("strong", step.name), tag("span", who, approval, done, class_="muted"))
    text = (_paragraph(part) for part in step.text.split("\n\n") if part)
    return tag("li", tag("details", title, *text), class_=step.state.value)


def _paragraph(text: str) -> Html:
    return tag("p", tag("code", text) if _COMMAND.match(text) else text)


def _history(app: App, incident: Incident) -> Html:
    prints = {a.fingerprint for a in app.alerting.alerts() if a.id in incident.alerts}
    own = pl.col("tocsin.incident.id") == incident.id
    alert = pl.col("tocsin.alert.fingerprint").is_in(sorted(prints)) & (pl.col(TIME) >= incident.opened)
    rows = app.store.scan("alert_history").filter(own | alert).sort(TIME, "event.id").head(_HISTORY).collect()
    lines = (
        (
            when(row[TIME]),
            (row["event.action"] or "").replace("_", " "),
            row["tocsin.severity"] or "",
            row[_DETECTOR] or "",
            row["user.name"] or row["tocsin.receiver"] or "Tocsin",
            row["event.reason"] or "",
        )
        for row in rows.iter_rows(named=True)
    )
    return join(
        [
            tag("h3", "History"),
            table(("when", "what", "severity", "detector", "by or to", "why"), lines),
        ]
    )


# Quiet weeks


def _quiet(findings: pl.DataFrame, runs: pl.DataFrame) -> Html:
    start, end = canvas.week(QUIET.start), canvas.week(QUIET.stop)
    inside = (pl.col(_START) >= start) & (pl.col(_END) <= end)
    found, quiet = findings.filter(inside), runs.filter(inside)
    windows = quiet.unique([_DETECTOR, _START, "event.action"])
    said = f"{_count(len(found), 'finding')}, all listed here." if len(found) else "Not a single finding."
    return tag(
        "section",
        tag("h2", "Quiet weeks: what was looked at, and what was not found"),
        tag("p", f"From {start:%Y-%m-%d} to {end:%Y-%m-%d} nothing happened. {said} Every window that was "
                 "evaluated left a record, so that silence can be told from not having looked."),
        finding_table(found) if len(found) else "",
        tag("h3", "What was looked at"),
        _coverage(windows),
    )  # fmt: skip


def _coverage(windows: pl.DataFrame) -> Html:
    def counted(action: str) -> pl.Expr:
        return (pl.col("event.action") == action).sum().alias(action)

    evaluated = pl.col("event.action") == "evaluated"
    rows = (
        windows.group_by(_DETECTOR)
        .agg(
            counted("evaluated"),
            counted("skipped"),
            counted("failed"),
            pl.col("tocsin.run.rows").filter(evaluated).sum(),
            pl.col("tocsin.run.scores").filter(evaluated).sum(),
            pl.col("tocsin.run.findings").filter(evaluated).sum(),
        )
        .sort(_DETECTOR)
    )
    columns = (
        "detector",
        "#windows evaluated",
        "#skipped",
        "#failed",
        "#events read",
        "#scores",
        "#findings",
    )
    return table(columns, ([name, *(f"{n or 0:,}" for n in numbers)] for name, *numbers in rows.iter_rows()))


# Looking around


_COMMANDS = (
    "findings --severity medium",
    "alerts",
    "incidents",
    "events access",
    "scores --detector model_extraction",
)


def _around(app: App, story: Story) -> Html:
    config = shlex.quote(str(app.config.path or "tocsin.yaml"))
    commands = "\n".join(f"tocsin -c {config} {what}" for what in _COMMANDS)
    return tag(
        "section",
        tag("h2", "Look around"),
        tag("p", "The store of this demo is still there. Everything above can be asked again:"),
        tag("pre", commands),
        facts([("data", CREDIT), ("seed", str(story.seed)), *_versions().items()]),
        tag("p", "Times are UTC. Names and addresses are invented; the applications, the models, the flipped "
                 "labels and the trained copy are real.", class_="muted"),
    )  # fmt: skip


def _versions() -> Mapping[str, Any]:
    found = {"Python": platform.python_version(), "ATLAS": atlas.version()}
    for package in ("tocsin", "polars", "scikit-learn", "matplotlib"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
