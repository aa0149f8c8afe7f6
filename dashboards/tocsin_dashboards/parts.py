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
#: Of the stream run: leaves out the evaluations of windows that had not ended, which are many.
ENDED = "NOT event.action:early"


def open_alerts(severity: str) -> Panel:
    """The number of open alerts of a severity."""
    condition = f"{ACTIVE} AND tocsin.severity:{severity}"
    return number(
        severity.capitalize(),
        f"The number of {severity} alerts that are open or acknowledged. If the number is above 0, start with the oldest "
        "alert in the table below, and acknowledge the alert that you work on (tocsin ack).",
        ask("alerts", condition, [count()], [filters({"open": "*"})]),
        to(OVERVIEW, "All open alerts"),
        steps=((None, looks.GREEN), (1, looks.SEVERITIES[severity])),
    )


def alert_table(title: str, where: str, hint: str = "") -> Panel:
    """The current state of alerts: open, acknowledged, then resolved alerts. In each state, the worst alerts come first."""
    fields = (
        "tocsin.alert.id",
        "tocsin.severity",
        "event.reason",
        "tocsin.subject.type",
        "tocsin.subject.id",
        "tocsin.detector.id",
    )
    worst, *rest = fields
    early = terms("tocsin.alert.evaluation", 1, missing="final")
    buckets = [filters(_BY_STATE), terms(worst, 100, "1"), *(terms(field, 1) for field in rest), early]
    columns = {
        "tocsin.severity": "severity", "filter": "state", "event.reason": "what was seen", "tocsin.subject.type": "kind",
        "tocsin.subject.id": "subject", "tocsin.detector.id": "detector", "Min": "since", "tocsin.alert.id": "alert",
        "tocsin.alert.evaluation": "evaluation",
    }  # fmt: skip
    return listing(
        title,
        "The alerts that were active in this time range: open, then acknowledged, then resolved alerts. Each state lists "
        "at most the hundred worst alerts. The link of an alert opens its evidence, timeline and playbook. The link of a "
        "subject opens the board about the subject. The evaluation is early if the window of "
        "the newest finding has not ended. " + hint,
        ask("alerts", where, [highest("event.severity"), lowest("@timestamp")], buckets),
        to(INCIDENTS, "Incidents and playbooks"),
        columns=columns,
        units={"since": "dateTimeFromNow"},
        gone=("Max",),
    )


def findings_over_time(where: str) -> Panel:
    """Findings by detector. Several revisions of a finding count as one finding."""
    return lines(
        "Findings",
        "The number of findings by detector, including findings that were withdrawn after late events or by the full "
        "window. A single high bar suggests an incident. Bars on every day suggest a baseline that no longer fits: check "
        "the scores, then fit a new baseline or change the setting false_alarms.",
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
    """The first row of a family's board: its alerts and findings. `about` is the condition from the board's variables."""
    condition = f"tocsin.detector.family:{family.value} AND {about}"
    table = alert_table(title, f"{condition} AND tocsin.severity:$severity", hint)
    board.row("Alerts", (24, table), (24, findings_over_time(condition)))


def scores(detector: str, where: str = "", title: str = "", doc: str = "") -> Panel:
    """The scores of a detector's worst subjects, and the threshold."""
    condition = " AND ".join(filter(None, (f"tocsin.detector.id:{detector}", where)))
    return lines(
        title or f"{detector}: score against threshold",
        doc
        or "The scores of the ten worst subjects. The dashed red line is the threshold. If a line rises toward the "
        "threshold, open the subject before an alert fires, and compare what changed.",
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
        "Every transition of alerts, incidents and notifications, newest first. Users cannot edit these records. If no "
        "acknowledgement follows a notification, no person has acknowledged the alert.",
        ask("alert_history", where, [raw(200)]),
        to(INCIDENTS, "Incidents and playbooks"),
        columns=columns,
        only=True,
    )


def answers(where: str, link: Link) -> Panel:
    """The distribution of a model's answers over time."""
    return heat(
        "Distribution of answers",
        "Each column shows the distribution of the model's answers at that time. A band that moves, splits or disappears is "
        "drift, even if the mean does not change. Compare its start with the deployments of the model.",
        ask("inference", where, [count()], [ranges("tocsin.output.score", 0, 1, 0.05)], over=STEP),
        link,
        unit="percentunit",
    )


def classes(where: str, link: Link) -> Panel:
    """The number of calls by predicted class."""
    return lines(
        "Answers by class",
        "The number of calls by the class that the model predicted. If approvals increase without a business reason, the "
        "model may be poisoned: check the newest training data.",
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
