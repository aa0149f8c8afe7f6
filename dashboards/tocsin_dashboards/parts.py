"""Panels that more than one board has."""

from __future__ import annotations

from typing import Any

from tocsin.contract.findings import Family
from tocsin_dashboards import looks
from tocsin_dashboards.asking import (
    STEP,
    ask,
    count,
    filters,
    highest,
    lowest,
    ranges,
    raw,
    terms,
    unique,
)
from tocsin_dashboards.kinds import ALERT, INCIDENTS, OVERVIEW, heat, lines, number, to
from tocsin_dashboards.layout import Board
from tocsin_dashboards.tables import listing

Panel = Any
Link = Any
#: The order of states in tables. Grafana sorts these names, and `looks` takes the numbers away.
_BY_STATE = {
    "1 open": "tocsin.alert.status:open",
    "2 acknowledged": "tocsin.alert.status:acknowledged",
    "3 resolved": "NOT tocsin.alert.status:(open OR acknowledged)",
}
ACTIVE = "tocsin.alert.status:(open OR acknowledged)"


def open_alerts(severity: str) -> Panel:
    """How many alerts of a severity are open."""
    condition = f"{ACTIVE} AND tocsin.severity:{severity}"
    return number(
        severity.capitalize(),
        f"Alerts of severity {severity} that are open or acknowledged. Above 0: open the table below, start with the "
        "oldest, and acknowledge what you work on (tocsin ack).",
        ask("alerts", condition, [count()], [filters({"open": "*"})]),
        to(OVERVIEW, "All open alerts"),
        steps=((None, looks.GREEN), (1, looks.SEVERITIES[severity])),
    )


def alert_table(title: str, where: str, hint: str = "") -> Panel:
    """Alerts as they are now: the open ones, the acknowledged ones, then the others, each worst first."""
    fields = (
        "tocsin.alert.id",
        "tocsin.severity",
        "event.reason",
        "tocsin.subject.type",
        "tocsin.subject.id",
        "tocsin.detector.id",
    )
    worst, *rest = fields
    buckets = [filters(_BY_STATE), terms(worst, 100, "1"), *(terms(field, 1) for field in rest)]
    columns = {
        "tocsin.severity": "severity", "filter": "state", "event.reason": "what was seen", "tocsin.subject.type": "kind",
        "tocsin.subject.id": "subject", "tocsin.detector.id": "detector", "Min": "since", "tocsin.alert.id": "alert",
    }  # fmt: skip
    return listing(
        title,
        "The alerts that were active in this time: open ones first, then acknowledged and resolved ones, the worst hundred "
        "of each. Follow the alert to its evidence, timeline and "
        "playbook; follow the subject to everything about it. " + hint,
        ask("alerts", where, [highest("event.severity"), lowest("@timestamp")], buckets),
        to(INCIDENTS, "Incidents and playbooks"),
        columns=columns,
        units={"since": "dateTimeFromNow"},
        gone=("Max",),
    )


def findings_over_time(where: str) -> Panel:
    """Findings by detector; a revision of one is not another."""
    return lines(
        "Findings",
        "Windows and subjects that reached their threshold, those that late data took back as well. "
        "One bar that stands out is an incident; bars every day "
        "are a baseline that no longer fits: look at the scores, then refit or adjust false_alarms.",
        [
            ask(
                "finding",
                f"({where}) AND NOT tocsin.run.silent:true",
                [unique("tocsin.finding.id")],
                [terms("tocsin.detector.id")],
                over=STEP,
                alias="{{term tocsin.detector.id}}",
            )
        ],
        to(ALERT, "One alert"),
        stacked=True,
    )


def family_alerts(board: Board, family: Family, title: str, about: str, hint: str) -> None:
    """The row that a family's board begins with: its alerts and its findings `about` what the reader chose."""
    condition = f"tocsin.detector.family:{family.value} AND {about}"
    table = alert_table(title, f"{condition} AND tocsin.severity:$severity", hint)
    board.row("Alerts", (24, table), (24, findings_over_time(condition)))


def scores(detector: str, where: str = "", title: str = "", doc: str = "") -> Panel:
    """A detector's score of its worst subjects, with its threshold."""
    condition = " AND ".join(filter(None, (f"tocsin.detector.id:{detector}", where)))
    return lines(
        title or f"{detector}: score against threshold",
        doc
        or "The worst subjects of each window; the dashed red line is the threshold. A line that climbs to it: look "
        "before there is an alert: open the subject and compare what changed.",
        [
            ask(
                "score",
                condition,
                [highest("tocsin.score")],
                [terms("tocsin.subject.id", 10, "1")],
                over=STEP,
                alias="{{term tocsin.subject.id}}",
            ),
            ask("score", condition, [highest("tocsin.threshold")], over=STEP, alias="threshold", ref="B"),
        ],
        to(OVERVIEW, "Alerts that came of it"),
        unit="none",
    )


def history(where: str, title: str = "What happened, and who did what") -> Panel:
    """Transitions of alerts, incidents and notifications."""
    columns = {
        "@timestamp": "when", "event.action": "what", "tocsin.severity": "severity", "tocsin.detector.id": "detector",
        "tocsin.subject.id": "subject", "user.name": "by", "tocsin.receiver": "receiver", "event.reason": "why",
    }  # fmt: skip
    return listing(
        title,
        "Every transition as it was written, newest first: it cannot be edited. A page without an acknowledgement "
        "that follows it is a page that nobody took.",
        ask("alert_history", where, [raw(200)]),
        to(INCIDENTS, "Incidents and playbooks"),
        columns=columns,
        only=True,
    )


def answers(where: str, link: Link) -> Panel:
    """How a model's answers are distributed over time."""
    return heat(
        "Distribution of answers",
        "Each column is the distribution of the model's answers at that time. A band that moves, splits or dries up is "
        "drift, even while the mean stands still: compare with its deployments.",
        ask("inference", where, [count()], [ranges("tocsin.output.score", 0, 1, 0.05)], over=STEP),
        link,
        unit="percentunit",
    )


def classes(where: str, link: Link) -> Panel:
    """How often a model gives each class."""
    return lines(
        "Answers by class",
        "Calls by the class that was answered. An approval class that grows without a campaign is what a poisoned model "
        "looks like from outside: look at the last training data.",
        [
            ask(
                "inference",
                where,
                [count()],
                [terms("tocsin.output.label", 10)],
                over=STEP,
                alias="{{term tocsin.output.label}}",
            )
        ],
        link,
        stacked=True,
    )
