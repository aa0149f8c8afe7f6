"""Incidents and playbooks: open incidents, the progress of their steps, and the delivery of notifications."""

from __future__ import annotations

from tocsin_dashboards import looks
from tocsin_dashboards.asking import STEP, ask, count, filters, highest, lowest, percentiles, terms, unique
from tocsin_dashboards.kinds import ALERT, HEALTH, INCIDENTS, OVERVIEW, bars, lines, number, to
from tocsin_dashboards.layout import Board
from tocsin_dashboards.parts import history
from tocsin_dashboards.tables import listing

_OPEN = "tocsin.incident.state:(open OR acknowledged)"
_LOUD = "tocsin.severity:$severity"
_UP, _ONE = to(OVERVIEW, "SOC overview"), to(ALERT, "One alert")
_EVERYTHING = [filters({"all": "*"})]
_FIELDS = (
    "tocsin.incident.id",
    "tocsin.severity",
    "tocsin.playbook.id",
    "tocsin.subject.type",
    "tocsin.subject.id",
)
_BY_STATE = {
    "1 open": "tocsin.incident.state:open",
    "2 acknowledged": "tocsin.incident.state:acknowledged",
    "3 closed": "NOT tocsin.incident.state:(open OR acknowledged)",
}


def build() -> Board:
    """The board."""
    board = Board(
        INCIDENTS,
        "Tocsin: incidents and playbooks",
        "The open incidents, the progress of their playbooks, and whether notifications reached people.",
        ["severity", "step"],
        "now-90d",
        filtered="incidents",
    )
    for row in (_now, _incidents, _over_time, _timeline):
        row(board)
    return board


def _now(board: Board) -> None:
    board.row(
        "Now",
        (
            6,
            number(
                "Incidents without owner",
                "The number of open incidents without an owner. To become the owner of an incident: tocsin ack INCIDENT --by NAME.",
                ask("incidents", "tocsin.incident.state:open", [count()], _EVERYTHING),
                _UP,
                steps=((None, looks.GREEN), (1, looks.RED)),
            ),
        ),
        (
            6,
            number(
                "Incidents in progress",
                "The number of incidents that have an owner and are not closed. If there are more than people can handle at once, close the incidents that are resolved.",
                ask("incidents", "tocsin.incident.state:acknowledged", [count()], _EVERYTHING),
                _UP,
                steps=((None, looks.BLUE),),
            ),
        ),
        (
            6,
            number(
                "Median time to close",
                "The median time from the opening to the closing of an incident. If it is long, see in the timeline which step took long.",
                ask(
                    "incidents",
                    "tocsin.incident.time_to_close:*",
                    [percentiles("tocsin.incident.time_to_close", 50)],
                    [terms("_index", 1)],
                ),
                _UP,
                unit="s",
                column="p50.0 tocsin.incident.time_to_close",
                empty="–",
                steps=((None, looks.BLUE),),
            ),
        ),
        (
            6,
            number(
                "Failed notifications",
                "The number of notifications that a receiver refused, or that failed after all retries. If the number is above 0, a receiver is broken: correct the receiver in tocsin.yaml, and notify people by other means.",
                ask(
                    "alert_history",
                    "event.action:notification_failed",
                    [unique("tocsin.notification.key")],
                    _EVERYTHING,
                ),
                to(HEALTH, "Tocsin's health"),
                column="Unique Count",
                steps=((None, looks.GREEN), (1, looks.RED)),
            ),
        ),
        height=4,
    )


def _incidents(board: Board) -> None:
    board.row(
        "Incidents",
        (
            24,
            listing(
                "Incidents active in this time",
                "Open incidents without an owner first, then incidents with an owner, then closed incidents. In each state, the worst incidents come first. Steps left is the number of steps that are neither done nor skipped. The command tocsin incidents INCIDENT shows each step.",
                ask(
                    "incidents",
                    _LOUD,
                    [
                        highest("event.severity"),
                        lowest("@timestamp"),
                        highest("tocsin.incident.steps"),
                        highest("tocsin.incident.steps_left"),
                    ],
                    [
                        filters(_BY_STATE),
                        terms(_FIELDS[0], 100, "1"),
                        *(terms(f, 1) for f in _FIELDS[1:]),
                        terms("tocsin.incident.next_step", 1, missing="none left"),
                    ],
                ),
                _ONE,
                columns={
                    "tocsin.severity": "severity",
                    "filter": "state",
                    "tocsin.incident.next_step": "next step",
                    "tocsin.subject.type": "kind",
                    "tocsin.subject.id": "subject",
                    "tocsin.playbook.id": "playbook",
                    "Min": "since",
                    "tocsin.incident.id": "incident",
                    "Max tocsin.incident.steps": "steps",
                    "Max tocsin.incident.steps_left": "left",
                },
                units={"since": "dateTimeFromNow"},
                gone=("Max event.severity",),
            ),
        ),
        (
            24,
            listing(
                "Next steps that wait",
                "The next pending step of each open incident. If a step is pending for days, it may wait for an approval or for a person who is absent.",
                ask(
                    "incidents",
                    _OPEN,
                    [count()],
                    [terms("tocsin.incident.id", 100), terms("tocsin.incident.next_step", 1)],
                ),
                _UP,
                columns={
                    "tocsin.incident.id": "incident",
                    "tocsin.incident.next_step": "next step",
                },
            ),
        ),
        height=10,
    )


def _over_time(board: Board) -> None:
    board.row(
        "Over time",
        (
            8,
            bars(
                "Incidents by playbook",
                "The number of incidents by playbook. If a playbook is used every week, the cause of its incidents has not been removed.",
                ask("incidents", _LOUD, [count()], [terms("tocsin.playbook.id")]),
                _UP,
                along="tocsin.playbook.id",
                named={"tocsin.playbook.id": "playbook", "Count": "incidents"},
            ),
        ),
        (
            8,
            lines(
                "Incidents opened and closed",
                "The number of incidents opened and closed. If more incidents open than close for several weeks, close the incidents that are resolved, or raise the severity that opens an incident.",
                [
                    ask(
                        "alert_history",
                        "event.action:(incident_opened OR incident_closed)",
                        [unique("tocsin.incident.id")],
                        [terms("event.action")],
                        over=STEP,
                        alias="{{term event.action}}",
                    )
                ],
                _UP,
                stacked=True,
            ),
        ),
        (
            8,
            lines(
                "Notifications by receiver",
                "The number of notifications by receiver. People probably do not read hundreds of notifications in a week: raise the severity in the receiver's route, or group more alerts.",
                [
                    ask(
                        "alert_history",
                        "event.action:notified",
                        [unique("tocsin.notification.key")],
                        [terms("tocsin.receiver", 10)],
                        over=STEP,
                        alias="{{term tocsin.receiver}}",
                    )
                ],
                _UP,
                stacked=True,
            ),
        ),
    )


def _timeline(board: Board) -> None:
    board.row(
        "Timeline", (24, history("tocsin.incident.id:* OR event.action:notification_failed")), height=10
    )
