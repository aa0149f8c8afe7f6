"""One alert, by its id: what was seen, about whom, since when, who did what, and the playbook."""

from __future__ import annotations

from tocsin_dashboards.asking import STEP, ask, count, highest, lowest, raw, terms
from tocsin_dashboards.kinds import ALERT, INCIDENTS, OVERVIEW, lines, to
from tocsin_dashboards.layout import Board
from tocsin_dashboards.parts import alert_table, history
from tocsin_dashboards.tables import listing

_ABOUT = 'tocsin.detector.id:"${detector}" AND tocsin.subject.id:"${subject}"'
_PEERS = 'tocsin.detector.id:"${detector}" AND NOT tocsin.subject.id:"${subject}"'
_UP = to(OVERVIEW, "SOC overview")


def build() -> Board:
    """The board."""
    board = Board(
        ALERT,
        "Tocsin: one alert",
        "One alert by its id: evidence, subject, timeline and playbook. Come here from a table of alerts.",
        ["alert", "fingerprint", "detector", "subject", "incident", "step"],
        "now-90d",
    )
    for row in (_the_alert, _evidence, _subject, _playbook_and_timeline):
        row(board)
    return board


def _the_alert(board: Board) -> None:
    board.row("The alert", (24, alert_table("What it says now", 'tocsin.alert.id:"${alert}"')), height=5)


def _evidence(board: Board) -> None:
    board.row(
        "Evidence",
        (
            24,
            lines(
                "Score against threshold",
                "The detector's score of this subject before, during and after the alert in blue, the ten highest other subjects in gray, the threshold dashed in red. A climb before the alert says when it really began.",
                [
                    ask(
                        "score",
                        _PEERS,
                        [highest("tocsin.score")],
                        [terms("tocsin.subject.id", 10, "1")],
                        over=STEP,
                        alias="{{term tocsin.subject.id}}",
                        ref="C",
                    ),
                    ask("score", _ABOUT, [highest("tocsin.score")], over=STEP, alias="score"),
                    ask(
                        "score", _ABOUT, [highest("tocsin.threshold")], over=STEP, alias="threshold", ref="B"
                    ),
                ],
                _UP,
                unit="none",
                subject="score",
            ),
        ),
        (
            24,
            listing(
                "Findings, newest first",
                "What was seen in each window, with its evidence: a column for each fact, to the right. Check the evidence against the source before you act on it.",
                ask("finding", _ABOUT, [raw(100)]),
                _UP,
                also="tocsin.evidence",
                columns={
                    "tocsin.window.start": "window",
                    "tocsin.severity": "severity",
                    "tocsin.score": "score",
                    "tocsin.threshold": "threshold",
                    "event.reason": "what was seen",
                    "tocsin.baseline.digest": "baseline",
                },
            ),
        ),
        height=10,
    )


def _subject(board: Board) -> None:
    board.row(
        "Subject",
        (
            12,
            listing(
                "Other alerts about the same subject",
                "Several alerts about one subject are mostly one story: read them in order, and work them as one incident.",
                ask(
                    "alerts",
                    'tocsin.subject.id:"${subject}"',
                    [lowest("@timestamp"), highest("event.severity")],
                    [
                        terms("tocsin.alert.id", 50),
                        terms("tocsin.severity", 1),
                        terms("tocsin.detector.id", 1),
                        terms("event.reason", 1),
                    ],
                ),
                _UP,
                columns={
                    "tocsin.alert.id": "alert",
                    "tocsin.severity": "severity",
                    "tocsin.detector.id": "detector",
                    "event.reason": "what was seen",
                    "Min": "since",
                },
                units={"since": "dateTimeFromNow"},
                gone=("Max",),
            ),
        ),
        (
            12,
            listing(
                "Subject",
                "Open it: everything that this principal did, or everything about this model.",
                ask(
                    "alerts",
                    'tocsin.alert.id:"${alert}"',
                    [count()],
                    [terms("tocsin.subject.id", 1), terms("tocsin.subject.type", 1)],
                ),
                _UP,
                columns={
                    "tocsin.subject.id": "subject",
                    "tocsin.subject.type": "kind",
                },
            ),
        ),
        height=6,
    )


def _playbook_and_timeline(board: Board) -> None:
    board.row(
        "Playbook and timeline",
        (
            24,
            listing(
                "Incident and its next step",
                "The case that this alert belongs to. Take the next step, then write down what came of it: tocsin incidents ID --done STEP --by NAME.",
                ask(
                    "incidents",
                    'tocsin.alert.id:"${alert}"',
                    [highest("tocsin.incident.steps"), highest("tocsin.incident.steps_left")],
                    [
                        terms("tocsin.incident.id", 5),
                        terms("tocsin.incident.state", 1),
                        terms("tocsin.playbook.id", 1),
                        terms("tocsin.incident.next_step", 1, missing="none left"),
                    ],
                ),
                to(INCIDENTS, "Incidents and playbooks"),
                columns={
                    "tocsin.incident.id": "incident",
                    "tocsin.incident.state": "state",
                    "tocsin.playbook.id": "playbook",
                    "tocsin.incident.next_step": "next step",
                    "Max tocsin.incident.steps": "steps",
                    "Max tocsin.incident.steps_left": "left",
                },
            ),
        ),
        (
            24,
            history(
                'tocsin.alert.fingerprint:"${fingerprint}" OR tocsin.incident.id:"${incident}"',
                "Timeline of the alert and its incident",
            ),
        ),
        height=7,
    )
