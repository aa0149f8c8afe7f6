"""One alert, by its id: its findings, subject and start, the actions of users, and the playbook."""

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
        "One alert by its id: evidence, subject, timeline and playbook. To open this board, follow the link of an alert in a table.",
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
                "Blue: the detector's score of this subject before, during and after the alert. Gray: the ten other subjects with the highest scores. Dashed red: the threshold. A rise before the alert shows when the change began.",
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
                "The finding of each window. A finding is early if it was made before the window had ended. The columns on the right are its evidence, one column for each fact. Compare the evidence with the source before you act on it.",
                ask("finding", _ABOUT, [raw(100)]),
                _UP,
                also="tocsin.evidence",
                columns={
                    "tocsin.window.start": "window",
                    "tocsin.severity": "severity",
                    "tocsin.score": "score",
                    "tocsin.threshold": "threshold",
                    "tocsin.run.early": "early",
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
                "Several alerts about one subject usually have one cause. Read them in the order of their start, and handle them as one incident.",
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
                "The link of the subject opens the board about this principal, model or dataset.",
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
                "The incident that this alert belongs to. Do the next step, then record its result: tocsin incidents INCIDENT --done STEP --by NAME --note RESULT.",
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
