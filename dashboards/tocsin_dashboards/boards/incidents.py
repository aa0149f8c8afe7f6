"""Incidents and playbooks: what is being worked, how far it is, and whether people were reached."""

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
        "What is being worked, how far it is, and whether people were reached.",
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
                "Incidents that are open and have no owner. Take one on: tocsin ack INCIDENT --by NAME.",
                ask("incidents", "tocsin.incident.state:open", [count()], _EVERYTHING),
                _UP,
                steps=((None, looks.GREEN), (1, looks.RED)),
            ),
        ),
        (
            6,
            number(
                "Incidents in progress",
                "Incidents that have an owner and are not closed. More than people can work at once: close what is answered.",
                ask("incidents", "tocsin.incident.state:acknowledged", [count()], _EVERYTHING),
                _UP,
                steps=((None, looks.BLUE),),
            ),
        ),
        (
            6,
            number(
                "Median time to close",
                "From opening to closing, of the incidents that were closed. Long ones: see in the timeline which step waited.",
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
                "Pages that were given up after their retries. Above 0: a receiver is broken; correct it in tocsin.yaml and tell people by other means.",
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
                "Open ones first, then those that have an owner, then closed ones; the worst first in each. Steps left is how much of the playbook nobody has done or skipped yet; tocsin incidents INCIDENT says what each step is.",
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
                "The step that each incident waits for. One that stands here for days waits for an approval or for a person who is away.",
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
                "Which playbooks are used. One that is used every week is a cause that nobody removed.",
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
                "What comes in against what is finished. If more open than close week after week, the queue grows: close what is answered, or raise what opens an incident.",
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
                "Who was told how often. A receiver with hundreds a week is one that nobody reads any more: raise its route's severity or group more.",
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
